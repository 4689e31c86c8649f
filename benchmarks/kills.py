"""Kill a training again and again, and compare what it ends with to an unbroken one.

    python benchmarks/kills.py [--kills 30] [--out FOLDER]

Trains a small network on audio that it makes itself: once undisturbed, and once with `kill -9` at
random moments, every other time while a checkpoint is being written. Then the weights, the
optimizer and all counters must be equal bit by bit, history.csv byte by byte, and TensorBoard must
hold every step once. Prints what it found; exits with 1 if anything differs.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import project  # noqa: E402

from specmask.cli import console  # noqa: E402
from specmask.training import checkpoint, runs  # noqa: E402

# A checkpoint after almost every step; long enough to outlive the kills.
OPTIONS = [
    "train.epochs=40", "train.checkpoint_minutes=0.001", "model.network=band_lstm",
    "train.remix_noises=2", "train.remix_tilt_db=6", "train.crop_seconds=0.3",
    "data.total_training_files=64", "train.listen_files=1", "train.metric_files=1",
]  # fmt: skip
LONGEST_SECONDS = 2  # from the first step of a start to the kill


def command(script: str, ini: Path, run: str) -> list[str]:
    options = [*OPTIONS, f"train.run_name={run}"]
    return project.command(script, "--config", ini, *(w for o in options for w in ("--set", o)))


def kill_at(process: subprocess.Popen, folder: Path, writing: bool, rng: random.Random) -> bool:
    """Kill a training some time after it has begun; tell whether a checkpoint was half written."""
    begun = {p.name for p in folder.glob("ckpt-*")}
    while process.poll() is None and {p.name for p in folder.glob("ckpt-*")} == begun:
        time.sleep(0.005)
    moment = time.monotonic() + rng.uniform(0, LONGEST_SECONDS)
    while process.poll() is None and time.monotonic() < moment:
        time.sleep(0.005)
    while writing and process.poll() is None and not list(folder.glob(".specmask-*.npz")):
        pass
    half = bool(list(folder.glob(".specmask-*.npz")))
    process.kill()
    process.communicate()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the processes that score
    return half


def scalars(folder: Path) -> dict[str, list[int]]:
    """Return the steps of every scalar in a folder of event files, in order."""
    import tensorflow as tf
    from tensorboard.compat.proto.event_pb2 import Event

    steps: dict[str, list[int]] = {}
    for path in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    return steps


def measure(folder: Path, kills: int) -> int:
    rng = random.Random(0)
    ini = project.make(folder)
    for script in ("data/data_prep.py", "stft.py"):
        subprocess.run(command(script, ini, "whole"), check=True, stdout=subprocess.DEVNULL)
    subprocess.run(command("train.py", ini, "whole"), check=True)
    whole, broken = folder / "cp" / "whole", folder / "cp" / "broken"
    done = halves = 0
    while done < kills:
        process = subprocess.Popen(
            command("train.py", ini, "broken"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        half = kill_at(process, broken, writing=done % 2 == 1, rng=rng)
        if process.returncode == 0:
            print(f"the run had ended after {done} kills")
            break
        done, halves = done + 1, halves + half
        newest = [p.name for p in runs.newest_first(broken)[:1]]
        print(f"kill {done}: {newest}{', while one was being written' if half else ''}", flush=True)
    subprocess.run(command("train.py", ini, "broken"), check=True)

    console.import_tensorflow()
    results = {"kills": done, "of them while a checkpoint was being written": halves}
    (wanted, state), (got, other) = (
        checkpoint.read(runs.newest_first(run)[0]) for run in (whole, broken)
    )
    equal = wanted.keys() == got.keys() and all((wanted[k] == got[k]).all() for k in wanted)
    results["arrays"] = len(wanted)
    checks = {
        "weights, optimizer and seeds bit by bit": equal,
        "counters and history": all(
            state[k] == other[k] for k in state if k not in ("seconds", "cores")
        ),
        "best.npz": (whole / "best.npz").read_bytes() == (broken / "best.npz").read_bytes(),
        "history.csv": (whole / "history.csv").read_bytes()
        == (broken / "history.csv").read_bytes(),
    }
    for part in ("training", "validation"):
        a, b = (scalars(folder / "logs" / run / part) for run in ("whole", "broken"))
        results[f"scalars in {part}"] = sum(map(len, b.values()))
        checks[f"TensorBoard {part}, every step once"] = a == b and all(
            s == sorted(set(s)) for s in b.values()
        )
    for name, value in (results | checks).items():
        print(f"{name}: {value}")
    return console.EXIT_OK if all(checks.values()) and done == kills else console.EXIT_BROKEN_BOUND


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--out", type=Path, help="folder to keep; else a temporary one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(measure(args.out or Path(temporary), args.kills))
