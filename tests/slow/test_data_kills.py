"""A data set is the same byte for byte after kills, on any engine, and when it grows."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers import make_project, script_command, snapshot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="process groups are those of Linux and macOS"),
]
FILES, GROWN = 120, 144


def command(ini: Path, out: Path, **changes: object) -> list[str]:
    options = {
        "data.data_path": out, "data.total_training_files": FILES,
        "data.total_validation_files": 20, "data.total_testing_files": 0, "compute.workers": 2,
    } | {key.replace("__", "."): value for key, value in changes.items()}  # fmt: skip
    sets = [f"--set={key}={value}" for key, value in options.items()]
    return script_command("data_prep.py", "--config", ini, *sets)


def make(ini: Path, out: Path, **changes: object) -> dict[str, bytes]:
    """Run the command to its end and return what it made."""
    subprocess.run(command(ini, out, **changes), check=True, stdout=subprocess.DEVNULL)
    return snapshot(out)


def finished(folder: Path) -> int:
    return sum(1 for _ in folder.glob("NoisySpeech_training/noisy*"))


def test_kills_engines_and_growth_change_no_byte(tmp_path, attempts, rng):
    ini, kills = make_project(tmp_path), attempts(60)
    expected = make(ini, tmp_path / "once", compute__workers=1)
    started = time.monotonic()
    assert make(ini, tmp_path / "two") == expected
    seconds = time.monotonic() - started
    out = tmp_path / "killed"
    for _ in range(kills):
        process = subprocess.Popen(
            command(ini, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        if rng.random() < 0.25:  # also while it starts
            time.sleep(rng.uniform(0, 0.3 * seconds))
        else:
            wanted = finished(out) + rng.randint(1, max(1, 2 * FILES // kills))
            while process.poll() is None and finished(out) < wanted:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.05))
        kill = rng.choice((os.kill, os.killpg))  # without or with its workers
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            kill(process.pid, signal.SIGKILL)
        process.wait()
    assert make(ini, out) == expected
    assert make(ini, tmp_path / "dask", compute__engine="dask") == expected
    grown = make(ini, out, data__total_training_files=GROWN)
    audio = {name for name in expected if name.endswith(".wav")}
    assert {name: grown.get(name) for name in audio} == {name: expected[name] for name in audio}
    large = {"data__total_training_files": GROWN, "compute__workers": 1}
    assert make(ini, tmp_path / "large", **large) == grown
