"""The user's commands, end to end, from another folder and without PYTHONPATH."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import (
    PROJECT_RATE,
    assert_error_line,
    call_script,
    make_project,
    run_script,
    voice,
    write_audio,
)

from specmask.training import checkpoint
from specmask.training.runs import newest_first, run_folders


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A project with its data set and caches made by the scripts; not to be changed."""
    folder = tmp_path_factory.mktemp("data set of a user")
    ini = make_project(folder)
    other = tmp_path_factory.mktemp("elsewhere")
    for script in ("data/data_prep.py", "stft.py"):
        result = run_script(script, "--config", ini, cwd=other)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def own(trained, tmp_path) -> Path:
    """A copy of the trained project that a test may change; returns its INI file."""
    shutil.copytree(trained.parent, tmp_path / "p")
    return tmp_path / "p" / "config.ini"


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """The project after an unbroken training; returns its INI file."""
    folder = tmp_path_factory.mktemp("trained") / "p"
    shutil.copytree(data, folder)
    result = run_script("train.py", "--config", folder / "config.ini", cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\nepoch ") == 4
    return folder / "config.ini"


def final_arrays(ini: Path) -> dict[str, np.ndarray]:
    return checkpoint.read(newest_first(ini.parent / "cp" / "run")[0])[0]


def test_enhance_and_evaluate(trained, tmp_path):
    result = run_script("enhance.py", "--config", trained, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = trained.parent
    noisy = sorted((folder / "data" / "NoisySpeech_testing").glob("*.wav"))
    assert len(noisy) == 4
    for path in noisy:
        a, b = sf.info(path), sf.info(folder / "enhanced" / path.name)
        assert (a.frames, a.samplerate, a.channels) == (b.frames, b.samplerate, b.channels)
    again = call_script("enhance.py", "--config", trained, cwd=tmp_path)
    assert "4 up to date" in again.stdout
    result = call_script("evaluate.py", "--config", trained, "--out", tmp_path / "r", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with (tmp_path / "r" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["system"] for r in rows} >= {"noisy", "enhanced"}
    assert "SI-SDR" in result.stdout


def test_enhance_keeps_folders_rates_and_channels(trained, tmp_path):
    rng = np.random.default_rng(1)
    source, target = tmp_path / "in", tmp_path / "out put"
    stereo = np.stack([voice(rng, 0.7, 44100)] * 2, axis=1)
    write_audio(source / "a b" / "stereo 44.1.flac", stereo, 44100)
    write_audio(source / "ünï.ogg", voice(rng, 0.7, 16000), 16000)
    write_audio(source / "tiny.wav", np.array([0.1], np.float32), PROJECT_RATE)
    (source / "empty.wav").write_bytes(b"")
    (source / "text.wav").write_text("no audio")
    sf.write(source / "nan.wav", np.full(99, np.nan), 8000, subtype="FLOAT")
    before = {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    result = call_script("enhance.py", "--config", trained, source, target, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("a b/stereo 44.1.flac", "ünï.ogg", "tiny.wav"):
        a, b = sf.info(source / name), sf.info(target / name)
        assert (a.frames, a.samplerate, a.channels) == (b.frames, b.samplerate, b.channels)
        assert (a.format, a.subtype) == (b.format, b.subtype)
    with (target / "enhance_rejected.csv").open() as file:
        reasons = {r["path"]: r["reason"] for r in csv.DictReader(file)}
    assert set(reasons) == {"empty.wav", "text.wav", "nan.wav"}
    assert "NaN" in reasons["nan.wav"]
    assert "0 bytes" in reasons["empty.wav"]
    assert before == {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    assert not list(target.rglob(".specmask-*"))


def test_finished_run_does_nothing_more_and_fresh_starts_beside_it(own, tmp_path):
    ini = own
    before = final_arrays(ini)
    result = call_script("train.py", "--config", ini, cwd=tmp_path)
    assert result.returncode == 0
    assert "\nepoch " not in result.stdout
    options = "--set", "train.epochs=2", "--profile"
    result = call_script("train.py", "--config", ini, "--fresh", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    runs = run_folders(ini.parent / "cp", "run")
    assert [r.name for r in runs] == ["run", "run-2"]
    assert list(ini.parent.glob("logs/run-2/plugins/profile/*/*"))
    listed = call_script("train.py", "--config", ini, "--list", cwd=tmp_path).stdout
    assert "train.epochs=4" in listed and "run-2   2/2" in listed
    for name, array in final_arrays(ini).items():
        np.testing.assert_array_equal(before[name], array)


def test_damaged_newest_checkpoint_falls_back(own, tmp_path):
    ini = own
    wanted = final_arrays(ini)
    newest = newest_first(ini.parent / "cp" / "run")[0]
    newest.write_bytes(newest.read_bytes()[:-200])
    # in a process of its own: only there are the bits those of the unbroken run
    result = run_script("train.py", "--config", ini, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "damaged" in result.stdout
    for name, array in final_arrays(ini).items():
        np.testing.assert_array_equal(wanted[name], array)


@pytest.mark.parametrize(
    "script, options, words",
    [
        ("train.py", ["model.recurrent_units=7"], ["recurrent_units was 6, is 7", "--fresh"]),
        ("train.py", ["train.batch_size=2"], ["batch_size was 4, is 2"]),
        ("train.py", ["stft.hop_size=0.005"], ["stale cache", "hop_length", "stft.py"]),
        ("train.py", ["data.snr_lower=-3"], ["SNR_lower was -6.0, is -3.0", "data_prep.py"]),
        ("train.py", ["train.batch_size=99", "train.run_name=b"], ["batch_size = 99"]),
        ("train.py", ["stft.hop_size=0.03"], ["hop_size", "longer"]),
        ("enhance.py", ["enhance.checkpoint=nowhere"], ["nowhere", "train.py"]),
        ("enhance.py", ["enhance.input_path=nowhere"], ["no such file or folder"]),
        ("enhance.py", ["enhance.output_path=config.ini/x"], ["config.ini"]),
    ],
)
def test_bad_input_is_one_line(trained, script, options, words):
    overrides = [word for option in options for word in ("--set", option)]
    before = {p: p.stat().st_mtime_ns for p in trained.parent.rglob("*") if p.is_file()}
    result = call_script(script, "--config", trained, *overrides, cwd=trained.parent)
    assert_error_line(result, *words)
    assert before == {p: p.stat().st_mtime_ns for p in trained.parent.rglob("*") if p.is_file()}


def test_enhanced_files_of_another_checkpoint_are_not_mixed(trained, tmp_path):
    out = tmp_path / "out"
    call_script(
        "enhance.py", "--config", trained, "--set", f"enhance.output_path={out}", cwd=tmp_path
    )
    (out / "enhanced.json").write_text('{"model": "other"}')
    arguments = "--config", trained, "--set", f"enhance.output_path={out}"
    assert_error_line(call_script("enhance.py", *arguments, cwd=tmp_path), "another checkpoint")
    result = call_script("enhance.py", *arguments, "--overwrite", cwd=tmp_path)
    assert "Enhanced 4 files" in result.stdout


def test_training_on_enhancing_and_evaluating_need_no_overwrite(own, tmp_path):
    """Each of the three says what it makes anew, and nothing of another model is replaced."""
    arguments = "--config", own
    first = call_script("enhance.py", *arguments, cwd=tmp_path)
    assert "in LiteRT" in first.stdout and "earlier weights" not in first.stdout
    assert call_script("evaluate.py", *arguments, cwd=tmp_path).returncode == 0
    before = (own.parent / "cp/run/best.npz").read_bytes()
    options = "--set", "train.epochs=6", "--set", "train.learning_rate=0.003"
    trained_on = run_script("train.py", *arguments, *options, cwd=tmp_path)
    assert (own.parent / "cp/run/best.npz").read_bytes() != before, trained_on.stdout
    assert "step for LiteRT -> " in trained_on.stdout
    stale = call_script("evaluate.py", *arguments, cwd=tmp_path).stdout
    assert "enhanced by other weights" in stale and "run enhance.py again" in stale
    again = call_script("enhance.py", *arguments, cwd=tmp_path)
    assert again.returncode == 0 and "in LiteRT" in again.stdout
    assert "Enhanced 4 files" in again.stdout and "4 of them were of earlier" in again.stdout
    renewed = call_script("evaluate.py", *arguments, cwd=tmp_path)
    assert renewed.returncode == 0 and "other weights" not in renewed.stdout
    assert "replaces a report of enhanced (weights " in renewed.stdout
    # another model, and other settings, are refused as before
    other = call_script("enhance.py", *arguments, "--model", "default", cwd=tmp_path)
    assert_error_line(other, "another checkpoint", "--overwrite")
    other = call_script("enhance.py", *arguments, "--mix", "0.5", cwd=tmp_path)
    assert_error_line(other, "other settings", "--overwrite")
