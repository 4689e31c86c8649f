"""The scripts data_prep.py and stft.py as a user runs them: from anywhere, with bad input."""

import csv
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    ROOT,
    assert_user_error,
    data_config,
    data_overrides,
    hiss,
    make_corpus,
    run_script,
    settings_args,
    snapshot,
    speechlike,
    start_script,
    write_audio,
)

from specmask.cli import data_prep as command
from specmask.data import stft_cache
from specmask.data.corpus import splits
from specmask.data.mixtures import build
from specmask.data.mixtures.plan import make_plans
from specmask.errors import UserError

SCRIPTS = ("data_prep.py", "data/data_prep.py")


def arguments(corpus: Path, out: Path, **changes: object) -> list[str]:
    """Command-line arguments of a small data set."""
    return settings_args(data_overrides(corpus, out, **changes))


def make(corpus: Path, out: Path, **changes: object) -> None:
    """Make the same data set in this process."""
    for plan in make_plans(data_config(corpus, out, **changes))[0]:
        build.make(plan)


# ---------------------------------------------------------------- from end to end


def test_the_whole_way_from_another_folder(corpus, tmp_path):
    """INI elsewhere, paths relative to it, two workers; then everything again."""
    here, project = tmp_path / "here", tmp_path / "project"
    here.mkdir()
    shutil.copytree(corpus, project / "sounds")
    (project / "my.ini").write_text(
        "[data]\n"
        + "".join(f"{n}_path = sounds/{n}\n" for n in ("clean_train", "noise_train"))
        + "clean_test_path = sounds/clean_test\nnoise_test_path = sounds/noise_test\n"
        "data_path = made\nfile_length = 0.5\ntotal_training_files = 20\n"
        "total_validation_files = 6\ntotal_testing_files = 6\ntotal_snrlevels = 4\n"
        "validation_share = 0.3\nseed = 7\n[compute]\nworkers = 2\n"
    )
    ini = ("--config", "../project/my.ini")
    done = run_script("data/data_prep.py", *ini, cwd=here)
    assert done.returncode == 0, done.stderr
    made = project / "made"
    said = [line for line in done.stdout.splitlines() if ": layout: " not in line]
    assert [line.split(",")[0] for line in said] == [
        "data set: 32 files", "training: 20 files", "validation: 6 files", "testing: 6 files",
    ]  # fmt: skip
    assert "20 new" in done.stdout and str(made / "manifest_training.csv") in done.stdout

    make(corpus, tmp_path / "expected")  # with one worker
    assert snapshot(made) == snapshot(tmp_path / "expected")

    done = run_script("stft.py", *ini, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" made -> ") == 3
    for split in ("training", "validation", "testing"):
        assert len(stft_cache.load(data_config(corpus, made), split)) in (20, 6)

    before = snapshot(made)
    again = [run_script(script, *ini, cwd=here).stdout for script in ("data_prep.py", "stft.py")]
    assert again[0].count(" 0 new") == 3
    assert again[1].count("up to date") == 3
    assert snapshot(made) == before
    assert list(here.iterdir()) == []  # nothing was left in the working directory


