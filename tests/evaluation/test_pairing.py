"""Which files belong together, and what manifests and names tell of them."""

import math

import pytest
from helpers import run_evaluation, touch

from specmask.errors import UserError
from specmask.evaluation import file_lists, pairing, scoring
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
    with pytest.raises(UserError, match=r"a\.wav: an audio file, expected a folder or a list"):
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


def test_an_enhanced_file_of_another_snr(tmp_path):
    """Of an earlier test set of the same speech; names without SNRs say nothing against it."""
    clean = touch(tmp_path / "c", "clnsp1.wav")
    noisy = touch(tmp_path / "n", "noisy1_SNRdb_-3.00_clnsp1.wav")
    old = touch(tmp_path / "old", "noisy1_SNRdb_5.00_clnsp1.wav")
    with pytest.raises(UserError, match=r"5\.00_clnsp1\.wav: 5 dB .* of -3 dB; enhance"):
        pairing.items(clean, {"x": old}, noisy)
    for name in ("clnsp1.wav", "reduced_12dB/clnsp1.wav", "noisy2_SNRdb_-3.0_clnsp1.wav"):
        renamed = touch(tmp_path / name[:9], name)
        assert len(pairing.items(clean, {"x": renamed}, noisy)) == 2


def test_two_enhanced_files_of_one_noisy_file(tmp_path):
    touch(tmp_path / "c", "a.wav")
    touch(tmp_path / "n", "a.wav")
    touch(tmp_path / "e", "a.wav", "old/a.wav")
    with pytest.raises(
        UserError, match=r"old/a\.wav: belongs to the same noisy file as .*keep one"
    ):
        pairing.items(tmp_path / "c", {"e": tmp_path / "e"}, tmp_path / "n")


def test_a_system_that_lacks_noisy_files(tmp_path):
    touch(tmp_path / "c", "sp01.wav")
    touch(tmp_path / "n", "sp01_car_sn0.wav", "sp01_car_sn5.wav", "sp01_car_sn10.wav")
    touch(tmp_path / "e", "sp01_car_sn0.wav")
    with pytest.raises(UserError, match=r"e: no file for \S*sp01_car_sn10\.wav \(2 of 3 noisy"):
        pairing.items(tmp_path / "c", {"e": tmp_path / "e"}, tmp_path / "n")


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
    found = pairing.items(clean, {}, noisy, by=tmp_path / "m.csv")
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


# ---------------------------------------------------------------- names and lists of other tools


@pytest.mark.parametrize(
    ("clean", "enhanced", "names"),
    [
        (["a", "b"], ["a_DeepFilterNet3", "b_DeepFilterNet3"], ["a", "b"]),
        (["a"], ["a_enhanced"], ["a"]),
        (["x/a", "y/a"], ["x/a_my_model", "y/a_my_model"], ["x/a", "y/a"]),
        (["clnsp1"], ["noisy1_SNRdb_-3.00_clnsp1_dtln"], ["noisy1_SNRdb_-3.00_clnsp1"]),
        (["a_1", "b_1"], ["a_1", "b_1"], ["a_1", "b_1"]),  # nothing is dropped without need
    ],
)
def test_endings_of_tools_are_ignored(tmp_path, clean, enhanced, names):
    touch(tmp_path / "c", *(f"{name}.wav" for name in clean))
    touch(tmp_path / "e", *(f"{name}.wav" for name in enhanced))
    pairs = pairing.pair(tmp_path / "c", tmp_path / "e")
    assert [p.name for p in pairs] == names and [p.clean_name for p in pairs] == clean


def test_endings_that_differ_are_not_guessed(tmp_path):
    touch(tmp_path / "c", "a.wav", "b.wav")
    touch(tmp_path / "e", "a_x.wav", "b_y.wav")
    with pytest.raises(UserError, match=r"a_x\.wav: no clean file"):
        pairing.pair(tmp_path / "c", tmp_path / "e")


