"""Checkpoints: round trip, damage, order, names of runs."""

import zipfile

import numpy as np
import pytest
from helpers import make_project

from specmask.config import ini
from specmask.errors import UserError
from specmask.training import checkpoint, runs
from specmask.training import state as run_state


class Variable:
    def __init__(self, value):
        self.value = np.asarray(value)
        self.shape = self.value.shape

    def __array__(self, dtype=None, copy=None):
        return self.value

    def assign(self, value):
        self.value = value


def test_round_trip_is_exact(tmp_path):
    kept = [np.random.default_rng(0).standard_normal((3, 4)).astype("f"), np.int64(7)]
    path = runs.path_of(tmp_path, 12)
    checkpoint.save(path, {"model": kept}, {"loss": 0.1, "history": [{"a": float("inf")}]})
    fresh = [Variable(np.zeros((3, 4), "f")), Variable(np.int64(0))]
    state = checkpoint.load(path, {"model": fresh})
    assert state == {"loss": 0.1, "history": [{"a": float("inf")}]}
    for a, b in zip(kept, fresh, strict=True):
        np.testing.assert_array_equal(a, b.value)


def test_other_network_is_refused_and_nothing_assigned(tmp_path):
    path = tmp_path / "ckpt-00000001.npz"
    checkpoint.save(path, {"model": [np.ones(3), np.ones(4)]}, {})
    fresh = [Variable(np.zeros(3)), Variable(np.zeros(5))]
    with pytest.raises(UserError, match="another network"):
        checkpoint.load(path, {"model": fresh})
    assert (fresh[0].value == 0).all()


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_damage_is_told(tmp_path, damage):
    path = tmp_path / "ckpt-00000001.npz"
    checkpoint.save(path, {"model": [np.arange(1000.0)]}, {})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    content = {"cut": raw[:3000], "flip": raw, "text": b"hello", "empty": b""}[damage]
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, {"model": [Variable(np.zeros(1000))]})


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "ckpt-00000001.npz"
    np.savez(path, state=np.array("{}"), **{"model/0000": np.array([{}], object)})
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, {"model": [Variable(np.zeros(1))]})


def npy(shape: str, content: bytes = b"") -> bytes:
    """Return an .npy file that claims a shape."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % shape.encode()
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    "part",
    [
        npy("(10000000000000,)"),
        npy("(2, 3)", bytes(20)),
        npy("(2, -3)", bytes(24)),
        npy("-" * 90 + "1"),
        npy("(1, (2"),
        npy("(1,)", bytes(4)).replace(b"<f4", b"<x4"),
        b"no array",
    ],
)
def test_an_array_is_what_its_bytes_are(tmp_path, part):
    path = tmp_path / "ckpt-00000001.npz"
    checkpoint.save(path, {}, {})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("model/0000.npy", part)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read(path)
    assert checkpoint.state(path) == {}


def test_a_small_file_does_not_become_a_large_one(tmp_path):
    path = tmp_path / "ckpt-00000001.npz"
    checkpoint.save(path, {}, {})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model/0000.npy", npy("(1000000,)", bytes(4_000_000)))
    assert path.stat().st_size < 10_000
    for read in (checkpoint.read, checkpoint.state):
        with pytest.raises(UserError, match="claim to be longer than the file"):
            read(path)


@pytest.mark.parametrize("state", ["[]", "7", "{", "[" * 100_000, "null"])
def test_a_state_holds_counters(tmp_path, state):
    path = tmp_path / "ckpt-00000001.npz"
    np.savez(path, state=np.array(state))
    for read in (checkpoint.read, checkpoint.state):
        with pytest.raises(UserError, match="damaged"):
            read(path)


@pytest.mark.parametrize(
    "state", [{"best_loss": "x"}, {"history": 7}, {"history": [7]}, {"history": [{}]}]
)
def test_a_list_of_runs_tells_of_a_damaged_one(tmp_path, state):
    cfg = ini.load(make_project(tmp_path))
    for name, kept in (("good", {}), ("bad", state)):
        (tmp_path / "cp" / name).mkdir(parents=True)
        runs.write_config(tmp_path / "cp" / name / "config.ini", cfg)
        checkpoint.save(runs.path_of(tmp_path / "cp" / name, 1), {}, kept)
    with pytest.raises(UserError, match="damaged"):
        run_state.read(runs.path_of(tmp_path / "cp" / "bad", 1))
    assert "python train.py starts one" in runs.table(tmp_path / "nothing")[0]
    lines = {line.split()[0]: line for line in runs.table(tmp_path / "cp")}
    assert "damaged" in lines["bad"] and "damaged" not in lines["good"]


def test_order_and_pruning(tmp_path):
    for step in (5, 100, 20, 3):
        checkpoint.save(runs.path_of(tmp_path, step), {}, {"step": step})
    (tmp_path / "ckpt-x.npz").write_bytes(b"")
    runs.prune(tmp_path, 2)
    steps = [checkpoint.read(p)[1]["step"] for p in runs.newest_first(tmp_path)]
    assert steps == [100, 20]


def test_fresh_runs_count_on(tmp_path):
    for name in ("run", "run-2", "run-10", "runner", "run-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.ini").write_text("")
    assert [p.name for p in runs.run_folders(tmp_path, "run")] == ["run", "run-2", "run-10"]
    for name, wanted in (("run", "run-11"), ("new", "new")):
        taken = runs.run_folders(tmp_path, name)
        assert runs.fresh_folder(tmp_path, name, taken).name == wanted