def test_hard_sources_are_set_aside_and_listed(tmp_path):
    """One bad file does not end a run, and the totals are reached from the rest."""
    root = make_corpus(tmp_path / "corpus")
    rng = np.random.default_rng(0)
    speech, anna = root / "clean_train", root / "clean_train/anna"
    (anna / "empty.wav").write_bytes(b"")
    (anna / "text.wav").write_text("this is no audio, and it is long enough to be looked at\n" * 9)
    write_audio(anna / "silent.wav", np.zeros(16000))
    write_audio(anna / "nan.wav", np.full(16000, np.nan), subtype="FLOAT")
    write_audio(anna / "short.wav", speechlike(rng, 0.1))
    shutil.copy(speech / "bert/0.wav", anna / "copy of bert.wav")
    write_audio(anna / "renamed.wav", speechlike(rng, 1, 44100), 44100, format="MP3")
    both = np.stack([speechlike(rng, 1, 44100), speechlike(rng, 1, 44100)], 1)
    write_audio(speech / "dick/stereo.ogg", both, 44100)
    write_audio(root / "noise_test/wind/silent.wav", np.zeros(16000))

    done = run_script("data_prep.py", *arguments(root, tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 training files set aside" in done.stdout
    assert "1 testing files set aside" in done.stdout
    found = {}
    for split in ("training", "testing"):
        with (tmp_path / f"out/{split}_rejected.csv").open(encoding="utf-8", newline="") as file:
            found |= {row["path"]: row["reason"] for row in csv.DictReader(file)}
    expected = {
        "clean_train/anna/empty.wav": "empty",
        "clean_train/anna/text.wav": "not readable as audio",
        "clean_train/anna/silent.wav": "silent",
        "clean_train/anna/nan.wav": "NaN",
        "clean_train/anna/short.wav": "too short",
        "clean_train/bert/0.wav": "same content as anna/copy of bert.wav",
        "noise_test/wind/silent.wav": "silent",
    }
    assert set(found) == set(expected)
    assert all(expected[path] in reason for path, reason in found.items())
    for split, total in (("training", 20), ("validation", 6), ("testing", 6)):
        assert len(list((tmp_path / f"out/NoisySpeech_{split}").iterdir())) == total

    (root / "noise_test/wind/silent.wav").unlink()  # the list goes when its reasons go
    run_script("data_prep.py", *arguments(root, tmp_path / "out"), cwd=tmp_path)
    assert not (tmp_path / "out/testing_rejected.csv").exists()


def test_warnings(tmp_path):
    root = make_corpus(tmp_path / "corpus")
    shutil.rmtree(root / "noise_train")
    write_audio(root / "noise_train/rain.wav", hiss(np.random.default_rng(0), 12))
    for path in (root / "clean_train").rglob("*.wav"):
        path.rename(root / "clean_train" / f"{path.parent.name}{path.name}")
    args = arguments(root, tmp_path / "out", data__snr_mode="all", data__blend="level")
    done = run_script("data_prep.py", *args, cwd=tmp_path)
    assert done.returncode == 0
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert "speech: 6 files are in no folder" in warnings[0]
    assert "noise: only one file (rain.wav)" in warnings[1]
    assert "snr_mode = all has no effect with blend = level" in warnings[2]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--output", "x"], "--output goes with --render"),
        (["--check", "--overwrite"], "--overwrite makes files again"),
        (["--verify", "--overwrite"], "--overwrite makes files again"),
    ],
)
def test_flags_without_effect_are_refused(flags, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main([*flags, "--set", "data.clean_train_path=missing"])
    assert capsys.readouterr().err.startswith(f"error: {words}")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_run_that_is_killed_goes_on(number, code, corpus, tmp_path):
    args = arguments(corpus, tmp_path / "out", data__total_training_files=5000)
    partial = tmp_path / "out/manifest_training.csv.partial"
    with start_script("data_prep.py", *args, cwd=tmp_path) as process:
        while not partial.exists() or partial.read_bytes().count(b"\n") < 34:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[1].strip()
    assert process.returncode == code
    assert said == ("" if number == signal.SIGKILL else "stopped; run the same command to resume")
    written = list((tmp_path / "out").rglob("[cn]*.wav"))
    assert written and all(path.stat().st_size == 44 + 2 * 8000 for path in written)

    config = data_config(corpus, tmp_path / "out", data__total_training_files=40)
    assert build.make(make_plans(config)[0][0]).new <= 40 - 33
    make(corpus, tmp_path / "expected", data__total_training_files=40)
    now = snapshot(tmp_path / "out")
    for name, content in snapshot(tmp_path / "expected").items():
        if "training" in name:
            assert now[name] == content


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_folder(script, tmp_path):
    done = run_script(script, "--set", "data.clean_train_path=nowhere", cwd=tmp_path)
    assert_user_error(done, "clean_train_path", str(tmp_path / "nowhere"), "no such folder")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_test_folder_is_reported_before_the_training_sources_are_scanned(
    corpus, tmp_path, monkeypatch
):
    scanned = []
    monkeypatch.setattr(splits, "scan_subset", lambda config, subset: scanned.append(subset))
    config = data_config(corpus, tmp_path, data__clean_test_path=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"clean_test_path = .*nowhere: no such folder"):
        make_plans(config)
    assert scanned == []


def test_empty_folder(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    changes = {"data__noise_train_path": tmp_path / "empty"}
    done = run_script("data_prep.py", *arguments(corpus, tmp_path, **changes), cwd=tmp_path)
    assert_user_error(done, "noise_train_path", "no audio files", "make demo")


def test_folders_of_a_fresh_clone_name_what_to_put_where(tmp_path):
    """With the placeholders of the repository only, or nothing at all."""
    for name in ("clean/clean_train", "noise/noise_train", "clean/clean_test", "noise/noise_test"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "README.md").write_text("put recordings here")
    shutil.copy(ROOT / "config.ini", tmp_path)
    done = run_script("data_prep.py", "--config", "config.ini", cwd=tmp_path)
    assert_user_error(done, "clean_train_path", "data/clean/clean_train", "put recordings", "demo")


def test_unknown_option(tmp_path):
    (tmp_path / "my.ini").write_text("[data]\ntotal_trainig_files = 3\n")
    done = run_script("data_prep.py", "--config", "my.ini", cwd=tmp_path)
    assert_user_error(done, "my.ini", "total_trainig_files", "mean total_training_files?")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.SNR_lower=10", ["SNR_lower = 10", "SNR_upper = 9"]),
        ("data.sead=1", ["command line", "sead", "did you mean seed?"]),
        ("STFT.hop_size=0.03", ["hop_size = 0.03", "window_length = 0.025"]),
    ],
)
def test_bad_overrides(override, words, tmp_path):
    assert_user_error(run_script("data_prep.py", "--set", override, cwd=tmp_path), *words)


