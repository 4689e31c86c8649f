"""Sounds, corpora, projects, runs, score rows and script calls that several tests share.

Nothing comes from outside: the tests make their own audio.
"""

import contextlib
import csv
import importlib
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from specmask.config import ini
from specmask.config.schema import Config
from specmask.data import stft_cache
from specmask.data.mixtures import build
from specmask.data.mixtures.plan import make_plans
from specmask.evaluation import scoring

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # recordings; tests that need them skip where there are none
RATE = 16000
PROJECT_RATE = 8000

# ---------------------------------------------------------------- sounds


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


def voice(rng: np.random.Generator, seconds: float, rate: int = PROJECT_RATE) -> np.ndarray:
    """Harmonics with syllables and pauses, float32, peak 0.5."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 220)
    tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * t + rng.uniform(0, 6)), 0, 1)
    x = tone * syllables + 1e-3 * rng.standard_normal(len(t))
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def bursts(seed: int, rate: int = RATE) -> np.ndarray:
    """One second of noise in bursts: long enough for every metric."""
    t = np.arange(rate) / rate
    envelope = np.sin(2 * np.pi * t) ** 2 * (t % 0.5 < 0.4)
    return 0.1 * envelope * np.random.default_rng(seed).standard_normal(rate)


def noisy_bursts(seed: int, level: float = 0.01, rate: int = RATE) -> np.ndarray:
    """The same with white noise of an RMS added."""
    return bursts(seed, rate) + level * np.random.default_rng(seed + 100).standard_normal(rate)


def hiss(rng: np.random.Generator, seconds: float, rate: int = RATE) -> np.ndarray:
    """White noise, float32, RMS 0.05."""
    return (0.05 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def white_noise(samples: int, seed: int = 0) -> np.ndarray:
    """White noise of a number of samples, float32, RMS 0.1."""
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def tone(hertz: float, seconds: float, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float32."""
    t = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def write_audio(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    """Write an audio file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, rate, **options)
    return path


def error_db(x: np.ndarray, reference: np.ndarray) -> float:
    """Energy of ``x - reference`` in dB relative to the energy of the reference."""
    reference = np.asarray(reference, np.float64)
    error = np.sum(np.square(np.asarray(x, np.float64) - reference))
    return float(10 * np.log10(error / np.sum(np.square(reference)))) if error else -np.inf


# ---------------------------------------------------------------- corpora


def make_corpus(root: Path, seed: int = 1) -> Path:
    """Write clean_train, noise_train, clean_test, noise_test below a folder.

    Three speakers of two recordings (one shorter than a mixture of 0.5 s) and three noise types
    of one recording (one shorter) for training, one of each for testing.
    """
    rng = np.random.default_rng(seed)
    for speaker in ("anna", "bert", "carl"):
        for number, seconds in enumerate((1.1, 0.4)):
            write_audio(root / f"clean_train/{speaker}/{number}.wav", speechlike(rng, seconds))
    for kind, seconds in (("rain", 1.5), ("fan", 1.2), ("saw", 0.3)):
        write_audio(root / f"noise_train/{kind}/{kind}.wav", hiss(rng, seconds))
    write_audio(root / "clean_test/dora/0.wav", speechlike(rng, 1.3))
    write_audio(root / "noise_test/wind/wind.wav", hiss(rng, 1.3))
    return root


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
CORPUS_FOLDERS = ("clean_train", "noise_train", "clean_test", "noise_test")


def data_overrides(corpus: Path, out: Path, **changes: object) -> list[str]:
    """Return ``--set`` values of a small data set; ``data__seed=3`` changes data.seed."""
    values = {f"data.{name}_path": corpus / name for name in CORPUS_FOLDERS}
    values |= {"data.data_path": out, **DATA_DEFAULTS}
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in values.items()]


def data_config(corpus: Path, out: Path, **changes: object) -> Config:
    """Return the configuration of a small data set with few and short files."""
    return ini.load(ROOT / "config.ini", data_overrides(corpus, out, **changes))


TOTALS = {
    "data__total_training_files": 40,
    "data__total_validation_files": 4,
    "data__total_testing_files": 4,
}


def make_data(config: Config) -> list[build.Summary]:
    """Make all splits of a data set."""
    return [build.make(plan) for plan in make_plans(config)[0]]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table without the package."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def settings_args(overrides: Iterable[str]) -> list[str]:
    """Turn overrides into command-line arguments."""
    return [part for override in overrides for part in ("--set", override)]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder by its relative path.

    The folder .specmask, where commands keep their caches and locks, is left out.
    """
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and ".specmask" not in p.parts
    }


