"""Metrics and pictures of validation files, made by other processes while training goes on.

Imported by worker processes: no TensorFlow here.
"""

import functools
import os
import signal
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np
from joblib.externals import loky

from specmask import parallel
from specmask.audio import spectrogram
from specmask.evaluation.metrics import table

METRICS = ("si_sdr", "si_sdr_improvement", "sdr", "snr_improvement", "stoi", "pesq")
CHUNK = 4  # files a task
IDLE_SECONDS = 60  # after which a worker process ends


@dataclass(frozen=True)
class Job:
    """A validation file and what a network made of it."""

    name: str
    snr_db: float
    waves: dict[str, np.ndarray]  # clean, noisy, enhanced [samples]
    mask: np.ndarray | None  # [frames, bins, 2], of a file that is to be shown
    rate: int
    bound: float


@dataclass(frozen=True)
class Shown:
    """A validation file to look at and to listen to."""

    name: str
    rate: int
    waves: dict[str, np.ndarray]  # clean, noisy, enhanced [samples]
    pictures: dict[str, bytes]  # PNG


@dataclass
class Scores:
    """Scores that are being made."""

    tasks: list[tuple[list[Job], Future]] = field(default_factory=list)

    def submit(self, jobs: list[Job], workers: int) -> None:
        """Hand files to the worker processes, which are started when first needed."""
        for at in range(0, len(jobs), CHUNK):
            task = jobs[at : at + CHUNK]
            try:
                future = _pool(workers).submit(_score, task)
            except BrokenProcessPool:
                _pool.cache_clear()
                future = _pool(workers).submit(_score, task)
            self.tasks.append((task, future))

    def ready(self) -> bool:
        """Tell whether they are finished."""
        return all(future.done() for _, future in self.tasks)

    def collect(self) -> tuple[dict[str, float], dict[float, dict[str, float]], list[Shown]]:
        """Wait for them; return the means, the means by SNR in dB, and what is to be shown."""
        snrs_db = [round(job.snr_db, 2) for jobs, _ in self.tasks for job in jobs]
        results = [pair for task in self.tasks for pair in _result(*task)]
        rows, shown = [r for r, _ in results], [s for _, s in results if s is not None]
        by_snr = {
            snr: _means([r for r, s in zip(rows, snrs_db, strict=True) if s == snr])
            for snr in sorted({s for s in snrs_db if np.isfinite(s)})
        }
        return _means(rows), by_snr, shown


@functools.cache
def _pool(workers: int) -> loky.ProcessPoolExecutor:
    """Return the worker processes: not joblib's, whose owner expects to be their only user."""
    count = parallel.worker_count(workers)
    return loky.ProcessPoolExecutor(count, timeout=IDLE_SECONDS, initializer=_give_way)


def _result(jobs: list[Job], future: Future) -> list:
    try:
        return future.result()
    except BrokenProcessPool:  # a worker was killed, by Ctrl-C or for its memory
        return _score(jobs)


def _give_way() -> None:
    """Leave Ctrl-C to the parent, and the processor to it where there is not enough for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)


def _score(jobs: list[Job]) -> list[tuple[dict[str, float], Shown | None]]:
    return [_score_one(job) for job in jobs]


def _score_one(job: Job) -> tuple[dict[str, float], Shown | None]:
    w = job.waves
    values = table.score(w["clean"], w["noisy"], w["enhanced"], job.rate, METRICS)[0]
    if job.mask is None:
        return values, None
    drawn = {
        "spectrograms": spectrogram.spectrograms([w["noisy"], w["enhanced"], w["clean"]], job.rate),
        "mask": spectrogram.mask(job.mask, job.bound),
    }
    return values, Shown(job.name, job.rate, w, drawn)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {m: _mean([r[m] for r in rows]) for m in METRICS}


def _mean(values: list[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")
