"""Parallel work over processes and machines.

Locally joblib's own processes do the work. Inside ``with engine(...)`` the same joblib calls go to
a Dask or Ray cluster. Its workers must be able to import this package and must see the folders of
the configuration under the same paths.
"""

import functools
import itertools
import logging
import os
import pickle
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from specmask import files
from specmask.config.inference import Compute
from specmask.errors import UserError, import_failure
from specmask.progress import Progress

FILES_PER_TASK = 16  # handing over a task costs about a millisecond
TASKS_PER_ROUND = 32  # for each worker, with an engine that returns whole lists only
CONNECT_SECONDS = 20

_engine: ContextVar[str] = ContextVar("engine", default="local")


def worker_count(workers: int) -> int:
    """Return the number of workers: all of a cluster, or local ones, where 0 means one per core."""
    import joblib

    if _engine.get() != "local":
        return joblib.effective_n_jobs(-1)
    return workers or joblib.cpu_count()


def map_chunks(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int,
    label: str | None = None,
    chunk: int = FILES_PER_TASK,
) -> Iterator[Any]:
    """Yield ``function(item)`` for every item, in order, and show the progress.

    A task is ``chunk`` items, or fewer where there are few tasks. A single task, or one local
    worker, runs in this process.

    Args:
        function: called with one item; see :class:`Stored` if it carries much data.
        items: what to call it with; sliced as needed.
        workers: number of local processes, 0 for one per core; a cluster uses all that it has.
        label: name of the work for its progress; None: none is shown.
        chunk: number of items per task.

    >>> list(map_chunks(abs, [-1, 2, -3], 1, "magnitude"))
    [1, 2, 3]
    """
    alone = len(items) <= chunk or (_engine.get() == "local" and worker_count(workers) == 1)
    count = 1 if alone else worker_count(workers)
    chunk = max(1, min(chunk, len(items) // (4 * count)))
    chunks = (items[i : i + chunk] for i in range(0, len(items), chunk))
    with Progress(len(items), label, unit="file") if label else nullcontext() as progress:
        for results in _results(function, chunks, count):
            for result in results:
                if progress:
                    progress.update(1)
                yield result


def _results(function: Callable, chunks: Iterator, count: int) -> Iterator[list]:
    if count == 1:
        for chunk in chunks:
            yield _apply(function, chunk)
        return
    import joblib

    tasks = (joblib.delayed(_apply)(function, chunk) for chunk in chunks)
    engine = _engine.get()
    if engine == "ray":  # its joblib backend has no generators
        while some := list(itertools.islice(tasks, TASKS_PER_ROUND * count)):
            yield from joblib.Parallel(n_jobs=-1, batch_size=1)(some)
        return
    local = {"n_jobs": count, "initializer": _ignore_interrupts}
    options = local if engine == "local" else {"n_jobs": -1, "batch_size": 1}
    yield from joblib.Parallel(return_as="generator", pre_dispatch="4*n_jobs", **options)(tasks)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _apply(function: Callable, chunk: Sequence) -> list:
    return [function(item) for item in chunk]


class Stored:
    """A function that workers read from a file once, instead of receiving it with each task.

    Use it as a context manager: the file is removed when the block ends.

    Args:
        function: anything that can be pickled.
        folder: folder of the file; workers must see it.
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
    """Hand the work of :func:`map_chunks` to the engine of the configuration during the block.

    Raises:
        UserError: if the engine is not installed, or no cluster answers at its address.
    """
    name = compute.engine
    if name == "local":
        yield
        return
    import joblib

    try:
        disconnect = {"dask": _connect_dask, "ray": _connect_ray}[name](compute)
    except ImportError as error:
        raise UserError(
            f"[compute] engine = {name}: {name} {import_failure(error)}; "
            f'pip install ".[{name}]" in the clone, or choose engine = local'
        ) from None
    except (OSError, OverflowError, ValueError, RuntimeError) as error:  # ValueError: no address
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"[compute] address = {compute.address}: no {name} cluster with workers answers there "
            f"({reason}); start one and correct the address, or leave it empty to start one here"
        ) from None
    token = _engine.set(name)
    try:
        with joblib.parallel_config(backend=name):
            yield
    finally:
        _engine.reset(token)
        disconnect()


def _connect_dask(compute: Compute) -> Callable[[], None]:
    """Connect to a Dask cluster, or start one here; return the function that ends it."""
    from distributed import Client

    if not compute.address:
        return Client(
            n_workers=worker_count(compute.workers),
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,  # it warns when a worker takes its time to end
        ).close
    client = Client(compute.address, timeout=CONNECT_SECONDS)
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        client.close()
        raise
    return client.close


def _connect_ray(compute: Compute) -> Callable[[], None]:
    """Connect to a Ray cluster, or start one here; return the function that ends it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    import ray
    from ray.util.joblib import register_ray

    host, _, port = compute.address.rpartition("://")[2].rpartition(":")
    if host:  # where nothing listens, Ray itself would wait for minutes and end the process
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    here = {"num_cpus": worker_count(compute.workers), "include_dashboard": False}
    ray.init(
        **({"address": compute.address} if compute.address else here),
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}},
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    register_ray()
    return ray.shutdown
