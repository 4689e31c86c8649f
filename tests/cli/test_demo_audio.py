"""The demo's own speech and noise: the same every time, and nothing shared between the splits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from specmask.audio import levels
from specmask.errors import UserError

DEMO = Path(__file__).resolve().parents[2] / "demo"
sys.path.insert(0, str(DEMO))  # the demo is a folder of scripts, not a package

import espeak  # noqa: E402
import synthesize  # noqa: E402

RATE = 16000
SECONDS = 12
SHORT_SECONDS = (3.0, 4.0)  # of the noise files made here, to be quick
WHOLE = synthesize.jobs

needs_espeak = pytest.mark.skipif(
    not espeak.is_installed(), reason="espeakng-loader (the demo's extra) is not installed"
)


def part(seed: int) -> list:
    """Three speakers (one whose sound holds random numbers), and two noises of every type."""
    speakers = [job for job in WHOLE(seed) if job.func is synthesize.speech]
    noises = [job for job in WHOLE(seed) if job.func is synthesize.noise]
    first = {"train": 0, "test": 1}  # 16 kHz in mono, 44.1 kHz in stereo
    return speakers[9::8] + [job for job in noises if job.args[1] == first[job.args[2]]]


@pytest.fixture(scope="module", autouse=True)
def short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesize, "NOISE_SECONDS", SHORT_SECONDS)
        yield


@pytest.fixture(scope="module")
def out(short, tmp_path_factory) -> Path:
    """A folder in which the command has made a part of the whole."""
    folder = tmp_path_factory.mktemp("audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesize, "jobs", part)
        assert synthesize.main([str(folder)]) == 0
    return folder


def noise(kind: str, **parameters) -> np.ndarray:
    rng = np.random.default_rng(5)
    return synthesize.NOISES[kind].make(rng, SECONDS * RATE, RATE, **parameters)


# --- the files ----------------------------------------------------------------------------------


@needs_espeak
def test_same_bytes_in_another_order(out, tmp_path):
    """No recording depends on what was made before it."""
    again = [clip for job in reversed(part(0)) for clip in job()]
    assert {clip.path.split("/")[1] for clip in again} == {
        f"{kind}_{split}" for kind in ("clean", "noise") for split in synthesize.SPLITS
    }
    for clip in again:
        sf.write(tmp_path / "again.flac", clip.samples, clip.rate_hz)
        assert (tmp_path / "again.flac").read_bytes() == (out / clip.path).read_bytes(), clip.path


@needs_espeak
def test_another_seed_makes_other_files(out):
    for job in (part(1)[0], part(1)[-1]):
        for clip in job():
            kept, _ = sf.read(out / clip.path, dtype="int16")
            assert kept.shape != clip.samples.shape or np.any(kept != clip.samples)


@needs_espeak
def test_levels_lengths_and_formats(out):
    files = sorted(out.rglob("*.flac"))
    assert len(files) == 8 + 8 + 6 + 2 * len(synthesize.NOISES)
    for path in files:
        x, rate = sf.read(path, always_2d=True)
        assert sf.info(path).subtype == "PCM_16"
        assert np.abs(x).max() <= synthesize.LARGEST_PEAK + 1e-4, path
        blocks = x[: len(x) // rate * rate].reshape(-1, rate * x.shape[1])
        loudness_db = [levels.level_db(block) for block in blocks]
        if "clean" in path.parts:
            assert (rate, x.shape[1]) == (22050, 1)
            assert 2 <= len(x) / rate <= 6, path
            assert max(loudness_db) > -40, path
        else:
            assert (rate, x.shape[1]) == ((44100, 2) if "noise_test" in path.parts else (RATE, 1))
            assert SHORT_SECONDS[0] <= len(x) / rate <= SHORT_SECONDS[1], path
            assert min(loudness_db) > -60, path  # every second of noise is of use


@needs_espeak
def test_a_complete_folder_is_left_alone(out, monkeypatch, capsys):
    monkeypatch.setattr(synthesize, "jobs", lambda seed: pytest.fail("made again"))
    assert synthesize.main([str(out)]) == 0
    assert capsys.readouterr().out.startswith("already complete: ")


def test_a_missing_file_or_another_seed_makes_it_again(tmp_path, monkeypatch, capsys):
    def tiny(seed):
        names = [f"clean/clean_train/a/{n}.flac" for n in range(3 - seed)]
        x = np.full(RATE, 100 + seed, np.int16)
        return [lambda name=name: [synthesize.Clip(name, x, RATE)] for name in names]

    monkeypatch.setattr(synthesize, "jobs", tiny)
    command = [str(tmp_path), "--seed"]
    assert synthesize.main([*command, "0"]) == 0
    (tmp_path / "clean/clean_train/a/1.flac").unlink()
    mine = tmp_path / "clean/clean_train/a/mine.flac"
    mine.write_bytes(b"not the demo's")
    assert synthesize.main([*command, "0"]) == 0
    assert "made: 3 files" in capsys.readouterr().out
    assert synthesize.main([*command, "1"]) == 0
    found = sorted(p.name for p in tmp_path.rglob("*.flac"))
    assert found == ["0.flac", "1.flac", "mine.flac"]  # of seed 0 nothing is left
    assert sf.read(tmp_path / "clean/clean_train/a/0.flac", dtype="int16")[0][0] == 101


def test_user_errors_are_one_line(tmp_path):
    """From another working directory, without PYTHONPATH."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, str(DEMO / "synthesize.py"), "out", "--seed", "-1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --seed -1: expected a whole number from 0\n"
    assert not list(tmp_path.iterdir())


