"""Time that data_prep.py takes for an hour of mixtures, beside what cannot be avoided.

    python benchmarks/data_prep.py [--files 1200] [--workers 2] [--rounds 3] [SPEECH NOISE]

Mixtures of 3 s at 16 kHz, from FLAC at 16 kHz and OGG Vorbis at 44.1 kHz that the script makes, or
from two folders that are named. The ways:

    bare            only decode the pieces that the mixtures are made of, and write three files each
    data_prep.py    as a user runs it, with the start of Python; the sources have been scanned
    make            the same in one process that has started already
    whole files     the straightforward loop of the known synthesizers: both recordings are decoded
                    and resampled whole for every mixture, then cut and mixed; by soxr, and by
                    resampy as librosa did it for long

Every round times all ways in turn, since the machine may have other work; the table shows the
round of the median. The loops make fewer files (a tenth, a hundredth) and are scaled.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import soundfile as sf  # noqa: E402

from specmask import parallel  # noqa: E402
from specmask.audio import io as audio_io  # noqa: E402
from specmask.audio import levels  # noqa: E402
from specmask.config import ini  # noqa: E402
from specmask.data.mixtures import build, manifest  # noqa: E402
from specmask.data.mixtures.plan import make_plans  # noqa: E402

RATE = 16000
HEADER = bytes(44)


def make_sources(folder: Path, recordings: int = 60) -> list[Path]:
    """Write FLAC speech of 12 s and OGG noise of 10 s."""
    rng = np.random.default_rng(0)
    for k in range(recordings):
        for name, rate, seconds in (("speech", RATE, 12), ("noise", 44100, 10)):
            x = np.cumsum(rng.standard_normal(seconds * rate))  # falls off with frequency
            x = np.diff(x - np.convolve(x, np.ones(400) / 400, "same"), prepend=0)
            swell = 0.55 + 0.45 * np.sin(np.arange(len(x)) * 2 * np.pi * 3 / rate)
            path = folder / name / f"{k % 12}" / f"{k}.{'flac' if name == 'speech' else 'ogg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, (0.1 * swell * x / x.std()).astype(np.float32), rate)
    return [folder / "speech", folder / "noise"]


def bare(row: dict[str, str], roots: list[Path], out: Path) -> None:
    """Decode the pieces of a row and write three files of its length, and nothing else."""
    for root, column in zip(roots, ("speech", "noise"), strict=True):
        for piece in json.loads(row[column]):
            with sf.SoundFile(root / piece["path"]) as file:
                file.seek(piece["offset"] * piece["rate"] // RATE)
                file.read(piece["length"] * piece["rate"] // RATE, dtype="float32")
    samples = bytes(2 * int(row["samples"]))
    for column in ("clean_file", "noise_file", "noisy_file"):
        with (out / row[column]).open("wb") as file:
            file.write(HEADER + samples)


def whole_files(row: dict[str, str], roots: list[Path], out: Path, resampler: str) -> None:
    """Make a mixture as a straightforward loop does it."""
    parts, samples = [], int(row["samples"])
    for root, column in zip(roots, ("speech", "noise"), strict=True):
        piece = json.loads(row[column])[0]
        x, rate = sf.read(root / piece["path"], dtype="float32", always_2d=True)
        x = audio_io.resample(x.mean(1), rate, RATE, resampler)
        parts.append(audio_io.fit(x[piece["offset"] :], samples).astype(np.float64))
    clean, noise = (x / np.sqrt(levels.power(x) + 1e-12) for x in parts)
    noise *= 10 ** (-float(row["snr_db"]) / 20)
    scale = 0.99 / np.abs(clean + noise).max()
    for x, column in (
        (clean, "clean_file"), (noise, "noise_file"), (clean + noise, "noisy_file"),
    ):  # fmt: skip
        sf.write(out / row[column], x * scale, RATE, subtype="PCM_16")


def over(function: Callable, rows: list, workers: int) -> None:
    for _ in parallel.map_chunks(function, rows, workers, ""):
        pass


def measure(args: argparse.Namespace, folder: Path) -> None:
    roots = [args.speech, args.noise] if args.noise else make_sources(folder)

    def options(out: Path, workers: int) -> list[str]:
        return [
            f"data.clean_train_path={roots[0]}", f"data.noise_train_path={roots[1]}",
            f"data.data_path={out}", f"data.total_training_files={args.files}",
            "data.total_validation_files=1", "data.total_testing_files=0",
            f"compute.workers={workers}",
        ]  # fmt: skip

    time.sleep(2.5)  # a recording that is younger would be scanned again
    cfg = ini.load(ROOT / "config.ini", options(folder / "first", 1))
    plan = make_plans(cfg)[0][0]
    build.make(plan)
    rows = manifest.read(cfg, "training")

    def make(out: Path) -> None:
        build.make(replace(plan, config=ini.load(ROOT / "config.ini", options(out, 1))))

    def script(out: Path) -> None:
        sets = [f"--set={option}" for option in options(out, args.workers)]
        command = [sys.executable, str(ROOT / "data_prep.py"), *sets]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def loop(function: Callable, share: int, workers: int, **more: str) -> tuple:
        some = rows[: max(8, len(rows) // share)]
        (folder / "warm").mkdir(exist_ok=True)
        function(some[0], roots=roots, out=folder / "warm", **more)  # resampy compiles
        return (
            lambda out: over(partial(function, roots=roots, out=out, **more), some, workers),
            len(rows) / len(some),
            workers,
        )

    ways = {
        "bare": loop(bare, 1, 1),
        "make": (make, 1, 1),
        "whole files, soxr": loop(whole_files, 10, 1, resampler="soxr"),
        "whole files, resampy": loop(whole_files, 100, 1, resampler="resampy"),
        "bare ": loop(bare, 1, args.workers),
        "data_prep.py": (script, 1, args.workers),
    }
    report(args, ways, roots, folder, len(rows))


def report(
    args: argparse.Namespace, ways: dict, roots: list[Path], folder: Path, count: int
) -> None:
    hours = count * 3 / 3600
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(args.rounds):
        for name, (run, factor, workers) in ways.items():
            # always a new folder: where files have just been deleted, ext4 is slow to make new ones
            out = folder / f"{name.strip()}-{workers}-{turn}"
            shutil.copytree(folder / "first/.specmask", out / ".specmask")
            if workers > 1 and name != "data_prep.py":
                over(abs, list(range(64)), workers)  # starts the processes
            started, cpu = time.perf_counter(), time.process_time()
            run(out)
            wall[name].append((time.perf_counter() - started) * factor / hours)
            busy[name].append((time.process_time() - cpu) * factor / hours)
    for root in roots:
        names = audio_io.files(root)
        seconds = [sf.info(root / n).duration for n in names]
        print(
            f"{root.name}: {len(names)} recordings of {statistics.median(seconds):.1f} s (median)"
        )
    print(f"{count} mixtures of 3 s = {hours:.2f} h, median of {args.rounds} rounds\n")
    print(
        f"{'':22}{'workers':>8}{'s per hour':>12}{'/ bare':>8}{'CPU s per hour':>16}{'/ bare':>8}"
    )
    for name, (_, _, workers) in ways.items():
        base = "bare" if workers == 1 else "bare "
        ratio = statistics.median(a / b for a, b in zip(wall[name], wall[base], strict=True))
        line = f"{name:22}{workers:8}{statistics.median(wall[name]):12.2f}{ratio:8.2f}"
        if workers == 1:
            cpu = statistics.median(a / b for a, b in zip(busy[name], busy[base], strict=True))
            line += f"{statistics.median(busy[name]):16.2f}{cpu:8.2f}"
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("speech", type=Path, nargs="?")
    parser.add_argument("noise", type=Path, nargs="?")
    with tempfile.TemporaryDirectory() as temporary:
        measure(parser.parse_args(), Path(temporary))
