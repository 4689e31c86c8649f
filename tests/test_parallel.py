"""The same results on one process, on several, and on a Dask or Ray cluster."""

import os
import pickle
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import (
    TOTALS,
    assert_error_line,
    call_script,
    data_config,
    data_overrides,
    make_data,
    settings_args,
    snapshot,
    white_noise,
    write_audio,
)
from hypothesis import given
from hypothesis import strategies as st

from specmask import files, parallel
from specmask.config.inference import Compute
from specmask.config.schema import Config
from specmask.enhancement import enhancer, folder
from specmask.enhancement.inputs import find_recordings
from specmask.errors import UserError


@contextmanager
def dask_cluster():
    """Give the address of a Dask scheduler with two worker processes."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def assert_made_by_two(config: Config, expected: dict[str, bytes]) -> None:
    """Make a data set; it must be the expected one, made by two processes that are not this one."""
    with parallel.engine(config.compute):
        make_data(config)
        workers = set(parallel.map_chunks(lambda _: time.sleep(0.05) or os.getpid(), range(64), 2))
    assert len(workers) >= 2 and os.getpid() not in workers
    assert snapshot(config.data.data_path) == expected
    assert {p.name for p in config.work_path.iterdir()} <= {*files.LOCK_FILES, "scan.sqlite"}


def test_local_workers_make_the_same_bytes(corpus, tmp_path, expected):
    config = data_config(corpus, tmp_path, compute__workers=2, **TOTALS)
    with parallel.engine(config.compute):
        assert make_data(config)[0].new == 40
    assert snapshot(tmp_path) == expected


def test_a_dask_cluster_makes_the_same_bytes(corpus, tmp_path, expected):
    with dask_cluster() as address:
        changes = {"compute__engine": "dask", "compute__address": address}
        assert_made_by_two(data_config(corpus, tmp_path, **changes, **TOTALS), expected)


def test_a_dask_cluster_enhances_as_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SPREAD_BYTES", 0)
    model = enhancer.load(runtime="onnx")
    for number in range(4):
        write_audio(tmp_path / "in" / f"{number}.wav", white_noise(9000, number), 16000)

    def enhance(name: str) -> list[bytes]:
        recordings = find_recordings([tmp_path / "in"], tmp_path / name)
        folder.enhance_folder(recordings, tmp_path / name, model, 10)
        return [p.read_bytes() for p in sorted((tmp_path / name).glob("*.wav"))]

    with dask_cluster() as address, parallel.engine(Compute(engine="dask", address=address)):
        found = enhance("cluster")
    assert found == enhance("local") and len(found) == 4


def test_dask_on_this_machine_through_the_script(corpus, tmp_path, expected):
    pytest.importorskip("distributed", reason="needs the extra dask")
    changes = {"compute__engine": "dask", "compute__workers": 2}
    args = settings_args(data_overrides(corpus, tmp_path / "out", **changes, **TOTALS))
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "with 2 workers" in done.stdout
    assert snapshot(tmp_path / "out") == expected


def test_ray_makes_the_same_bytes(corpus, tmp_path, expected):
    pytest.importorskip("ray", reason="needs the extra ray")
    changes = {"compute__engine": "ray", "compute__workers": 2}
    assert_made_by_two(data_config(corpus, tmp_path, **changes, **TOTALS), expected)


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_an_engine_that_is_not_installed(engine, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, {"dask": "distributed"}.get(engine, engine), None)
    args = settings_args(data_overrides(corpus, tmp_path, compute__engine=engine))
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert_error_line(done, f"engine = {engine}", f'pip install ".[{engine}]"', "local")


@pytest.mark.parametrize(
    ("engine", "address"),
    [("dask", "tcp://127.0.0.1:9"), ("dask", "nonsense"), ("ray", "127.0.0.1:9")],
)
def test_an_address_where_nothing_answers(engine, address, tmp_path, monkeypatch):
    pytest.importorskip({"dask": "distributed"}.get(engine, engine))
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(UserError, match=rf"address = {address}: no {engine} cluster"),
        parallel.engine(Compute(engine=engine, address=address)),
    ):
        pass


def test_a_function_with_much_data_is_sent_by_a_file(tmp_path):
    function = parallel.Stored(np.ones(100_000).__getitem__, tmp_path)
    with function:
        assert list(parallel.map_chunks(function, range(40), 2, "x")) == [1] * 40
        assert function.path.stat().st_size > 800_000
        assert len(pickle.dumps(function)) < 500
    assert list(tmp_path.iterdir()) == []


@given(count=st.integers(0, 60), chunk=st.integers(1, 20))
def test_results_come_in_order_whatever_the_chunks(count, chunk):
    found = parallel.map_chunks(str, range(count), 1, "x", chunk)
    assert list(found) == [str(i) for i in range(count)]
