"""A small test set and rows of scores that the tests of the evaluation share."""

import csv
import math
from pathlib import Path

import numpy as np
import soundfile as sf

from specmask.evaluation import scoring

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
RATE = 16000


def speech(seed: int, rate: int = RATE) -> np.ndarray:
    """One second of noise in bursts: enough for every metric."""
    t = np.arange(rate) / rate
    envelope = np.sin(2 * np.pi * t) ** 2 * (t % 0.5 < 0.4)
    return 0.1 * envelope * np.random.default_rng(seed).standard_normal(rate)


def noisy_speech(seed: int, level: float = 0.01, rate: int = RATE) -> np.ndarray:
    return speech(seed, rate) + level * np.random.default_rng(seed + 100).standard_normal(rate)


def write(path: Path, x: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x, rate, subtype="PCM_16")
    return path


def touch(folder: Path, *names: str) -> Path:
    """Make empty files: pairing looks at names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def damage(path: Path, how: str) -> None:
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
    elif how == "silent":
        sf.write(path, 0 * x, RATE)
    elif how == "NaN":
        sf.write(path, np.where(np.arange(len(x)) == 9, np.nan, x), RATE, subtype="FLOAT")


def make(folder: Path) -> Path:
    """Three files named as data_prep does, with their manifest and an enhanced folder."""
    rows = [["index", "clean_file", "noise_file", "noisy_file", "speaker", "noise_type", "snr_db"]]
    for i, (snr, noise) in enumerate([("-3.00", "rain"), ("0.00", "rain"), ("6.00", "dogs")], 1):
        stem = f"noisy{i}_SNRdb_{snr}"
        write(folder / "CleanSpeech_testing" / f"clnsp{i}.wav", speech(i))
        write(folder / "NoisySpeech_testing" / f"{stem}_clnsp{i}.wav", noisy_speech(i, 0.02))
        write(folder / "enhanced" / f"{stem}_clnsp{i}.wav", noisy_speech(i, 0.01))
        names = [f"clnsp{i}.wav", f"{stem}.wav", f"{stem}_clnsp{i}.wav"]
        rows.append([i - 1, *names, "anna", noise, float(snr)])
    with (folder / "manifest_testing.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "config.ini").write_text(
        "[data]\ndata_path = .\n[enhance]\noutput_path = enhanced\n[compute]\nworkers = 1\n"
    )
    return folder


def run_evaluation(data: Path, **options) -> list[dict]:
    arguments = {
        "systems": {"enhanced": data / "enhanced"},
        "noisy_dir": data / "NoisySpeech_testing",
        "workers": 1,
        "names": ("si_sdr", "si_sdr_improvement"),
    } | options
    return scoring.evaluate(data / "CleanSpeech_testing", **arguments)


def make_row(system="s", file="f", snr=0.0, noise="rain", reason="", **scores) -> dict:
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


ROWS = [
    make_row(file="a", si_sdr=1.0, stoi=0.5),
    make_row(file="b", si_sdr=3.0, stoi=math.nan, reason="stoi: too short", snr=6.0),
    make_row(file="c", si_sdr=8.0, stoi=0.75, noise="dogs"),
    make_row(system="t", file="a", si_sdr=-2.0, stoi=0.25),
]
