"""The doctor finds what the test has done to recordings, and nothing in good ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soxr
from helpers import (
    RATE,
    call_script,
    data_overrides,
    hiss,
    make_corpus,
    read_csv,
    settings_args,
    speechlike,
    tone,
    write_audio,
)

from specmask.audio.io import AudioError
from specmask.data.corpus import fingerprint, measurements


def voice(seed: int, seconds: float = 3) -> np.ndarray:
    return speechlike(np.random.default_rng(seed), seconds)


def run(corpus: Path, out: Path, **changes: object) -> tuple[int, list[dict[str, str]], str]:
    """Run --check; return exit code, the rows of its list, and what it prints."""
    args = settings_args(data_overrides(corpus, out, **changes))
    done = call_script("data_prep.py", "--check", *args, cwd=out.parent)
    path = out / "check.csv"
    if not path.is_file():
        return done.returncode, [], done.stdout + done.stderr
    return done.returncode, read_csv(path), done.stdout + done.stderr


# ---------------------------------------------------------------- one file


def measured(
    tmp_path: Path, x: np.ndarray, rate: int = RATE, name: str = "a.wav"
) -> measurements.Measurements:
    return measurements.measure(write_audio(tmp_path / name, x, rate))


def test_figures_of_a_good_file(tmp_path):
    facts = measured(tmp_path, voice(0))
    assert facts.flat_samples == 0 and facts.full_scale_share == 0 and facts.edge_hz == 0
    assert abs(facts.dc) < 1e-3 and facts.mixdown_db == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dc", [-0.3, 0, 0.01])
def test_the_mean_is_found(dc, tmp_path):
    x = 0.1 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE) + dc  # whole periods
    assert measured(tmp_path, x).dc == pytest.approx(dc, abs=1e-4)


def test_flat_runs_are_counted_at_the_peak_only(tmp_path):
    x = np.linspace(-0.2, 0.2, 16000).astype(np.float32)
    x[100:105] = 0.9
    x[200:203] = -0.9
    x[300:302] = 0.9  # two are no run
    x[400:500] = 0.5  # flat, but not at the peak
    assert measured(tmp_path, x).flat_samples == 8


@pytest.mark.parametrize(("rate", "edge"), [(8000, 4000), (11025, 5512.5), (12000, 6000)])
def test_upsampled_speech_has_an_edge(rate, edge, tmp_path):
    x = soxr.resample(voice(1) + 0.01 * hiss(np.random.default_rng(0), 3), RATE, rate)
    facts = measured(tmp_path, soxr.resample(x, rate, RATE))
    assert facts.edge_hz == edge and facts.drop_db > 25


@pytest.mark.parametrize(
    ("drop", "again", "edge"), [(30, False, 4000), (22, False, 0), (30, True, 0)]
)
def test_an_edge_is_a_deep_step_and_stays(drop, again, edge):
    """``again``: there is something above 7 kHz, so that the recording has its whole band."""
    frequencies = np.linspace(0, 8000, 1025)
    level = np.where(frequencies < 4000, 0, -drop)
    level[(frequencies > 7000) & again] = -10
    assert measurements.band_edge(10 ** (level / 10), 16000)[0] == edge


def test_what_falls_off_by_itself_has_no_edge(tmp_path):
    rng = np.random.default_rng(0)
    x = scipy.signal.lfilter(*scipy.signal.butter(2, 2000, fs=RATE), rng.standard_normal(RATE * 4))
    for k, signal in enumerate((x / 10, tone(3500, 3), 0.1 * rng.standard_normal(RATE * 3))):
        assert measured(tmp_path, signal, name=f"{k}.wav").edge_hz == 0


def test_channels_that_cancel(tmp_path):
    x = voice(2)
    facts = measured(tmp_path, np.stack([x, -0.9 * x], 1))
    level = 20 * np.log10(0.05) - 10 * np.log10((1 + 0.81) / 2)  # ((1 − 0.9) / 2)² to the mean
    assert facts.mixdown_db == pytest.approx(level, abs=0.05)


# ---------------------------------------------------------------- copies


def fingerprints(*signals: np.ndarray) -> list:
    return [fingerprint.fingerprint(soxr.resample(x, RATE, 4000)) for x in signals]


def test_a_part_of_a_recording_is_found_where_it_lies(tmp_path):
    long, other = voice(3, 12), voice(4, 12)
    part = 0.4 * long[round(3.217 * RATE) : round(8 * RATE)]
    paths = [write_audio(tmp_path / f"{k}.wav", x) for k, x in enumerate((long, part, other))]
    found = fingerprint.candidates(fingerprints(long, part, other))
    assert [(a, b) for a, b, _ in found] == [(0, 1)]
    value, offset = fingerprint.correlation(paths[0], paths[1], found[0][2])
    assert value > 0.99 and offset == pytest.approx(3.217, abs=1e-3)
    value, offset = fingerprint.correlation(paths[1], paths[0], -found[0][2])
    assert value > 0.99 and offset == pytest.approx(-3.217, abs=1e-3)
    assert fingerprint.correlation(paths[0], paths[2], 0.0)[0] < 0.5


def test_no_two_voices_are_the_same(tmp_path):
    signals = [voice(seed, 2) for seed in range(30)]
    paths = [write_audio(tmp_path / f"{k}.wav", x) for k, x in enumerate(signals)]
    found = fingerprint.candidates(fingerprints(*signals))  # of 435 pairs
    assert len(found) < 5
    assert all(fingerprint.correlation(paths[a], paths[b], at)[0] < 0.5 for a, b, at in found)
    silence = np.zeros(RATE, np.float32)
    assert fingerprint.candidates(fingerprints(silence, silence, silence[:50])) == []


# ---------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Sources with one of each problem."""
    root = make_corpus(tmp_path_factory.mktemp("sick"))
    speech, noise = root / "clean_train", root / "noise_train"
    rng = np.random.default_rng(9)
    x = voice(10)
    write_audio(speech / "dina/clipped.wav", np.clip(10 * hiss(rng, 3), -0.5, 0.5))
    write_audio(speech / "dina/dc.wav", voice(12) + 0.05)
    write_audio(speech / "dina/stereo.wav", np.stack([voice(13), voice(14)], 1))
    write_audio(speech / "dina/cancels.wav", np.stack([voice(15), -voice(15)], 1) * [1, 0.98])
    write_audio(speech / "dina/rate.wav", soxr.resample(voice(16), RATE, 44100), 44100)
    write_audio(
        speech / "dina/upsampled.wav", soxr.resample(soxr.resample(x, RATE, 8000), 8000, RATE)
    )
    write_audio(speech / "dina/silent.wav", np.zeros(RATE))
    write_audio(speech / "dina/constant.wav", np.full(RATE, 0.25))
    write_audio(speech / "dina/short.wav", voice(17, 0.1))
    write_audio(speech / "dina/loud.wav", 1e6 * voice(19), subtype="FLOAT")
    (speech / "dina/text.wav").write_text("no audio" * 99)
    write_audio(speech / "emil/original.wav", voice(18))
    shutil.copy(speech / "emil/original.wav", speech / "emil/copy.wav")
    write_audio(speech / "emil/softer.mp3", 0.3 * voice(18), bitrate_mode="CONSTANT")
    street = hiss(rng, 6)
    write_audio(noise / "street/long.wav", street)
    write_audio(noise / "esc/1-77-A-3.wav", hiss(rng, 1))
    # what testing has in common with training
    write_audio(root / "clean_test/anna/9.wav", voice(20))
    write_audio(root / "clean_test/dora2/x.wav", 0.5 * voice(18)[1234:])
    write_audio(root / "noise_test/road/cut.flac", 0.7 * street[20_000:70_000])
    write_audio(root / "noise_test/road/5-77-B-3.wav", hiss(rng, 1))
    return root