def test_names_of_a_tool_join_the_noisy_ones(tmp_path):
    touch(tmp_path / "c", "sp01.wav")
    touch(tmp_path / "n", "sp01_car_sn0.wav", "sp01_car_sn5.wav")
    touch(tmp_path / "e", "sp01_car_sn0_dtln.wav", "sp01_car_sn5_dtln.wav")
    for clean in (tmp_path / "c", None):
        found = pairing.items(clean, {"e": tmp_path / "e"}, tmp_path / "n")
        assert [i.name for i in found] == ["sp01_car_sn0", "sp01_car_sn5"] * 2
        assert [i.condition.snr_db for i in found] == [0, 5] * 2


@pytest.mark.parametrize(
    ("name", "snr"),
    [
        ("book_1_chp_2_reader_3_4_door_snr5_tl-20_fileid_7", 5),
        ("snr-2.5/a", -2.5),
        ("test/SNR_10/a", 10),
        ("a_-5dB", -5),
        ("0 dB/a", 0),
        ("p232_001", None),
        ("fileid_7", None),
        ("unsnr5", None),
    ],
)
def test_usual_names_of_snrs(name, snr):
    assert pairing.condition_of(name).snr_db == snr


LISTS = {
    "wav.scp": "utt1 {c}/a.wav\nutt2  {c}/b c.wav\n\n",
    "tabs.scp": "utt1\t{c}/a.wav\nutt2\t{c}/b c.wav\t\n",
    "list.csv": "id,path\nutt1,{c}/a.wav\nutt2,{c}/b c.wav\n",
    "list.tsv": "Path\tid\n{c}/a.wav\tutt1\n{c}/b c.wav\tutt2\n",
    "object.json": '{{"utt1": "{c}/a.wav", "utt2": "{c}/b c.wav"}}',
    "list.json": '[{{"id": "utt1", "path": "{c}/a.wav"}}, {{"id": "utt2", "file": "{c}/b c.wav"}}]',
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_files(tmp_path, name):
    clean = touch(tmp_path / "c", "a.wav", "b c.wav")
    path = tmp_path / name
    path.write_text(LISTS[name].format(c="c"))  # relative to the list
    assert file_lists.index(path) == {"utt1": clean / "a.wav", "utt2": clean / "b c.wav"}
    touch(tmp_path / "e", "utt1.wav", "utt2.wav")
    found = pairing.items(path, {"e": tmp_path / "e"})
    assert [(i.name, i.clean_file, i.clean) for i in found] == [
        ("utt1", "utt1", clean / "a.wav"),
        ("utt2", "utt2", clean / "b c.wav"),
    ]


def test_a_list_of_paths_alone(tmp_path):
    touch(tmp_path, "x/a.wav", "y/a.wav")
    (tmp_path / "files.txt").write_text("x/a.wav\ny/a.wav\n")
    assert list(file_lists.index(tmp_path / "files.txt")) == ["x/a", "y/a"]
    (tmp_path / "files.json").write_text('["x/a.wav"]')
    assert list(file_lists.index(tmp_path / "files.json")) == ["x/a"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.scp", "a sox a.wav - |\n", "a command in place of a path is not run"),
        ("l.csv", "a,b\n1,2\n", "an entry has none of path, file, wav"),
        ("l.json", "{", "not a list of audio files"),
        ("l.json", "3", "expected an object or a list"),
        ("l.txt", "\n", "no audio files"),
        ("l.scp", "a x.wav\na y.wav\n", r"y\.wav: x\.wav has the same name"),
    ],
)
def test_wrong_lists(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        file_lists.index(tmp_path / name)


def test_a_missing_file_of_a_list_keeps_its_row(data):
    names = sorted(p.name for p in (data / "enhanced").iterdir())
    lines = [f"{name.removesuffix('.wav')} enhanced/{name}\n" for name in names]
    (data / "wav.scp").write_text(
        "".join(lines).replace(f"enhanced/{names[1]}", "enhanced/gone.wav")
    )
    rows = run_evaluation(data, systems={"e": data / "wav.scp"})
    assert [bool(row["reason"]) for row in rows] == [False] * 4 + [True, False]
    assert rows[4]["reason"].startswith("enhanced: not readable")
