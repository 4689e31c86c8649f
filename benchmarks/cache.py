"""The STFT cache: how fast it is written, and how fast batches come out of it.

    python benchmarks/cache.py [--files 1000]

Makes a data set of noise of 3 s files in a temporary folder. Writing is given in seconds of audio
per second (both signals of a file count once). Reading is given in examples of 3 s per second, in
batches of 8 tensors, and relative to a bare loop in the same run that copies as many spectra from
the memory map into one array: plain, and with remix (two noises, equalisers).
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import soundfile as sf  # noqa: E402

from specmask.cli import console  # noqa: E402

EPOCHS = 6  # of reading
ROUNDS = 3  # of writing; the first one also fills the system's memory for files
REMIX = ["train.remix=yes", "train.remix_noises=2", "train.remix_tilt_db=6"]


def sources(folder: Path) -> list[str]:
    """Write speech-like noise for the four folders; return the settings that name them."""
    rng = np.random.default_rng(0)
    for kind in ("clean", "noise"):
        for split in ("train", "test"):
            for k in range(4):
                path = folder / f"{kind}_{split}" / str(k) / f"{kind}_{split}_{k}.wav"
                path.parent.mkdir(parents=True)
                sf.write(path, 0.1 * rng.standard_normal(160000), 16000)
    names = [f"{kind}_{split}" for kind in ("clean", "noise") for split in ("train", "test")]
    return [f"data.{name}_path={folder / name}" for name in names]


def measure(folder: Path, files: int) -> None:
    console.import_tensorflow()
    from specmask.config import ini
    from specmask.data import stft_cache
    from specmask.data.mixtures import build, plan
    from specmask.training import batches

    options = [
        *sources(folder),
        f"data.data_path={folder / 'data'}",
        f"data.total_training_files={files}",
        "data.total_validation_files=0",
        "data.total_testing_files=0",
    ]
    cfg = ini.load(ROOT / "config.ini", options)
    build.make(plan.make_plans(cfg)[0][0])
    speeds = []
    for _ in range(ROUNDS):
        shutil.rmtree(cfg.stft.cache("training"), ignore_errors=True)
        started = time.monotonic()
        stft_cache.build(cfg, "training")
        speeds.append(files * cfg.data.file_length / (time.monotonic() - started))
    print("write:", ", ".join(f"{v:.0f}" for v in speeds), "x real time")
    data = stft_cache.load(cfg, "training")
    for label, noises, more in (("plain", 1, []), ("remix", 2, REMIX)):
        source = batches.Batches(ini.load(ROOT / "config.ini", [*options, *more]), data)
        wall: dict[str, list[float]] = {"bare": [], "batches": []}
        used: dict[str, list[float]] = {"bare": [], "batches": []}
        for epoch in range(EPOCHS):  # the first reads the files into memory
            for name in wall:
                started, processor = time.monotonic(), time.process_time()
                if name == "bare":
                    copy_bare(data, source.order(epoch), noises)
                else:
                    for _ in source.epoch(epoch):
                        pass
                wall[name].append(time.monotonic() - started)
                used[name].append(time.process_time() - processor)
        count = source.steps * source.size
        bare, taken = (np.median(wall[name][1:]) for name in ("bare", "batches"))
        per_core = np.median(used["bare"][1:]) / np.median(used["batches"][1:])
        print(
            f"read, {label}: {count / taken:.0f} examples/s, {bare / taken:.2f} of the bare loop's "
            f"{count / bare:.0f}; {per_core:.2f} per processor second"
        )


def copy_bare(data, order: np.ndarray, noises: int) -> None:
    """Copy clean and noise spectra of files in an order into one array, batch by batch."""
    rng = np.random.default_rng(0)
    maps = [data.clean, *[data.noise] * noises]
    orders = [order, *[rng.permutation(order) for _ in range(noises)]]
    frames = int(data.index["frames"].max())
    out = np.zeros((len(maps), 8, frames, *data.clean[0].shape[1:]), np.float16)
    for k in range(len(order)):
        for target, shards, items in zip(out, maps, orders, strict=True):
            record = data.index[items[k]]
            start, length = int(record["offset"]), int(record["frames"])
            target[k % 8, :length] = shards[record["shard"]][start : start + length]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(temporary), args.files)