def test_every_problem_is_found_with_its_plan(folders, tmp_path):
    code, rows, printed = run(folders, tmp_path / "out")
    assert code == 1 and "must be solved first" in printed
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".specmask", "check.csv"]
    found = {(r["path"], r["problem"]): r for r in rows}
    assert {key: r["plan"] for key, r in found.items()} == {
        ("dina/clipped.wav", "clipped"): "set aside",
        ("dina/dc.wav", "DC"): "fix",
        ("dina/stereo.wav", "stereo"): "fix",
        ("dina/cancels.wav", "stereo"): "fix",
        ("dina/cancels.wav", "channels cancel"): "set aside",
        ("dina/rate.wav", "rate"): "fix",
        ("dina/upsampled.wav", "upsampled"): "set aside",
        ("dina/silent.wav", "silent"): "set aside",
        ("dina/constant.wav", "silent"): "set aside",
        ("dina/short.wav", "too short"): "set aside",
        ("dina/loud.wav", "too loud"): "set aside",
        ("dina/text.wav", "unreadable"): "set aside",
        ("emil/original.wav", "duplicate"): "set aside",
        ("emil/softer.mp3", "near duplicate"): "set aside",
        ("dora2/x.wav", "leak: same content"): "stop",
        ("road/cut.flac", "leak: same content"): "stop",
        ("anna/9.wav", "leak: same speaker"): "stop",
        ("road/5-77-B-3.wav", "leak: same noise recording"): "stop",
    }
    assert "where it is more than 1 % of a piece's" in found["dina/dc.wav", "DC"]["detail"]
    cut = found["road/cut.flac", "leak: same content"]
    assert cut["other"] == "noise_train_path: street/long.wav" and "at +1.250 s" in cut["detail"]
    assert found["emil/softer.mp3", "near duplicate"]["other"] == "clean_train_path: emil/copy.wav"


