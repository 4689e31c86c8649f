"""Audio, folders and runs of the scripts that several tests share; nothing comes from outside."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import testset
from hypothesis import settings

from specmask.config import ini
from specmask.config.schema import Config

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000

# No deadlines on busy machines, and the same examples on every run.
settings.register_profile("specmask", deadline=None, derandomize=True)
settings.load_profile("specmask")


# ---------------------------------------------------------------- audio


def speechlike(rng: np.random.Generator, seconds: float, rate: int = RATE) -> np.ndarray:
    """Bursts of harmonics and hiss with pauses between them, float32, peak 0.3."""
    n = round(seconds * rate)
    t = np.arange(n) / rate
    pitch = rng.uniform(90, 250)
    phase = 2 * np.pi * pitch * t + 3 * np.sin(2 * np.pi * rng.uniform(2, 5) * t)
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 12))
    rhythm = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * t + rng.uniform(0, 1)) + 0.4, 0, None)
    x = rhythm * (voice + 0.2 * rng.standard_normal(n))
    return (0.3 * x / np.abs(x).max()).astype(np.float32)


def hiss(rng: np.random.Generator, seconds: float, rate: int = RATE) -> np.ndarray:
    """White noise, float32, RMS 0.05."""
    return (0.05 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def tone(hertz: float, seconds: float, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float32."""
    t = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def save(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    """Write an audio file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, rate, **options)
    return path


def error_db(x: np.ndarray, reference: np.ndarray) -> float:
    """Energy of ``x - reference`` in dB relative to the energy of the reference."""
    reference = np.asarray(reference, np.float64)
    error = np.sum(np.square(np.asarray(x, np.float64) - reference))
    return float(10 * np.log10(error / np.sum(np.square(reference)))) if error else -np.inf


# ---------------------------------------------------------------- folders


def make_corpus(root: Path, seed: int = 1) -> Path:
    """Write clean_train, noise_train, clean_test, noise_test below a folder.

    Three speakers of two recordings (one shorter than a mixture of 0.5 s) and three noise types
    of one recording (one shorter) for training, one of each for testing.
    """
    rng = np.random.default_rng(seed)
    for speaker in ("anna", "bert", "carl"):
        for number, seconds in enumerate((1.1, 0.4)):
            save(root / f"clean_train/{speaker}/{number}.wav", speechlike(rng, seconds))
    for kind, seconds in (("rain", 1.5), ("fan", 1.2), ("saw", 0.3)):
        save(root / f"noise_train/{kind}/{kind}.wav", hiss(rng, seconds))
    save(root / "clean_test/dora/0.wav", speechlike(rng, 1.3))
    save(root / "noise_test/wind/wind.wav", hiss(rng, 1.3))
    return root


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of sources for reading only."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


DATA_DEFAULTS = {
    "data.file_length": 0.5,
    "data.total_training_files": 20,
    "data.total_validation_files": 6,
    "data.total_testing_files": 6,
    "data.total_snrlevels": 4,
    "data.validation_share": 0.3,
    "data.seed": 7,
    "compute.workers": 1,
}


def data_overrides(corpus: Path, out: Path, **changes: object) -> list[str]:
    """Return ``--set`` values of a small data set; ``data__seed=3`` changes data.seed."""
    values = {f"data.{name}_path": corpus / name for name in corpus_folders()}
    values |= {"data.data_path": out, **DATA_DEFAULTS}
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in values.items()]


def corpus_folders() -> Iterable[str]:
    """Names of the four folders of sources."""
    return ("clean_train", "noise_train", "clean_test", "noise_test")


def data_config(corpus: Path, out: Path, **changes: object) -> Config:
    """Return the configuration of a small data set with few and short files."""
    return ini.load(ROOT / "config.ini", data_overrides(corpus, out, **changes))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder by its relative path.

    What runs keep for themselves is left out.
    """
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and ".specmask" not in p.parts
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A test set of three files with its manifest, an enhanced folder and an INI file."""
    return testset.make(tmp_path)


# ---------------------------------------------------------------- scripts


def run_script(
    script: str | Path, *args: str | Path, cwd: Path, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a script of the project in another process, from a folder, without PYTHONPATH."""
    with start_script(script, *args, cwd=cwd, **options) as process:
        out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start_script(
    script: str | Path, *args: str | Path, cwd: Path, **options: object
) -> subprocess.Popen[str]:
    """Start a script of the project and do not wait for it.

    Ctrl-C reaches it also where whoever started the tests ignores it.
    """
    if os.name == "posix":
        options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | options
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *map(str, args)],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def settings_args(overrides: Iterable[str]) -> list[str]:
    """Turn overrides into command-line arguments."""
    return [part for override in overrides for part in ("--set", override)]


def assert_user_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check for exit code 2 and one line on stderr that holds all the words."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
