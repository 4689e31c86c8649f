"""Which files belong together, and what manifests and names tell of them."""

import math

import pytest
from helpers import run_evaluation, touch

from specmask.errors import UserError
from specmask.evaluation import pairing, scoring
from specmask.evaluation.pairing import Condition


@pytest.mark.parametrize(
    ("clean", "enhanced"),
    [
        ("a.wav", "a.wav"),
        ("anna/a.wav", "anna/a.flac"),
        ("anna/a.wav", "a.wav"),
        ("a.wav", "out/deep/a.ogg"),
        ("clnsp12.wav", "noisy12_SNRdb_-3.00_clnsp12.wav"),
        ("clnsp12.wav", "x/noisy12_SNRdb_inf_clnsp12.wav"),
        ("sp01.flac", "sp01_car_sn5.wav"),
        ("sp01.flac", "sp01_subway_train_sn15.wav"),
        ("clean_fileid_7.wav", "book_1_door_snr27_fileid_7.wav"),
        ("noisy1_SNRdb_-3.00.wav", "noisy1_SNRdb_-3.00.wav"),
    ],
)
def test_pair_by_name(tmp_path, clean, enhanced):
    touch(tmp_path / "c", clean, "b.wav")
    touch(tmp_path / "e", enhanced, "b.wav", "notes.txt")
    pairs = {p.enhanced: p.clean for p in pairing.pair(tmp_path / "c", tmp_path / "e")}
    assert pairs == {
        tmp_path / "e" / enhanced: tmp_path / "c" / clean,
        tmp_path / "e" / "b.wav": tmp_path / "c" / "b.wav",
    }


def test_pair_prefers_the_same_folder(tmp_path):
    names = ["anna/1.wav", "bert/1.wav"]
    pairs = pairing.pair(touch(tmp_path / "c", *names), touch(tmp_path / "e", *names))
    assert [p.clean.parent.name for p in pairs] == ["anna", "bert"]
    assert [p.name for p in pairs] == ["anna/1", "bert/1"]


def test_many_noisy_files_of_one_clean_file(tmp_path):
    enhanced = touch(tmp_path / "e", "sp01_car_sn0.wav", "sp01_car_sn5.wav", "sp01_babble_sn5.wav")
    pairs = pairing.pair(touch(tmp_path / "c", "sp01.wav"), enhanced)
    assert [p.name for p in pairs] == ["sp01_babble_sn5", "sp01_car_sn0", "sp01_car_sn5"]


@pytest.mark.parametrize(
    ("clean", "enhanced", "message"),
    [
        (["a.wav"], ["a.wav", "x.wav", "y.wav"], r"x\.wav: no clean file .*2 of 3 files"),
        (["a.wav", "b.wav", "c.wav"], ["a.wav"], r"no file for \S*b\.wav \(2 of 3 clean"),
        (["p/a.wav", "q/a.wav"], ["a.wav"], r"a: 2 clean files .* p/a and q/a"),
        (["a.wav"], ["a.wav", "a.flac"], r"a\.wav: a\.flac has the same name"),
        (["a.wav"], ["a.txt"], r"e: no audio files"),
    ],
)
def test_pair_names_what_is_wrong(tmp_path, clean, enhanced, message):
    clean, enhanced = touch(tmp_path / "c", *clean), touch(tmp_path / "e", *enhanced)
    with pytest.raises(UserError, match=message):
        pairing.pair(clean, enhanced)


def test_pair_of_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"gone: no such folder"):
        pairing.pair(tmp_path / "gone", tmp_path)
    file = touch(tmp_path, "a.wav") / "a.wav"
    with pytest.raises(UserError, match=r"a\.wav: a file, expected a folder"):
        pairing.pair(file, file)


def test_conditions_from_names():
    assert pairing.condition_of("sp01_station_sn10") == Condition(10, "station")
    assert pairing.condition_of("noisy1_SNRdb_-inf_clnsp1") == Condition(-math.inf)
    assert pairing.condition_of("hello") == Condition()


# ---------------------------------------------------------------- manifests


def test_manifest_of_data_prep(data):
    path = pairing.manifest_beside(data / "NoisySpeech_testing")
    assert path == data / "manifest_testing.csv"
    assert pairing.read_manifest(path)["noisy1_SNRdb_-3.00_clnsp1"] == Condition(-3, "rain", "anna")
    assert pairing.manifest_beside(data / "enhanced") is None


