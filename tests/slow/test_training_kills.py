"""A training killed again and again, and by Ctrl-C, ends as an undisturbed one, bit for bit."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers import ROOT, make_project, script_command

from specmask.config import ini as configuration
from specmask.training import checkpoint, runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="process groups are those of Linux and macOS"),
]
# A checkpoint after almost every step; long enough to outlive the kills.
OPTIONS = (
    "train.epochs=40", "train.epoch_steps=0", "train.checkpoint_minutes=0.001", "train.remix=yes",
    "train.remix_noises=2", "train.remix_tilt_db=6", "train.crop_seconds=0.3",
    "data.total_training_files=64", "train.listen_files=1", "train.metric_files=1",
)  # fmt: skip
LONGEST_SECONDS = 2  # from the first step of a start to the kill


def shipped(path: str) -> list[str]:
    """Return the transform, the network and the training of a shipped INI file as options."""
    config = configuration.load(ROOT / path)
    options = ["data.sample_rate=16000"]
    for section in ("stft", "model", "train"):
        for key, value in getattr(config, section):
            if not isinstance(value, Path):
                options.append(f"{section}.{key}={configuration.value_text(value)}")
    return options


def command(script: str, ini: Path, run: str, options: list[str]) -> list[str]:
    options = [*options, *OPTIONS, f"train.run_name={run}"]
    return script_command(script, "--config", ini, *(w for o in options for w in ("--set", o)))


def start(words: list[str]) -> subprocess.Popen:
    """Start a command in a group of its own, where Ctrl-C reaches it."""
    return subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_a_step(process: subprocess.Popen, folder: Path) -> None:
    started = {p.name for p in folder.glob("ckpt-*")}
    while process.poll() is None and {p.name for p in folder.glob("ckpt-*")} == started:
        time.sleep(0.005)


def kill(process: subprocess.Popen, folder: Path, writing: bool, rng: random.Random) -> bool:
    """Kill a training some time after its first step; return whether it was writing."""
    wait_for_a_step(process, folder)
    moment = time.monotonic() + rng.uniform(0, LONGEST_SECONDS)
    while process.poll() is None and time.monotonic() < moment:
        time.sleep(0.005)
    while writing and process.poll() is None and not list(folder.glob(".specmask-*.npz")):
        pass
    half_written = bool(list(folder.glob(".specmask-*.npz")))
    process.kill()
    process.communicate()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the processes that score
    return half_written


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


@pytest.mark.parametrize(
    "network, most", [("small", 60), ("recipes/bench.ini", 10), ("recipes/default.ini", 10)]
)
def test_kills_change_nothing(tmp_path, attempts, rng, network, most):
    ini, kills = make_project(tmp_path), attempts(most)
    options = ["model.network=band_lstm"] if network == "small" else shipped(network)
    for script in ("data/data_prep.py", "stft.py", "train.py"):
        words = command(script, ini, "whole", options)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    whole, killed = tmp_path / "cp" / "whole", tmp_path / "cp" / "killed"
    while_writing = 0
    for number in range(kills):
        process = start(command("train.py", ini, "killed", options))
        while_writing += kill(process, killed, writing=number % 2 == 1, rng=rng)
        assert process.returncode != 0, f"the run had ended after {number} kills"
    assert while_writing or kills < 2
    words = command("train.py", ini, "killed", options)
    process = start(words)
    wait_for_a_step(process, killed)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    (wanted, state), (found, other) = (
        checkpoint.read(runs.newest_first(run)[0]) for run in (whole, killed)
    )
    assert wanted.keys() == found.keys()
    assert [k for k in wanted if (wanted[k] != found[k]).any()] == []
    clocks = ("seconds", "cores")
    assert [k for k in state if k not in clocks and state[k] != other[k]] == []
    for name in ("best.npz", "history.csv"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    for part in ("training", "validation"):
        a, b = (scalars(tmp_path / "logs" / run / part) for run in ("whole", "killed"))
        assert a == b
        assert all(steps == sorted(set(steps)) for steps in b.values())