FRAMES = 40


def cache_index(count: int = 12, **columns: object) -> np.ndarray:
    """Return the index of a cache: files of 40 frames, speech at -25 and noise at -30 dBFS."""
    index = np.zeros(count, stft_cache.INDEX)
    index["frames"], index["offset"] = FRAMES, FRAMES * np.arange(count)
    index["clean_level_db"], index["noise_level_db"], index["additive"] = -25, -30, True
    for name, values in columns.items():
        index[name] = values
    return index


# ---------------------------------------------------------------- projects and runs

PROJECT_INI = """
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
network = conv_lstm
conv_channels = 2
squeeze_channels = 1
recurrent_layers = 1
recurrent_units = 6
dense_units = 6
[train]
epochs = 4
batch_size = 4
warmup_steps = 2
optimizer = adam
learning_rate = 2e-3
metric_files = 2
log_steps = 1
remix = yes
loss = compressed:1, si_sdr:0.001
[compute]
workers = 1
"""


def make_project(folder: Path) -> Path:
    """Write folders of speech and noise and an INI file for all commands; return the INI's path."""
    rng = np.random.default_rng(0)
    for root, speakers in (("speech", "abcd"), ("test_speech", "xy")):
        for speaker in speakers:
            for k in range(2):
                write_audio(folder / root / speaker / f"{k}.wav", voice(rng, 1.5), PROJECT_RATE)
    for root, count in (("noise", 4), ("test_noise", 2)):
        for k in range(count):
            x = 0.1 * rng.standard_normal(round(1.5 * PROJECT_RATE)).astype(np.float32)
            write_audio(folder / root / "hiss" / f"{k}.wav", x, PROJECT_RATE)
    path = folder / "config.ini"
    path.write_text(PROJECT_INI, encoding="utf-8")
    return path


SMALL_NETWORK = [
    *("model.network=conv_lstm", "model.conv_channels=3", "model.squeeze_channels=2"),
    *("model.recurrent_units=6", "model.dense_units=5", "model.attention_heads=2"),
    "model.frame_units=4",
]
SMALL_8K = [*SMALL_NETWORK, "stft.n_fft=256", "data.sample_rate=8000"]


def causal_networks() -> list[str]:
    """Return the names of the networks that can stream."""
    from specmask import models

    return [name for name, network in models.NETWORKS.items() if network.causal(Config())]


def make_run(folder: Path, *options: str, identity: bool = False) -> Path:
    """Write a run with random weights, or with weights whose mask is one everywhere."""
    import keras

    from specmask import models
    from specmask.training import checkpoint

    cfg = ini.load(make_project(folder), list(options))
    keras.utils.set_random_seed(0)
    network = models.build(cfg)
    if identity:
        # raw + 1 = r with bound · tanh(r / bound) = 1
        bound = cfg.model.mask_bound
        *_, kernel, bias = network.model.trainable_variables
        kernel.assign(np.zeros(kernel.shape))
        real = np.full(cfg.bins, bound * np.arctanh(1 / bound) - 1)
        bias.assign(np.concatenate([real, np.zeros(cfg.bins)]))
    run = folder / "cp" / "run"
    run.mkdir(parents=True)
    (run / "config.ini").write_text(ini.render(cfg), encoding="utf-8")
    checkpoint.save(run / "best.npz", {"model": network.variables}, {})
    return run


# ---------------------------------------------------------------- test sets and scores


def make_voices(folder: Path, rate: int, seconds: float) -> list[Path]:
    """Write two voices and a damaged file for the gate and the probes."""
    paths = [folder / f"{k}.wav" for k in range(3)]
    for k, path in enumerate(paths[:2]):
        write_audio(path, voice(np.random.default_rng(k), seconds, rate), rate)
    paths[2].write_text("no audio")
    return paths


