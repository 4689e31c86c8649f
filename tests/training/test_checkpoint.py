"""Checkpoints: round trip, damage, order, names of runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import make_project

from specmask.config import ini
from specmask.errors import UserError
from specmask.training import checkpoint, runs
from specmask.training import state as progress_state


class Variable:
    def __init__(self, value):
        self.value = np.asarray(value)
        self.shape = self.value.shape

    def __array__(self, dtype=None, copy=None):
        return self.value

    def assign(self, value):
        self.value = value


def numbered(path: Path, state: dict, **groups: list) -> None:
    """Write a checkpoint as versions before 0.2 did: arrays by group and number."""
    arrays = {f"{g}/{k:04d}": np.asarray(v) for g, vs in groups.items() for k, v in enumerate(vs)}
    np.savez(path, state=np.array(json.dumps(state)), **arrays)


def test_round_trip_is_exact(tmp_path):
    kept = {
        "conv1/kernel": np.random.default_rng(0).standard_normal((3, 4)).astype("f"),
        "seen": np.int64(7),
    }
    path = runs.checkpoint_path(tmp_path, 12)
    checkpoint.save(path, {"model": kept}, {"loss": 0.1, "history": [{"a": float("inf")}]})
    assert set(np.load(path)) == {"state", "model/conv1/kernel", "model/seen"}
    fresh = {"seen": Variable(np.int64(0)), "conv1/kernel": Variable(np.zeros((3, 4), "f"))}
    state = checkpoint.load(path, {"model": fresh})
    assert state == {"loss": 0.1, "history": [{"a": float("inf")}]}
    for name, array in kept.items():
        np.testing.assert_array_equal(array, fresh[name].value)


def test_numbered_arrays_of_older_files_are_assigned_in_order(tmp_path):
    path = tmp_path / "ckpt-00000001.npz"
    model = [np.full(2, k) for k in range(12)]
    numbered(path, {"epoch": 3}, model=model, optimizer=[np.ones(1)], seeds=[np.ones(2)])
    fresh = {f"layer{k}": Variable(np.zeros(2)) for k in range(12)}
    assert checkpoint.load(path, {"model": fresh, "average": {}}) == {"epoch": 3}
    assert [v.value[0] for v in fresh.values()] == list(range(12))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"a": 3, "b": 5}, r"model/b: found shape \(4,\), expected \(5,\)"),
        ({"a": 3, "c": 4}, "found no model/c, but b"),
        ({"a": 3}, "found 2 arrays of the model, expected 1"),
    ],
)
def test_other_network_is_refused_and_nothing_assigned(tmp_path, variables, words):
    path = tmp_path / "ckpt-00000001.npz"
    checkpoint.save(path, {"model": {"a": np.ones(3), "b": np.ones(4)}}, {})
    fresh = {name: Variable(np.zeros(size)) for name, size in variables.items()}
    with pytest.raises(UserError, match=f"{words}.*another network"):
        checkpoint.load(path, {"model": fresh})
    assert (fresh["a"].value == 0).all()


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_damage_is_an_error(tmp_path, damage):
    path = tmp_path / "ckpt-00000001.npz"
    checkpoint.save(path, {"model": {"a": np.arange(1000.0)}}, {})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    content = {"cut": raw[:3000], "flip": raw, "text": b"hello", "empty": b""}[damage]
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, {"model": {"a": Variable(np.zeros(1000))}})


def test_pickles_are_not_read(tmp_path):
    path = tmp_path / "ckpt-00000001.npz"
    np.savez(path, state=np.array("{}"), **{"model/0000": np.array([{}], object)})
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, {"model": {"a": Variable(np.zeros(1))}})


@pytest.mark.parametrize("state", ["[]", "7", "{", "null"])
def test_a_state_holds_counters(tmp_path, state):
    path = tmp_path / "ckpt-00000001.npz"
    np.savez(path, state=np.array(state))
    for arrays in (True, False):
        with pytest.raises(UserError, match="damaged"):
            checkpoint.read(path, arrays)


@pytest.mark.parametrize(
    "state", [{"best_loss": "x"}, {"epoch": 1.5}, {"unknown": 1}, {"history": [7]}]
)
def test_the_list_of_runs_names_a_damaged_one(tmp_path, state):
    cfg = ini.load(make_project(tmp_path))
    for name, kept in (("good", {}), ("bad", state)):
        (tmp_path / "cp" / name).mkdir(parents=True)
        runs.write_config(tmp_path / "cp" / name / "config.ini", cfg)
        checkpoint.save(runs.checkpoint_path(tmp_path / "cp" / name, 1), {}, kept)
    with pytest.raises(UserError, match="damaged"):
        progress_state.read(runs.checkpoint_path(tmp_path / "cp" / "bad", 1))
    assert "python train.py starts one" in runs.table(tmp_path / "nothing")[0]
    lines = {line.split()[0].strip(":"): line for line in runs.table(tmp_path / "cp")}
    assert "damaged" in lines["bad"] and "damaged" not in lines["good"]


def test_order_and_pruning(tmp_path):
    for step in (5, 100, 20, 3):
        checkpoint.save(runs.checkpoint_path(tmp_path, step), {}, {"step": step})
    (tmp_path / "ckpt-x.npz").write_bytes(b"")
    runs.prune(tmp_path, 2)
    steps = [checkpoint.read(p)[1]["step"] for p in runs.newest_first(tmp_path)]
    assert steps == [100, 20]


def test_fresh_runs_are_numbered(tmp_path):
    names = dict.fromkeys(("run-2", "run-10", "runner", "run-x"), "run")
    names |= {"run": "old", "run-3": "run-3", "run-11": "run-11"}
    for name, own in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.ini").write_text(f"[train]\nrun_name = {own}\n")
    assert [p.name for p in runs.run_folders(tmp_path, "run")] == ["run", "run-2", "run-10"]
    for name, wanted in (("run", "run-12"), ("new", "new"), ("run-11", "run-11-2")):
        taken = runs.run_folders(tmp_path, name)
        assert runs.fresh_folder(tmp_path, name, taken).name == wanted
    checkpoint.save(runs.checkpoint_path(tmp_path / "lost", 5), {}, {})
    with pytest.raises(UserError, match=r"lost: holds checkpoints, but not the config\.ini"):
        runs.fresh_folder(tmp_path, "lost", [])
