"""Ready-made pairs: found by folder and name, imported as they are, and used like mixtures."""

import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from helpers import (
    PROJECT_RATE,
    ROOT,
    assert_error_line,
    call_script,
    data_config,
    hiss,
    make_corpus,
    make_data,
    make_project,
    read_csv,
    speechlike,
    voice,
    write_audio,
)

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.data.corpus import doctor, pairs, recordings
from specmask.data.mixtures import imported, render
from specmask.data.mixtures.plan import make_plans
from specmask.errors import UserError

RATE = PROJECT_RATE
NOIZEUS = ROOT.parent / "shared/data/noizeus_8k"


def pcm(x: np.ndarray) -> np.ndarray:
    return np.round(x * 32767).astype(np.int16)


def voicebank(root: Path) -> Path:
    """Three speakers for training, one for testing, three sentences each, and a log of noises."""
    rng = np.random.default_rng(0)
    logs = []
    for part, speakers in (
        ("trainset_28spk_wav", ("p226", "p227", "p228")),
        ("testset_wav", ("p232",)),
    ):
        for speaker in speakers:
            for k in range(1, 4):
                clean = pcm(voice(rng, 0.7 + 0.1 * k))
                noise = pcm(0.05 * rng.standard_normal(len(clean)))
                name = f"{speaker}_{k:03}"
                write_audio(root / f"clean_{part}/{name}.wav", clean, RATE)
                write_audio(root / f"noisy_{part}/{name}.wav", clean + noise, RATE)
                logs.append(f"{name} {'cafe' if k % 2 else 'bus'} 5")
    (root / "log_testset.txt").write_text("\n".join(logs))
    return root


def noizeus(root: Path, where: str = "noisy") -> Path:
    rng = np.random.default_rng(1)
    for k in range(1, 5):
        clean = pcm(voice(rng, 0.8))
        write_audio(root / f"clean/sp{k:02}.wav", clean, RATE)
        for noise in ("car", "babble"):
            for snr in (0, 15):
                x = pcm(0.1 * 10 ** (-snr / 20) * rng.standard_normal(len(clean)))
                folder = where.format(snr=snr)
                write_audio(root / folder / f"sp{k:02}_{noise}_sn{snr}.wav", clean + x, RATE)
    return root


# ---------------------------------------------------------------- finding


def listed(root: Path) -> list[PurePosixPath]:
    return recordings.list_folder(root, "clean_train_path")


def test_folders_of_pairs(tmp_path):
    root = voicebank(tmp_path / "VoiceBank")
    kind, found = pairs.find(listed(root), "train")
    assert kind == "VoiceBank+DEMAND" and len(found) == 9
    assert found["noisy_trainset_28spk_wav/p226_001.wav"] == "clean_trainset_28spk_wav/p226_001.wav"
    assert set(pairs.find(listed(root), "test")[1].values()) == {
        f"clean_testset_wav/p232_00{k}.wav" for k in (1, 2, 3)
    }
    assert pairs.find(listed(root / "clean_testset_wav"), "test")[1] == {}  # clean speech alone


@pytest.mark.parametrize("where", ["noisy", "{snr}dB", "all/{snr}dB"])
def test_noizeus_by_its_names(where, tmp_path):
    kind, found = pairs.find(listed(noizeus(tmp_path, where)), "train")
    assert kind == "NOIZEUS" and len(found) == 16
    assert found[f"{where.format(snr=15)}/sp03_car_sn15.wav"] == "clean/sp03.wav"


# ---------------------------------------------------------------- is it a sum?


def test_a_sum_is_told_from_what_is_none():
    rng = np.random.default_rng(0)
    clean, noise = speechlike(rng, 4), hiss(rng, 4)
    room = rng.standard_normal(4000) * np.exp(-np.arange(4000) / 800)
    room[0] = 3
    other = {
        "louder": 1.5 * clean,
        "late": np.roll(clean, 20),
        "low pass": scipy.signal.lfilter(*scipy.signal.butter(2, 2000, fs=16000), clean),
        "room": scipy.signal.fftconvolve(clean, room / 3)[: len(clean)],
    }
    for snr in (-5, 0, 10, 20, 40):
        gain = np.sqrt(levels.power(clean) / levels.power(noise)) * 10 ** (-snr / 20)
        assert imported.is_sum(clean, gain * noise, 16000)
        assert imported.is_sum(clean, gain * speechlike(rng, 4), 16000)  # another voice
    for name, speech in other.items():
        assert not imported.is_sum(clean, speech + 0.3 * noise - clean, 16000), name
    assert imported.is_sum(clean, np.zeros(len(clean)), 16000)