def touch(folder: Path, *names: str) -> Path:
    """Make empty files: pairing looks at names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def damage(path: Path, how: str) -> None:
    """Spoil an audio file in a named way."""
    x = sf.read(path)[0]
    if how == "not audio":
        path.write_text("hello")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "rate":
        sf.write(path, x, 8000)
    elif how == "stereo":
        sf.write(path, np.stack([x, x], axis=1), RATE)
    elif how == "short":
        sf.write(path, x[:-7], RATE)
    elif how == "too short":
        sf.write(path, x[:-801], RATE)  # over 0.05 s
    elif how == "silent":
        sf.write(path, 0 * x, RATE)
    elif how == "NaN":
        sf.write(path, np.where(np.arange(len(x)) == 9, np.nan, x), RATE, subtype="FLOAT")


def make_test_set(folder: Path) -> Path:
    """Write three files named as data_prep does, with their manifest and an enhanced folder."""
    rows = [["index", "clean_file", "noise_file", "noisy_file", "speaker", "noise_type", "snr_db"]]
    for i, (snr, noise) in enumerate([("-3.00", "rain"), ("0.00", "rain"), ("6.00", "dogs")], 1):
        stem = f"noisy{i}_SNRdb_{snr}"
        noisy = folder / "NoisySpeech_testing" / f"{stem}_clnsp{i}.wav"
        write_audio(folder / "CleanSpeech_testing" / f"clnsp{i}.wav", bursts(i))
        write_audio(noisy, noisy_bursts(i, 0.02))
        write_audio(folder / "enhanced" / noisy.name, noisy_bursts(i, 0.01))
        names = [f"clnsp{i}.wav", f"{stem}.wav", noisy.name]
        rows.append([i - 1, *names, "anna", noise, float(snr)])
    with (folder / "manifest_testing.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "config.ini").write_text(
        "[data]\ndata_path = .\n[enhance]\noutput_path = enhanced\n[compute]\nworkers = 1\n"
    )
    return folder


def run_evaluation(data: Path, **options: object) -> list[dict]:
    """Score the small test set with the given options of scoring.evaluate."""
    arguments = {
        "clean_dir": data / "CleanSpeech_testing",
        "systems": {"enhanced": data / "enhanced"},
        "noisy_dir": data / "NoisySpeech_testing",
        "workers": 1,
        "names": ("si_sdr", "si_sdr_improvement"),
    } | options
    return scoring.evaluate(**arguments)


def embedded(folder: Path) -> dict:
    """Return what the script of a report's page reads."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def make_row(system="s", file="f", snr=0.0, noise="rain", reason="", **scores) -> dict:
    """Return a row of scores."""
    return {
        "system": system,
        "file": file,
        "clean_file": "c.wav",
        "snr_db": snr,
        "noise_type": noise,
        "speaker": "",
        **scores,
        "reason": reason,
    }


SCORE_ROWS = [
    make_row(file="a", si_sdr=1.0, stoi=0.5),
    make_row(file="b", si_sdr=3.0, stoi=math.nan, reason="stoi: too short", snr=6.0),
    make_row(file="c", si_sdr=8.0, stoi=0.75, noise="dogs"),
    make_row(system="t", file="a", si_sdr=-2.0, stoi=0.25),
]

# ---------------------------------------------------------------- scripts


@dataclass
class ScriptResult:
    """What a script did, named as in subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


def script_command(script: str | Path, *arguments: object) -> list[str]:
    """Return the command line of a script of the project."""
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def script_environment() -> dict[str, str]:
    """Return the environment without PYTHONPATH."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def start_script(
    script: str | Path, *arguments: object, cwd: Path, **options: object
) -> subprocess.Popen[str]:
    """Start a script in another process and from a folder, and do not wait for it.

    Ctrl-C reaches it also where whoever started the tests ignores it.
    """
    if os.name == "posix":
        options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | options
    return subprocess.Popen(
        script_command(script, *arguments),
        cwd=cwd,
        env=script_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run_script(
    script: str | Path, *arguments: object, cwd: Path, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a script in another process and from a folder."""
    with start_script(script, *arguments, cwd=cwd, **options) as process:
        out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def call_script(script: str, *arguments: object, cwd: Path) -> ScriptResult:
    """Run a script's main in this process: TensorFlow is imported once, not per test."""
    module = importlib.import_module(script.removesuffix(".py"))
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = module.main([*map(str, arguments)])
    return ScriptResult(code, out.getvalue(), err.getvalue())


def assert_error_line(result: subprocess.CompletedProcess[str] | ScriptResult, *words: str) -> None:
    """Check for exit code 2, no traceback, and one error line that holds all the words."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]


def assert_user_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check for :func:`assert_error_line`, and for nothing else on stderr."""
    assert_error_line(result, *words)
    assert len(result.stderr.splitlines()) == 1, result.stderr
