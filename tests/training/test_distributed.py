"""Two virtual devices, and two processes on loopback, train as one device does."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, assert_error_line, call_script, make_project, script_environment

from specmask import errors
from specmask.config import ini as configuration
from specmask.training import checkpoint, runs

# Two virtual CPUs have to be made before TensorFlow starts; then the script as the user runs it.
START = """
import sys
sys.path.insert(0, sys.argv[1])
from specmask.cli import console
console.import_tensorflow()
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[2])
tf.config.set_logical_device_configuration(cpu, devices)
import train
sys.exit(train.main(sys.argv[3:]))
"""
OPTIONS = ("model.network=band_lstm", "train.remix_tilt_db=6", "train.listen_files=0")


@pytest.fixture(scope="module")
def ini(tmp_path_factory) -> Path:
    """A project with its caches, and the run ``one`` of one device."""
    path = make_project(tmp_path_factory.mktemp("distributed"))
    for script in ("data_prep.py", "stft.py"):
        assert call_script(script, "--config", path, cwd=path.parent).returncode == 0
    result = call_script("train.py", *arguments(path, "one", "train.epochs=2"), cwd=path.parent)
    assert result.returncode == 0, result.stderr
    return path


def arguments(ini: Path, run: str, *options: str) -> list[str]:
    options = (*OPTIONS, f"train.run_name={run}", *options)
    return ["--config", str(ini), *(word for o in options for word in ("--set", o))]


def start(devices: int, *args: str, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", START, str(ROOT), str(devices), *args],
        env=script_environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def two_workers(ini: Path, run: str, *options: str) -> list[subprocess.Popen]:
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(2)]}
    place = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": k}}) for k in (0, 1)
    ]
    args = arguments(ini, run, "train.strategy=multi_worker", *options)
    return [start(1, *args, TF_CONFIG=text) for text in place]


def equal_runs(ini: Path, run: str) -> None:
    """Compare losses and weights of a run with those of one device."""
    folders = [ini.parent / "cp" / name for name in ("one", run)]
    (wanted, state), (got, other) = (checkpoint.read(runs.newest_first(f)[0]) for f in folders)
    assert state["total_steps"] == other["total_steps"] == 6
    for a, b in zip(state["history"], other["history"], strict=True):
        for name in ("training_loss", "validation_loss"):
            assert abs(a[name] - b[name]) < 1e-5
    for name in wanted:
        if name.startswith(("model/", "average/")):
            np.testing.assert_allclose(got[name], wanted[name], atol=1e-5)


def test_two_devices(ini):
    args = arguments(ini, "mirrored", "train.strategy=mirrored", "train.epochs=2")
    finish(start(2, *args))
    equal_runs(ini, "mirrored")


def test_two_processes_one_of_them_killed_and_started_again(ini):
    """The one that is left says so and ends; both resume; the chief alone writes."""
    first, second = two_workers(ini, "workers", "train.epochs=500", "train.schedule=constant")
    history = ini.parent / "cp" / "workers" / "history.csv"
    while not history.is_file() and first.poll() is None and second.poll() is None:
        time.sleep(0.05)
    second.kill()
    second.communicate()
    _, error = first.communicate(timeout=300)
    assert first.returncode == 2, error
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "another worker was lost" in lines[0]
    assert "Traceback" not in error

    reached = checkpoint.read(runs.newest_first(history.parent)[0], arrays=False)[1]["total_steps"]
    epochs = f"train.epochs={reached // 3 + 1}"
    outputs = [finish(p) for p in two_workers(ini, "workers", epochs, "train.schedule=constant")]
    assert "resumed from" in outputs[0] and "epoch " not in outputs[1].partition("epochs,")[0]
    state = checkpoint.read(runs.newest_first(history.parent)[0], arrays=False)[1]
    assert state["total_steps"] == reached + 3
    alone = arguments(ini, "alone", epochs, "train.schedule=constant")
    assert call_script("train.py", *alone, cwd=ini.parent).returncode == 0
    wanted = checkpoint.read(runs.newest_first(ini.parent / "cp" / "alone")[0], arrays=False)[1]
    for a, b in zip(wanted["history"], state["history"], strict=True):
        assert abs(a["training_loss"] - b["training_loss"]) < 1e-5
    assert [p.name for p in (ini.parent / "logs" / "workers").iterdir() if p.is_dir()]
    assert not list(ini.parent.glob("cp/workers-*"))


def test_a_batch_that_cannot_be_shared(ini, monkeypatch):
    from specmask.training import distributed

    monkeypatch.setattr(distributed.Cluster, "replicas", 2)
    args = arguments(ini, "odd", "train.accumulation=4")
    result = call_script("train.py", *args, cwd=ini.parent)
    assert_error_line(result, "batch_size = 4 cannot be shared by 2 replicas", "a multiple of 8")


@pytest.mark.parametrize(
    "text", ["", "{", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}']
)
def test_no_or_wrong_tf_config(ini, monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    args = arguments(ini, "wrong", "train.strategy=multi_worker")
    assert_error_line(call_script("train.py", *args, cwd=ini.parent), "TF_CONFIG", '"cluster"')


def test_jit_does_not_go_with_replicas(ini):
    with pytest.raises(errors.UserError, match="jit_compile = yes does not go with strategy"):
        configuration.load(ini, ["train.jit_compile=yes", "train.strategy=mirrored"])
