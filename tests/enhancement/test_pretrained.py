"""The default model: files of the same weights, small, and useful."""

from pathlib import Path

import numpy as np
import pytest
from helpers import PROJECT_RATE, call_script, voice, write_audio

from specmask import files
from specmask.audio.stft import Stft
from specmask.config import ini as configuration
from specmask.enhancement import array, enhancer, runtimes
from specmask.evaluation.metrics import distortion

FOLDER = Path(__file__).resolve().parents[2] / "pretrained"
RATE = 16000


@pytest.fixture(scope="module")
def noisy_speech():
    """Speech-like sound in white noise at 5 dB, at 16 kHz."""
    rng = np.random.default_rng(3)
    clean = voice(rng, 4.0, RATE)
    noise = rng.standard_normal(len(clean)).astype(np.float32)
    noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2) * 10**-0.5)
    return clean, clean + noise


def test_all_files_are_of_the_same_weights():
    digest = files.digest(FOLDER / "default.npz")
    for name in ("default.onnx", "default.tflite"):
        assert runtimes.load(FOLDER / name).description.digest == digest
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) < 6e6


def test_the_network_is_that_of_the_recipe():
    recipe = configuration.load(FOLDER.parent / "recipes" / "default.ini")
    own = configuration.load(FOLDER / "default.ini")
    assert own.model == recipe.model
    assert own.data.sample_rate == RATE and Stft.from_config(own) == Stft.from_config(recipe)
    assert "/" not in (FOLDER / "default.ini").read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", [".npz", ".onnx", ".tflite"])
def test_it_enhances_at_any_level(noisy_speech, suffix):
    clean, noisy = noisy_speech
    model = enhancer.load(FOLDER / f"default{suffix}")
    enhanced = array.enhance(noisy, RATE, model)
    gain = distortion.si_sdr_improvement(clean, noisy, enhanced)
    assert gain > 3
    soft = array.enhance(noisy * np.float32(0.01), RATE, model)
    assert distortion.si_sdr(enhanced, soft) > 40
    assert not np.any(array.enhance(np.zeros(RATE, np.float32), RATE, model))


def test_it_is_used_where_nothing_has_been_trained(tmp_path):
    write_audio(tmp_path / "in" / "a.wav", voice(np.random.default_rng(0), 1.0), PROJECT_RATE)
    ini = tmp_path / "config.ini"
    ini.write_text("[compute]\nworkers = 1\n", encoding="utf-8")
    done = call_script(
        "enhance.py", "--config", ini, "--runtime", "onnx", "in", "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "default" in done.stdout
    assert (tmp_path / "out" / "a.wav").is_file()
