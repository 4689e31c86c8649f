"""The STFT cache: how fast it is written, and how fast batches come out of it.

    python benchmarks/cache.py [--files 1000]

Makes a data set of noise of 3 s files in a temporary folder. Writing is given in seconds of audio
a second (both signals of a file count once), reading in examples of 3 s a second into batches of
8 of tf.data: plain, and with remix (two noises, equalisers, random crops).
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
    for label, more in (("plain", []), ("remix", REMIX)):
        drawn = batches.Batches(ini.load(ROOT / "config.ini", [*options, *more]), data)
        for epoch in range(3):  # the first reads the files into memory
            wall, used, count = time.monotonic(), time.process_time(), 0
            for batch in drawn.epoch(epoch):
                count += len(batch[0])
            wall, used = time.monotonic() - wall, time.process_time() - used
        print(
            f"read, {label}: {count / wall:.0f} examples/s, {count / used:.0f} a second of one core"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(temporary), args.files)
