"""Spreading work over processes and machines: one function, so that engines can be exchanged here.

Locally joblib's own processes do the work. Inside ``with engine(...)`` the same joblib calls go to
a Dask or Ray cluster. Its workers must be able to import this package and must see the folders of
the configuration under the same paths.
"""

import functools
import itertools
import logging
import os
import pickle
import platform
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tqdm import tqdm

from specmask import files
from specmask.config.inference import Compute
from specmask.errors import UserError

FILES_A_TASK = 16  # handing over a task costs about a millisecond
TASKS_A_ROUND = 32  # for each worker, with an engine that returns whole lists only
CONNECT_SECONDS = 20

_engine: ContextVar[str] = ContextVar("engine", default="local")


def worker_count(workers: int) -> int:
    """Return the number of workers: all of a cluster, or local ones, where 0 means one a core."""
    import joblib

    if _engine.get() != "local":
        return joblib.effective_n_jobs(-1)
    return workers or joblib.cpu_count()


def map_chunks(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int,
    label: str,
    chunk: int = FILES_A_TASK,
    seen: set[str] | None = None,
) -> Iterator[Any]:
    """Yield ``function(item)`` for every item, in order, with a progress bar.

    A task is ``chunk`` items, or fewer where there are few tasks. What is a single task, or has
    one local worker, runs in this process. Without a terminal there is no bar.

    Args:
        function: called with one item; see :class:`Stored` if it carries much data.
        items: what to call it with; sliced as needed.
        workers: number of local processes, 0 for one a core; a cluster uses all that it has.
        label: text before the bar.
        chunk: number of items a task.
        seen: receives ``machine:process`` of every worker that has returned something.
    """
    alone = len(items) <= chunk or (_engine.get() == "local" and worker_count(workers) == 1)
    count = 1 if alone else worker_count(workers)
    chunk = max(1, min(chunk, len(items) // (4 * count)))
    chunks = (items[i : i + chunk] for i in range(0, len(items), chunk))
    with tqdm(total=len(items), desc=label, unit="file", disable=None, smoothing=0.05) as bar:
        for worker, results in _results(function, chunks, count):
            if seen is not None:
                seen.add(worker)
            for result in results:
                bar.update()
                yield result


def _results(function: Callable, chunks: Iterator, count: int) -> Iterator[tuple[str, list]]:
    if count == 1:
        for chunk in chunks:
            yield _apply(function, chunk)
        return
    import joblib

    tasks = (joblib.delayed(_apply)(function, chunk) for chunk in chunks)
    engine = _engine.get()
    if engine == "ray":  # its joblib backend has no generators
        with joblib.Parallel(n_jobs=-1, batch_size=1) as pool:
            size = TASKS_A_ROUND * pool._effective_n_jobs()
            while some := list(itertools.islice(tasks, size)):
                yield from pool(some)
        return
    own = {"n_jobs": count, "initializer": _leave_interrupts_to_the_parent}
    options = own if engine == "local" else {"n_jobs": -1, "batch_size": 1}
    yield from joblib.Parallel(return_as="generator", pre_dispatch="4*n_jobs", **options)(tasks)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _apply(function: Callable, chunk: Sequence) -> tuple[str, list]:
    return f"{platform.node()}:{os.getpid()}", [function(item) for item in chunk]


class Stored:
    """A function that workers read from a file once, instead of receiving it with each task.

    Use it as a context manager: the file goes when the block ends.

    Args:
        function: anything that can be pickled.
        folder: where the file may lie; workers must see it.
    """

    def __init__(self, function: Callable[[Any], Any], folder: Path):
        self.function = function
        self.path = folder / f"{secrets.token_hex(8)}.pickle"

    def __call__(self, item: Any) -> Any:
        return self.function(item)

    def __reduce__(self) -> tuple:
        if not self.path.is_file():
            with files.replacing(self.path) as temporary:
                temporary.write_bytes(pickle.dumps(self.function))
        return _load, (self.path,)

    def __enter__(self) -> "Stored":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.path.unlink(missing_ok=True)


@functools.lru_cache(maxsize=2)
def _load(path: Path) -> Callable[[Any], Any]:
    return pickle.loads(path.read_bytes())


# ---------------------------------------------------------------- engines


@contextmanager
def engine(compute: Compute) -> Iterator[None]:
    """Hand the work of :func:`map_chunks` to what the configuration names, while the block runs.

    Raises:
        UserError: if the engine is not installed, or nothing answers at its address.
    """
    if compute.engine == "local":
        yield
        return
    import joblib

    connected = {"dask": _dask, "ray": _ray}[compute.engine]
    with connected(compute), joblib.parallel_config(backend=compute.engine):
        token = _engine.set(compute.engine)
        try:
            yield
        finally:
            _engine.reset(token)


@contextmanager
def _dask(compute: Compute) -> Iterator[None]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise _missing(compute) from None
    if not compute.address:
        count = worker_count(compute.workers)
        options = {"threads_per_worker": 1, "dashboard_address": None}
        options["silence_logs"] = logging.ERROR  # it warns when a worker takes its time to end
        with LocalCluster(n_workers=count, **options) as cluster, Client(cluster):
            yield
        return
    try:
        client = Client(compute.address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:  # ValueError: not an address
        raise _silent(compute, error) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise _silent(compute, error) from None
        yield


@contextmanager
def _ray(compute: Compute) -> Iterator[None]:
    root = str(Path(__file__).resolve().parent.parent)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if compute.address:
        options |= {"address": compute.address, "runtime_env": {"env_vars": {"PYTHONPATH": root}}}
    else:
        options |= {"num_cpus": worker_count(compute.workers), "include_dashboard": False}
    with _environment(PYTHONPATH=root, RAY_USAGE_STATS_ENABLED="0"):  # it would report home
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError:
            raise _missing(compute) from None
        register_ray()
        try:
            _knock(compute.address)
            ray.init(**options)
        except (OSError, OverflowError, ValueError, RuntimeError) as error:
            raise _silent(compute, error) from None
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at host:port; Ray itself would wait for minutes and exit."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables that child processes inherit, while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _missing(compute: Compute) -> UserError:
    name = compute.engine
    return UserError(
        f'[compute] engine = {name}: not installed; pip install ".[{name}]" in the clone, or '
        "choose engine = local"
    )


def _silent(compute: Compute, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"[compute] address = {compute.address}: no {compute.engine} cluster with workers answers "
        f"there ({reason}); start one and correct the address, or leave it empty to start one here"
    )