@pytest.mark.parametrize("name", ["no.ini", "."])
def test_configuration_that_is_no_file(name, tmp_path):
    assert_user_error(run_script("data_prep.py", "--config", name, cwd=tmp_path), name)


@pytest.mark.parametrize("script", SCRIPTS)
def test_output_folder_that_cannot_be_made(script, corpus, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    args = arguments(corpus, tmp_path / "file/data")
    done = run_script(script, *args, cwd=tmp_path)
    assert_user_error(done, str(tmp_path / "file"), "choose another folder")
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_output_folder_that_is_read_only(corpus, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    done = run_script("data_prep.py", *arguments(corpus, tmp_path / "out"), cwd=tmp_path)
    assert_user_error(done, str(tmp_path / "out"), "permissions")


def test_other_settings_than_those_of_the_files(corpus, tmp_path):
    few = {f"data__total_{split}_files": 2 for split in ("training", "validation", "testing")}
    make(corpus, tmp_path, **few)
    before = snapshot(tmp_path)
    changed = arguments(corpus, tmp_path, data__SNR_upper=12, **few)
    done = run_script("data_prep.py", *changed, cwd=tmp_path)
    assert_user_error(done, "SNR_upper was 9.0, is 12.0", "--overwrite")
    assert snapshot(tmp_path) == before
    done = run_script("data_prep.py", *changed, "--overwrite", cwd=tmp_path)
    assert done.returncode == 0 and "2 new" in done.stdout


def test_windows_without_an_inverse(corpus, tmp_path):
    make(corpus, tmp_path)
    args = arguments(corpus, tmp_path, STFT__hop_size=0.025)
    done = run_script("stft.py", *args, cwd=tmp_path)
    assert_user_error(done, "hop_size = 0.025", "the largest hop that works is 331 samples")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.parametrize(("script", "limit"), [("data_prep.py", 9_000), ("stft.py", 100_000)])
def test_a_disk_that_takes_no_more(script, limit, corpus, tmp_path):
    """Writing fails in the middle of a file: one line, no half file, and the next run goes on."""
    import resource

    config = data_config(corpus, tmp_path / "out")
    if script == "stft.py":
        make(corpus, tmp_path / "out")
    before = snapshot(tmp_path)
    done = run_script(
        script,
        *arguments(corpus, tmp_path / "out"),
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert_user_error(done)
    names = {name for name in snapshot(tmp_path) if not Path(name).name.startswith(".")}
    assert names - set(before) <= {
        "out/manifest_training.json", "out/manifest_training.csv.partial"
    }  # fmt: skip
    make(corpus, tmp_path / "out")
    stft_cache.build(config, "training")