def test_manifest_as_json(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[{"id": "d_0.5", "snr_db": -5, "noise": "rain", "more": 1}]')
    assert pairing.read_manifest(path) == {"d_0.5": Condition(-5, "rain")}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.json", "{", "not a manifest"),
        ("m.json", '[{"id": "a", "noise": "x"}]', "no 'snr_db'"),
        ("m.json", '["a"]', "not a manifest"),
        ("m.csv", "noisy_file,snr_db\na,1\n", "no 'noise_type'"),
        ("m.csv", "noisy_file,snr_db,noise_type\na,loud,x\n", "'loud'"),
    ],
)
def test_bad_manifest(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        pairing.read_manifest(tmp_path / name)
    assert "expected a CSV file with the columns" in str(caught.value)


def test_a_manifest_of_other_files_is_refused(data):
    (data / "m.json").write_text('[{"id": "d0", "snr_db": -5, "noise": "rain"}]')
    with pytest.raises(UserError, match=r"no entry for noisy1_SNRdb_-3.00_clnsp1 \(3 files"):
        run_evaluation(data, by=data / "m.json")


def test_several_noisy_files_that_fit(tmp_path):
    touch(tmp_path / "c", "sp01.wav")
    touch(tmp_path / "n", "sp01_car_sn0.wav", "sp01_car_sn5.wav")
    touch(tmp_path / "e", "sp01.wav")
    with pytest.raises(UserError, match=r"sp01\.wav: 2 noisy files .*sp01_car_sn0\.wav"):
        scoring.evaluate(tmp_path / "c", {"e": tmp_path / "e"}, tmp_path / "n", workers=1)


def test_two_enhanced_files_of_one_noisy_file(tmp_path):
    touch(tmp_path / "c", "a.wav")
    touch(tmp_path / "n", "a.wav")
    touch(tmp_path / "e", "a.wav", "old/a.wav")
    with pytest.raises(
        UserError, match=r"old/a\.wav: belongs to the same noisy file as .*keep one"
    ):
        pairing.tasks(tmp_path / "c", {"e": tmp_path / "e"}, tmp_path / "n")


def test_a_system_that_lacks_noisy_files(tmp_path):
    touch(tmp_path / "c", "sp01.wav")
    touch(tmp_path / "n", "sp01_car_sn0.wav", "sp01_car_sn5.wav", "sp01_car_sn10.wav")
    touch(tmp_path / "e", "sp01_car_sn0.wav")
    with pytest.raises(UserError, match=r"e: no file for \S*sp01_car_sn10\.wav \(2 of 3 noisy"):
        pairing.tasks(tmp_path / "c", {"e": tmp_path / "e"}, tmp_path / "n")


def test_accents_of_other_systems(tmp_path):
    composed, decomposed = "caf\u00e9.wav", "cafe\u0301.wav"
    (found,) = pairing.pair(touch(tmp_path / "c", composed), touch(tmp_path / "e", decomposed))
    assert found.name == "caf\u00e9"
    assert found.enhanced.is_file() and found.clean.is_file()


def test_manifest_with_folders(tmp_path):
    """The same name at several SNRs, told apart by its folder."""
    (tmp_path / "m.csv").write_text(
        "noisy_file,snr_db,noise_type\n-5/a.wav,-5,rain\n0/a.wav,0,fan\n0/b.wav,,\n"
    )
    noisy = touch(tmp_path / "n", "-5/a.wav", "0/a.wav", "0/b.wav")
    clean = touch(tmp_path / "c", "a.wav", "b.wav")
    found = pairing.tasks(clean, {}, noisy, by=tmp_path / "m.csv")
    assert [t.condition for t in found] == [
        Condition(-5, "rain"),
        Condition(0, "fan"),
        Condition(None),
    ]


def test_manifest_that_contradicts_itself(tmp_path):
    rows = "a.wav,-5,rain\na.wav,0,rain\n"
    (tmp_path / "m.csv").write_text(f"noisy_file,snr_db,noise_type\n{rows}")
    with pytest.raises(UserError, match=r"m\.csv: two different entries for a\.wav"):
        pairing.read_manifest(tmp_path / "m.csv")


def test_an_snr_that_is_no_number_is_not_known(tmp_path):
    (tmp_path / "m.csv").write_text("noisy_file,snr_db,noise_type\na.wav,nan,rain\n")
    assert pairing.read_manifest(tmp_path / "m.csv") == {"a": Condition(None, "rain")}
