"""Spreading work over the cores: one function, so that engines can be exchanged in one place."""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm


def worker_count(workers: int) -> int:
    """Return the number of workers to use: 0 means one a core that this process may use."""
    import joblib

    return workers or joblib.cpu_count()


def map_chunks(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int,
    label: str,
    chunk: int = 16,
) -> Iterator[Any]:
    """Yield ``function(item)`` for every item, in order, with a progress bar.

    A task is ``chunk`` items, since handing over a task costs about a millisecond. With one
    worker everything runs in this process. Without a terminal there is no bar.
    """
    chunks = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    count = min(worker_count(workers), len(chunks))
    with tqdm(total=len(items), desc=label, unit="file", disable=None, smoothing=0.05) as bar:
        for results in _results(function, chunks, count):
            for result in results:
                bar.update()
                yield result


def _results(function: Callable, chunks: list, count: int) -> Iterator[list]:
    if count <= 1:
        for chunk in chunks:
            yield _apply(function, chunk)
        return
    import joblib

    tasks = (joblib.delayed(_apply)(function, chunk) for chunk in chunks)
    pool = joblib.Parallel(
        n_jobs=count,
        return_as="generator",
        pre_dispatch="4*n_jobs",
        initializer=_leave_interrupts_to_the_parent,
    )
    yield from pool(tasks)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _apply(function: Callable, chunk: Sequence) -> list:
    return [function(item) for item in chunk]