def test_gain_gives_the_level_unless_it_would_clip():
    steady, click = np.tile([0.5, -0.5], 500), np.zeros(1000)
    click[7] = -0.25
    assert levels.level_db(steady * synthesize.gain_to(steady, -26)) == pytest.approx(-26)
    assert synthesize.gain_to(click, -20) == pytest.approx(synthesize.LARGEST_PEAK / 0.25)


# --- the plan -----------------------------------------------------------------------------------


def test_no_voice_in_two_places():
    voices = [voice for split in synthesize.SPLITS for voice in synthesize.VOICES[split]]
    variants = [voice.variant for voice in voices]
    variants += [variant for split in synthesize.SPLITS for variant in synthesize.CROWD[split]]
    assert all(variants)  # the plain voice of a language has no variant
    assert len({variant.lower() for variant in variants}) == len(variants)
    assert len({voice.folder for voice in voices}) == len(voices)


def test_no_sentence_in_two_places():
    lists = [x for split in synthesize.SPLITS for x in synthesize.SENTENCES[split].values()]
    sentences = [sentence for sentences in lists for sentence in sentences]
    assert len({sentence.lower() for sentence in sentences}) == len(sentences)
    for split in synthesize.SPLITS:
        assert {v.language for v in synthesize.VOICES[split]} == set(synthesize.SENTENCES[split])
    for split, clips in synthesize.CLIPS_PER_VOICE.items():
        assert min(map(len, synthesize.SENTENCES[split].values())) >= clips


@pytest.mark.parametrize("kind", synthesize.NOISES)
def test_no_noise_parameters_in_two_places(kind):
    noise_type = synthesize.NOISES[kind]
    every = [repr(row) for row in noise_type.train + noise_type.test]
    assert len(set(every)) == len(every) == 6


# --- eSpeak NG ----------------------------------------------------------------------------------


@needs_espeak
def test_speech_follows_its_arguments():
    text = ["We are all aware of a long yellow wall."]
    (normal,), rate_hz = espeak.speak(text, "en-us+m1")
    (fast,), _ = espeak.speak(text, "en-us+m1", rate_wpm=240)
    (high,), _ = espeak.speak(text, "en-us+m1", pitch=90)
    (german,), _ = espeak.speak(text, "de+m1")
    assert normal.dtype == np.float32
    assert rate_hz == 22050
    assert 0.6 < len(fast) / len(normal) < 0.75  # 160 / 240, pauses do not shrink as much
    assert pitch_hz(high, rate_hz) > 1.3 * pitch_hz(normal, rate_hz)
    assert len(german) != len(normal)


def pitch_hz(x: np.ndarray, rate_hz: int) -> float:
    """Median over frames of the lag at which the autocorrelation peaks, as a frequency."""
    frames = np.lib.stride_tricks.sliding_window_view(x, 2048)[::1024]
    voiced = [frame for frame in frames if levels.level_db(frame) > -35]
    lags = range(rate_hz // 400, rate_hz // 60)
    shortest = lags[0]
    best = [shortest + np.argmax([f[:-lag] @ f[lag:] for lag in lags]) for f in voiced]
    return rate_hz / float(np.median(best))


@needs_espeak
def test_several_texts_are_several_recordings():
    both, _ = espeak.speak(["One.", "Two and three and four."], "en+f2")
    (first,), _ = espeak.speak(["One."], "en+f2")
    assert np.array_equal(both[0], first)
    assert len(both[1]) > 1.5 * len(both[0])


@needs_espeak
@pytest.mark.parametrize("voice, reason", [("en+nobody", "no variant"), ("xx+m1", "no such")])
def test_unknown_voice(voice, reason):
    with pytest.raises(UserError, match=reason):
        espeak.speak(["Hello."], voice)


@needs_espeak
def test_every_voice_exists():
    import espeakng_loader

    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    there = {path.name for path in folder.iterdir()}  # exact case, on every system
    used = {v.variant for split in synthesize.SPLITS for v in synthesize.VOICES[split]}
    assert used.union(*synthesize.CROWD.values()) <= there


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(espeak, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"pip install -r requirements\.lock.*espeakng-loader"):
        espeak.speak(["Hello."], "en")


# --- the noises ---------------------------------------------------------------------------------


def test_scatter_puts_grains_where_they_belong():
    grain = np.array([1.0, -2.0, 3.0])
    starts, gains = np.array([2, 8, 99]), np.array([1.0, 0.5, 7.0])  # the last lies outside
    x = synthesize.scatter(np.random.default_rng(0), 10, starts, gains, [grain])
    np.testing.assert_allclose(x, [0, 0, 1, -2, 3, 0, 0, 0, 0.5, -1], atol=1e-12)


def test_stereo_is_one_sound_at_two_places():
    x = noise("coloured", slope_db=0.0)
    both = synthesize.two_microphones(np.random.default_rng(1), x, RATE)
    assert np.array_equal(both[:, 0], x)
    lags = [np.sum(x * np.roll(both[:, 1], -lag)) for lag in range(10)]
    assert np.argmax(lags) <= 0.0003 * RATE + 1
    assert 0.5 <= levels.power(both[:, 1]) ** 0.5 / levels.power(x) ** 0.5 <= 0.9
