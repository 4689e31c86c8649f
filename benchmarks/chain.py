"""The chain on a small project, as the attacks of robustness.py disturb it; no benchmark itself."""

import functools
import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import project  # noqa: E402

from specmask import files  # noqa: E402
from specmask.training import checkpoint  # noqa: E402

STAGES = ("data/data_prep.py", "stft.py", "train.py", "enhance.py")
OPTIONS = (
    "model.network=band_lstm", "train.epochs=3", "data.total_training_files=40",
    "train.checkpoint_minutes=0.001", "train.listen_files=0", "train.metric_files=1",
)  # fmt: skip
WORDS = [word for option in OPTIONS for word in ("--set", option)]
CODES = {0, 2}  # done, or refused in a line


class Harm(Exception):
    """What should never happen, in a line."""


class Unavailable(Exception):
    """Why an attack cannot be tried here."""


@dataclass(frozen=True)
class Whole:
    """A chain that nothing has disturbed: its folder, its results, the seconds of every stage."""

    folder: Path
    results: dict[str, str]
    seconds: dict[str, float]


def new(folder: Path) -> Path:
    """Make the recordings of a project and return its INI file."""
    folder.mkdir(parents=True)
    return project.make(folder)


def start(stage: str, ini: Path, *words: object) -> subprocess.Popen:
    """Start a stage in a process group of its own."""
    return subprocess.Popen(
        project.command(stage, "--config", ini, *WORDS, *words),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, cwd=ini.parent, env=project.environment(),
    )  # fmt: skip


def finish(process: subprocess.Popen, allowed: set[int] = CODES) -> tuple[int, str]:
    """Wait for a stage; its exit code has to be an allowed one, without a traceback."""
    text, _ = process.communicate()
    if "Traceback" in text or process.returncode not in allowed:
        raise Harm(f"{process.args[1]} ended with {process.returncode}: {text[-600:]}")
    return process.returncode, text


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kill a stage and all that it has started, unless it ends before; tell whether it did not."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        return True
    finally:
        process.communicate()


def run(ini: Path) -> None:
    """Run all stages."""
    for stage in STAGES:
        finish(start(stage, ini), {0})


@functools.cache
def whole(folder: Path) -> Whole:
    """Run a chain that nothing disturbs, once for all attacks."""
    ini, seconds = new(folder / "whole"), {}
    for stage in STAGES:
        begun = time.monotonic()
        finish(start(stage, ini), {0})
        seconds[stage] = time.monotonic() - begun
    return Whole(ini.parent, results(ini.parent), seconds)


def results(folder: Path) -> dict[str, str]:
    """Return a digest of everything that a chain has made and that may not differ."""
    found = {}
    for top in ("data", "enhanced"):
        for path in sorted((folder / top).rglob("*")):
            kept = path.suffix in (".wav", ".csv", ".npy", ".flac")
            if path.is_file() and kept and ".specmask" not in path.parts:
                found[path.relative_to(folder).as_posix()] = digest(path.read_bytes())
    for path in sorted((folder / "cp").rglob("best.npz")):
        for name, array in checkpoint.read(path)[0].items():
            found[f"best/{name}"] = digest(array.tobytes())
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def same(folder: Path, expected: dict[str, str]) -> None:
    """See that a folder holds these results."""
    found = results(folder)
    if found != expected:
        wrong = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
        raise Harm(f"{len(wrong)} results differ, the first: {wrong[0]}")


def no_half_files(folder: Path) -> None:
    """See that every sound file that bears a final name is whole."""
    for path in folder.rglob("*.wav"):
        if path.name.startswith(files.TEMPORARY) or ".specmask" in path.parts:
            continue
        try:
            declared = sf.info(path).frames * 2 + 44
        except sf.LibsndfileError:
            declared = -1
        if path.stat().st_size != declared and "Speech_" in path.as_posix():
            raise Harm(f"{path}: half written under its final name")
