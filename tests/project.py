"""A small project on audio that the tests make: folders of speech and noise, and an INI file."""

import contextlib
import importlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

ROOT = Path(__file__).resolve().parents[1]
RATE = 8000

INI = """
[data]
clean_train_path = speech
noise_train_path = noise
clean_test_path = test_speech
noise_test_path = test_noise
sample_rate = 8000
file_length = 0.5
total_training_files = 12
total_validation_files = 4
total_testing_files = 4
[STFT]
n_fft = 256
[model]
conv_channels = 2
squeeze_channels = 1
recurrent_units = 6
dense_units = 6
[train]
epochs = 4
batch_size = 4
warmup_steps = 2
metric_files = 2
log_steps = 1
remix = yes
loss = compressed:1, si_sdr:0.001
[compute]
workers = 1
"""


def voice(rng: np.random.Generator, seconds: float, rate: int = RATE) -> np.ndarray:
    """Return harmonics with syllables and pauses, float32, peak 0.5."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 220)
    tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * t + rng.uniform(0, 6)), 0, 1)
    x = tone * syllables + 1e-3 * rng.standard_normal(len(t))
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def write(path: Path, x: np.ndarray, rate: int = RATE) -> None:
    """Write audio, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x, rate)


def make(folder: Path) -> Path:
    """Write the recordings and return the path of the INI file."""
    rng = np.random.default_rng(0)
    for root, speakers in (("speech", "abcd"), ("test_speech", "xy")):
        for speaker in speakers:
            for k in range(2):
                write(folder / root / speaker / f"{k}.wav", voice(rng, 1.5))
    for root, count in (("noise", 4), ("test_noise", 2)):
        for k in range(count):
            x = 0.1 * rng.standard_normal(round(1.5 * RATE)).astype(np.float32)
            write(folder / root / "hiss" / f"{k}.wav", x)
    path = folder / "config.ini"
    path.write_text(INI, encoding="utf-8")
    return path


def command(script: str, *arguments: object) -> list[str]:
    """Return the command line of a script of the project."""
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return the environment without PYTHONPATH."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def run(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a script from a folder, without PYTHONPATH."""
    return subprocess.run(
        command(script, *arguments),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


@dataclass
class Result:
    """What a script did, as subprocess.CompletedProcess says it."""

    returncode: int
    stdout: str
    stderr: str


def call(script: str, *arguments: object, cwd: Path) -> Result:
    """Run a script's main in this process: TensorFlow is imported once, not for each test."""
    module = importlib.import_module(script.removesuffix(".py"))
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = module.main([*map(str, arguments)])
    return Result(code, out.getvalue(), err.getvalue())


def refused(result: subprocess.CompletedProcess | Result, *words: str) -> None:
    """Assert that a run ended with code 2 and one line that holds the words."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]