def test_the_list_can_be_followed(folders, tmp_path):
    """What is to be set aside is, and with the leaks gone nothing stops any more."""
    root = tmp_path / "corpus"
    shutil.copytree(folders, root)
    run(root, tmp_path / "out")
    for name in ("clean_test/anna", "clean_test/dora2", "noise_test/road"):
        shutil.rmtree(root / name)
    code, rows, _ = run(root, tmp_path / "next", data__set_aside=tmp_path / "out/check.csv")
    assert code == 0
    rest = {r["problem"] for r in rows if r["plan"] == "set aside"}
    assert {r["path"] for r in rows if r["problem"] == "set aside"} >= {"dina/clipped.wav"}
    assert not rest & {"clipped", "near duplicate", "channels cancel", "upsampled"}


def test_leaks_that_are_wanted(folders, tmp_path):
    code, rows, _ = run(folders, tmp_path / "out", data__leaks="warn")
    assert code == 0 and {r["plan"] for r in rows if "leak" in r["problem"]} == {"keep"}


def test_a_recording_that_is_known_and_cannot_be_read_any_more(folders, tmp_path, monkeypatch):
    measure = measurements.measure

    def refuses_one(path: Path, with_fingerprint: bool) -> measurements.Measurements:
        if path.name == lost:
            raise AudioError("not readable: Permission denied")
        return measure(path, with_fingerprint)

    lost = "dc.wav"
    monkeypatch.setattr(measurements, "measure", refuses_one)
    _, rows, _ = run(folders, tmp_path / "out", compute__workers=1)
    found = [r for r in rows if r["path"].endswith(lost) and r["problem"] == "unreadable"]
    assert found and {r["plan"] for r in found} == {"set aside"}


def test_without_validation_files_nothing_is_taken_for_them(folders, tmp_path):
    _, rows, text = run(folders, tmp_path / "out", data__total_validation_files=0)
    assert " for training" in text and " for validation" not in text
    assert {r["split"] for r in rows} <= {"", "training", "testing"}


def test_good_recordings(tmp_path):
    root = make_corpus(tmp_path / "corpus")
    code, rows, printed = run(root, tmp_path / "out")
    assert (code, rows) == (0, []) and "nothing found" in printed
    assert "clean_train_path: 6 usable speech files" in printed
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".specmask"]  # facts of the scan
