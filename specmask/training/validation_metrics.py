"""Metrics and spectrograms of validation files, computed in other processes during the training.

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
CHUNK = 4  # files per task
IDLE_SECONDS = 60  # after which a worker process ends


@dataclass(frozen=True)
class Example:
    """A validation file and the network's output for it."""

    name: str
    snr_db: float
    waves: dict[str, np.ndarray]  # clean, noisy, enhanced [samples]
    mask: np.ndarray | None  # [frames, bins, 2], of a file that TensorBoard shows
    rate: int
    bound: float


@dataclass(frozen=True)
class Preview:
    """Sound and pictures of a validation file for TensorBoard."""

    name: str
    rate: int
    waves: dict[str, np.ndarray]  # clean, noisy, enhanced [samples]
    pictures: dict[str, bytes]  # PNG


Scored = tuple[dict[str, float], Preview | None]  # metrics of a file, and how it is shown


@dataclass
class PendingScores:
    """Scores that worker processes are computing."""

    tasks: list[tuple[list[Example], Future]] = field(default_factory=list)

    def submit(self, examples: list[Example], workers: int) -> None:
        """Send files to the worker processes, which are started when first needed."""
        for at in range(0, len(examples), CHUNK):
            task = examples[at : at + CHUNK]
            try:
                future = _pool(workers).submit(_score, task)
            except BrokenProcessPool:
                _pool.cache_clear()
                future = _pool(workers).submit(_score, task)
            self.tasks.append((task, future))

    def ready(self) -> bool:
        """Return whether all are computed."""
        return all(future.done() for _, future in self.tasks)

    def collect(self) -> tuple[dict[str, float], dict[float, dict[str, float]], list[Preview]]:
        """Wait for them; return the means, the means by SNR in dB, and the previews."""
        snrs_db = [round(example.snr_db, 2) for examples, _ in self.tasks for example in examples]
        results = [scored for task in self.tasks for scored in _result(*task)]
        rows, previews = [r for r, _ in results], [s for _, s in results if s is not None]
        by_snr = {
            snr: _means([r for r, s in zip(rows, snrs_db, strict=True) if s == snr])
            for snr in sorted({s for s in snrs_db if np.isfinite(s)})
        }
        return _means(rows), by_snr, previews


@functools.cache
def _pool(workers: int) -> loky.ProcessPoolExecutor:
    """Return the worker processes: not joblib's, whose owner expects to be their only user."""
    count = parallel.worker_count(workers)
    return loky.ProcessPoolExecutor(count, timeout=IDLE_SECONDS, initializer=_start_worker)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and lower the priority below the training's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)


def _result(examples: list[Example], future: Future) -> list[Scored]:
    try:
        return future.result()
    except BrokenProcessPool:  # a worker was killed, by Ctrl-C or for its memory
        return _score(examples)


def _score(examples: list[Example]) -> list[Scored]:
    return [_score_one(example) for example in examples]


def _score_one(example: Example) -> Scored:
    w = example.waves
    values = table.score(w["clean"], w["noisy"], w["enhanced"], example.rate, METRICS)[0]
    if example.mask is None:
        return values, None
    pictures = {
        "spectrograms": spectrogram.spectrograms(
            [w["noisy"], w["enhanced"], w["clean"]], example.rate
        ),
        "mask": spectrogram.mask(example.mask, example.bound),
    }
    return values, Preview(example.name, example.rate, w, pictures)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {m: _mean([r[m] for r in rows]) for m in METRICS}


def _mean(values: list[float]) -> float:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else float("nan")