def test_the_share_that_a_gain_explains():
    """Noise = g·clean + n, so that the share is g²·P_clean / (g²·P_clean + P_n)."""
    rng = np.random.default_rng(3)
    clean, noise = hiss(rng, 60), hiss(rng, 60)
    for g in (0.1, 0.5, 1.0, 2.0):
        share = imported.speech_share(clean, g * clean + noise, 16000)
        assert share == pytest.approx(g**2 / (1 + g**2), abs=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_chance_in_short_files_is_no_share(seed):
    rng = np.random.default_rng(seed)
    assert imported.speech_share(speechlike(rng, 0.4), hiss(rng, 0.4), 16000) < 0.02


# ---------------------------------------------------------------- reading


def test_samples_are_those_of_the_files(tmp_path):
    rng = np.random.default_rng(0)
    clean, noisy = (rng.integers(-20000, 32768, 900).astype(np.int16) for _ in range(2))
    clean[:9] //= 2
    clean[9:] = noisy[9:] // 2  # their difference fits into 16 bits
    noisy[:9] //= 2
    write_audio(tmp_path / "c.wav", clean, RATE)
    write_audio(tmp_path / "n.wav", noisy, RATE)
    assert levels.offset(clean) > 1000 and levels.offset(noisy) > 1000  # which stay
    made = imported.read(tmp_path, "c.wav", "n.wav", 900, RATE, "soxr")
    assert made.clean_gain == 1
    assert (made.clean == clean).all() and (made.noisy == noisy).all()
    assert (made.noisy.astype(int) == made.clean.astype(int) + made.noise).all()


def test_what_does_not_fit_into_16_bits_is_scaled_together(tmp_path):
    x = np.array([0.9, -0.9, 1.5, 0.1], np.float32)
    y = np.array([-0.9, 0.9, 0.5, 0.1], np.float32)
    for name, values in (("c.wav", x), ("n.wav", y)):
        write_audio(tmp_path / name, np.tile(values, 100), RATE, subtype="FLOAT")
    made = imported.read(tmp_path, "c.wav", "n.wav", 400, RATE, "soxr")
    assert made.clean_gain == pytest.approx(1 / 1.8, abs=1e-3)
    assert (made.noisy.astype(int) == made.clean.astype(int) + made.noise).all()
    assert made.noise[0] / 32768 == pytest.approx(-1, abs=1e-3)


# ---------------------------------------------------------------- a data set of them


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    return read_csv(folder / f"manifest_{split}.csv")


def test_voicebank_is_imported_as_it_is(tmp_path):
    root = voicebank(tmp_path / "VoiceBank")
    rng = np.random.default_rng(5)
    long = pcm(voice(rng, 1))  # 0.02 s more on one side: cut; 0.2 s more: set aside
    write_audio(root / "clean_testset_wav/p232_004.wav", long, RATE)
    write_audio(root / "noisy_testset_wav/p232_004.wav", long[:-160], RATE)
    write_audio(root / "clean_testset_wav/p232_005.wav", long[::-1], RATE)
    write_audio(root / "noisy_testset_wav/p232_005.wav", long[::-1][:-1600], RATE)
    ini = tmp_path / "config.ini"
    ini.write_text(
        "[data]\nclean_train_path = VoiceBank\nclean_test_path = VoiceBank\nsample_rate = 8000\n"
        "data_path = out\n[compute]\nworkers = 1\n"
    )
    done = call_script("data_prep.py", "--config", ini, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "training: layout: VoiceBank+DEMAND, 3 speakers or sentences, 9 pairs"
    assert any(line.startswith("training: 6 files") for line in lines)
    out = tmp_path / "out"
    found = {split: rows(out, split) for split in ("training", "validation", "testing")}
    assert [len(r) for r in found.values()] == [6, 3, 4]
    speakers = [{r["speaker"] for r in some} for some in found.values()]
    assert not speakers[0] & speakers[1] and speakers[2] == {"p232"}
    assert (
        found["testing"][0]["noise_type"] == "cafe" and found["testing"][1]["noise_type"] == "bus"
    )
    assert [r["additive"] for r in found["testing"]] == ["yes"] * 4
    for row, name in zip(found["testing"], ("p232_001", "p232_002", "p232_003"), strict=False):
        clean, noisy = (
            sf.read(root / f"{kind}_testset_wav/{name}.wav", dtype="int16")[0]
            for kind in ("clean", "noisy")
        )
        snr = levels.snr_db(clean, noisy - clean)
        assert (
            row["noisy_file"]
            == f"noisy{int(row['index']) + 1}_SNRdb_{snr:.2f}_" + row["clean_file"]
        )
        for kind, column, x in (("CleanSpeech", "clean", clean), ("NoisySpeech", "noisy", noisy)):
            made = sf.read(out / f"{kind}_testing" / row[f"{column}_file"], dtype="int16")[0]
            assert (made == x).all()
    assert int(found["testing"][3]["samples"]) == len(long) - 160
    reasons = {r["path"]: r["reason"] for r in read_csv(out / "testing_rejected.csv")}
    assert "0.20 s shorter" in reasons["VoiceBank/noisy_testset_wav/p232_005.wav"]
    again = call_script("data_prep.py", "--config", ini, cwd=tmp_path)
    assert again.stdout.count(" 0 new") == 3
    assert call_script("data_prep.py", "--verify", "--config", ini, cwd=tmp_path).returncode == 0
    seen = call_script("data_prep.py", "--check", "--config", ini, cwd=tmp_path)
    assert seen.returncode == 0, seen.stdout
    assert "9 usable noisy files (6 for training, 3 for validation)" in seen.stdout
    for split in found:
        for row in found[split]:
            mixture = render.remake(row, load(ini), split)
            assert render.digest(mixture.noise) == row["noise_digest"]


def load(ini: Path):
    from specmask.config import ini as configuration

    return configuration.load(ini)


def test_pairs_go_all_the_way_to_scores(tmp_path):
    """NOIZEUS as the Doyosae project uses it: by SNR, with the same sentences on both sides."""
    folder = tmp_path / "p"
    ini = make_project(folder)
    shutil.rmtree(folder / "speech")
    noizeus(folder / "speech")
    text = ini.read_text().replace("clean_test_path = test_speech", "clean_test_path = speech")
    text = text.replace(
        "sample_rate = 8000", "sample_rate = 8000\ntrain_pairs = *_sn0*\ntest_pairs = *_sn15"
    )
    ini.write_text(text.replace("epochs = 4", "epochs = 1"))
    done = call_script("data_prep.py", "--config", ini, cwd=tmp_path)
    assert_error_line(done, "clean_test_path: speech", "same recording", "sp01")
    leaks = ("--set", "data.leaks=warn")
    done = call_script("data_prep.py", "--config", ini, *leaks, cwd=tmp_path)
    assert done.returncode == 0 and "warning: [data] clean_test_path: speech" in done.stdout
    made = rows(folder / "data", "testing")
    assert len(made) == 8 and {r["noise_type"] for r in made} == {"car", "babble"}
    clean = [
        {r["clean_digest"] for r in rows(folder / "data", s)} for s in ("training", "validation")
    ]
    assert not clean[0] & clean[1]  # a sentence is in one of them
    for script in ("stft.py", "train.py", "enhance.py", "evaluate.py"):
        done = call_script(script, "--config", ini, cwd=tmp_path)
        assert done.returncode == 0, script + done.stdout + done.stderr
    assert "noisy" in done.stdout and (folder / "report/scores.csv").is_file()


def test_every_pair_of_a_clip_at_every_snr_is_taken(tmp_path):
    """MS-SNSD's layout: a clean file per SNR, all the same; validation has clips of its own."""
    mixed = data_config(
        make_corpus(tmp_path / "corpus"), tmp_path / "mixed", data__snr_mode="all",
        data__total_validation_files=0, data__total_testing_files=0,
    )  # fmt: skip
    make_data(mixed)
    root = mixed.data.data_path
    shutil.copy(  # a pair without noise is none: its noisy file is a copy of a clean one
        root / "CleanSpeech_training/clnsp1.wav",
        root / "NoisySpeech_training/noisy1_SNRdb_inf_clnsp1.wav",
    )
    config = data_config(
        tmp_path, tmp_path / "out", data__clean_train_path=root, data__total_testing_files=0
    )
    plans, _, rejected = make_plans(config)
    files = [{p.noisy.path for p in plan.pairs} for plan in plans]
    clips = [{read_clean(root / p.noisy.path) for p in plan.pairs} for plan in plans]
    assert len(files[0] | files[1]) == 20 and len(clips[0] | clips[1]) == 5
    assert not clips[0] & clips[1] and len(files[1]) == 4 * len(clips[1])
    assert [r.path for r in rejected["training"]] == [
        "mixed/NoisySpeech_training/noisy1_SNRdb_inf_clnsp1.wav"
    ]


def read_clean(noisy: Path) -> bytes:
    """The clean samples of a noisy file, by the names alone."""
    name = noisy.stem.rpartition("_")[2]
    return sf.read(noisy.parents[1] / f"CleanSpeech_training/{name}.wav")[0].tobytes()


def test_pairs_that_are_asked_for_and_not_there(tmp_path):
    root = make_corpus(tmp_path / "corpus")
    with pytest.raises(UserError, match=r"speech_layout = pairs: .* has no clean and noisy"):
        make_plans(data_config(root, tmp_path, data__speech_layout="pairs"))
    for key in ("train_pairs", "validation_pairs", "test_pairs"):
        with pytest.raises(UserError, match=rf"{key} = \*_sn5: .* has no clean and noisy files"):
            make_plans(data_config(root, tmp_path, **{f"data__{key}": "*_sn5"}))
    noizeus(tmp_path / "n")
    changes = {"data__clean_train_path": tmp_path / "n", "data__sample_rate": 8000}
    with pytest.raises(UserError, match=r"train_pairs = \*_sn99: no noisy file"):
        make_plans(data_config(root, tmp_path, data__train_pairs="*_sn99", **changes))


@pytest.mark.parametrize("check", [False, True])
def test_validation_by_name(tmp_path, check):
    """The speaker that is named, no other, in the plan and in the doctor's look at it."""
    root = voicebank(tmp_path / "v")
    config = data_config(
        make_corpus(tmp_path / "corpus"), tmp_path / "out", data__clean_train_path=root,
        data__clean_test_path=root, data__sample_rate=RATE, data__validation_pairs="p227_*",
    )  # fmt: skip
    if check:
        speech, noisy, *_ = doctor.check(config).groups
        for group in (speech, noisy):
            found = {p for p, split in group.splits.items() if split == "validation"}
            assert len(found) == 3 and all("p227_" in path for path in found)
        return
    plans, warnings, _ = make_plans(config)
    names = [{p.noisy.path.split("/")[1][:4] for p in plan.pairs} for plan in plans]
    assert names == [{"p226", "p228"}, {"p227"}, {"p232"}] and not warnings
    for plan in plans:
        assert {p.clean for p in plan.pairs} == set(plan.speech)
        assert [p.noisy for p in plan.pairs] == plan.noise


def test_validation_by_name_of_the_same_sentences(tmp_path):
    noizeus(tmp_path / "n")
    changes = {
        "data__clean_train_path": tmp_path / "n",
        "data__sample_rate": 8000,
        "data__total_testing_files": 0,
    }

    def plan(patterns: str, leaks: str):
        config = data_config(
            tmp_path, tmp_path, data__validation_pairs=patterns, data__leaks=leaks, **changes
        )
        return make_plans(config)

    with pytest.raises(UserError, match=r"validation_pairs: speech for validation .*leaks = warn"):
        plan("*_car_sn15", "refuse")
    (training, validation), warnings, _ = plan("*_car_sn15", "warn")
    assert len(training.pairs) == 12 and len(validation.pairs) == 4
    assert training.speech == validation.speech
    assert "speech for validation" in warnings[0]
    for patterns, taken in (("*_sn99", 0), ("*", 16)):
        with pytest.raises(
            UserError, match=rf"validation_pairs = .* takes {taken} of the 16 pairs"
        ):
            plan(patterns, "warn")


@pytest.mark.skipif(not NOIZEUS.is_dir(), reason="needs ../shared/data/noizeus_8k")
def test_noizeus_itself_measures_as_sums():
    kind, found = pairs.find(listed(NOIZEUS), "test")
    assert kind == "NOIZEUS" and len(found) == 240
    for noisy, clean in list(found.items())[::16]:
        samples = audio_io.read(NOIZEUS / clean)[0].shape[0]
        made = imported.read(NOIZEUS, clean, noisy, samples, 8000, "soxr")
        assert made.clean_gain == 1 and imported.is_sum(made.clean, made.noise, 8000)
