"""The chain of commands on a small project, as the attacks of these tests disturb it."""

import functools
import hashlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile as sf
from helpers import make_project, script_command, script_environment

from specmask import files
from specmask.training import checkpoint

STAGES = ("data/data_prep.py", "stft.py", "train.py", "enhance.py")
OPTIONS = (
    "model.network=band_lstm", "train.epochs=3", "data.total_training_files=40",
    "train.checkpoint_minutes=0.001", "train.listen_files=0", "train.metric_files=1",
)  # fmt: skip
ARGUMENTS = [word for option in OPTIONS for word in ("--set", option)]
CODES = {0, 2}  # done, or refused in a line


@dataclass(frozen=True)
class Undisturbed:
    """A chain that nothing has disturbed: folder, results, and seconds per stage."""

    folder: Path
    results: dict[str, str]
    seconds: dict[str, float]


def new_project(folder: Path) -> Path:
    """Make the recordings of a project and return its INI file."""
    folder.mkdir(parents=True)
    return make_project(folder)


def start(stage: str, ini: Path, *arguments: object) -> subprocess.Popen:
    """Start a stage in a process group of its own."""
    return subprocess.Popen(
        script_command(stage, "--config", ini, *ARGUMENTS, *arguments),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, cwd=ini.parent, env=script_environment(),
    )  # fmt: skip


def finish(process: subprocess.Popen, allowed: set[int] = CODES) -> tuple[int, str]:
    """Wait for a stage; its exit code has to be an allowed one, without a traceback."""
    text, _ = process.communicate()
    if "Traceback" in text or process.returncode not in allowed:
        pytest.fail(f"{process.args[1]} ended with {process.returncode}: {text[-600:]}")
    return process.returncode, text


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kill a stage and all that it has started; return False if it ended before."""
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
def undisturbed(folder: Path) -> Undisturbed:
    """Run a chain that nothing disturbs, once per folder."""
    ini, seconds = new_project(folder / "undisturbed"), {}
    for stage in STAGES:
        started = time.monotonic()
        finish(start(stage, ini), {0})
        seconds[stage] = time.monotonic() - started
    return Undisturbed(ini.parent, results(ini.parent), seconds)


def results(folder: Path) -> dict[str, str]:
    """Return a digest of everything that a chain has made and that may not differ."""
    found = {}
    for top in ("data", "enhanced"):
        for path in sorted((folder / top).rglob("*")):
            kept = path.suffix in (".wav", ".csv", ".npy", ".flac")
            if path.is_file() and kept and ".specmask" not in path.parts:
                found[path.relative_to(folder).as_posix()] = _digest(path.read_bytes())
    for path in sorted((folder / "cp").rglob("best.npz")):
        for name, array in checkpoint.read(path)[0].items():
            found[f"best/{name}"] = _digest(array.tobytes())
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def assert_results(folder: Path, expected: dict[str, str]) -> None:
    """Check that a folder holds these results."""
    found = results(folder)
    wrong = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
    assert not wrong, f"{len(wrong)} results differ, the first: {wrong[0]}"


def assert_no_half_files(folder: Path) -> None:
    """Check that every sound file with a final name is whole."""
    for path in folder.rglob("*Speech_*/**/*.wav"):
        if path.name.startswith(files.TEMPORARY) or ".specmask" in path.parts:
            continue
        try:
            declared = sf.info(path).frames * 2 + 44
        except sf.LibsndfileError:
            declared = -1
        assert path.stat().st_size == declared, f"{path}: half written under its final name"
