"""Where a training stands: counters, the best epoch, the history; and how it is written."""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from specmask import files
from specmask.config.training import Train
from specmask.errors import UserError
from specmask.training import checkpoint


class Clock:
    """Examples a second, the share of time spent waiting for data, and the time that is left.

    Args:
        steps: how many there are to do.
    """

    def __init__(self, steps: int):
        self.steps, self.done = steps, 0
        self.begun = self.lapped = time.monotonic()
        self.reset()

    def reset(self) -> None:
        """Begin another stretch for the rate and the share."""
        self.since, self.waited, self.examples = time.monotonic(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        started = time.monotonic()
        yield
        self.waited += time.monotonic() - started

    def tick(self, examples: int) -> None:
        """Count a step."""
        self.examples, self.done = self.examples + examples, self.done + 1

    @property
    def examples_a_second(self) -> float:
        """Of the running stretch."""
        return self.examples / max(1e-9, time.monotonic() - self.since)

    @property
    def waiting_share(self) -> float:
        """Of the running stretch, from 0 to 1."""
        return self.waited / max(1e-9, time.monotonic() - self.since)

    @property
    def left(self) -> str:
        """Hours, minutes and seconds that the steps to do will take."""
        seconds = (time.monotonic() - self.begun) / max(1, self.done) * (self.steps - self.done)
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"

    def lap(self) -> float:
        """Return the seconds since the start or the last lap."""
        now = time.monotonic()
        seconds, self.lapped = now - self.lapped, now
        return seconds


@dataclass
class Progress:
    """Where a run stands; a part of every checkpoint."""

    epoch: int = 0  # epochs that are finished
    step: int = 0  # steps done in the running epoch
    total_steps: int = 0
    loss_sum: float = 0.0
    skipped: int = 0  # steps of the epoch left out because their gradient was not finite
    skipped_in_a_row: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    stale: int = 0  # epochs since the best one
    plateau: int = 0  # epochs since the best one or the last reduction of the learning rate
    reductions: int = 0  # of the learning rate
    seconds: float = 0.0
    cores: int = 0  # that the last part of the run was computed on
    history: list[dict[str, float]] = field(default_factory=list)
    pending: dict[str, float] | None = None  # the last epoch, while its metrics are being made

    def judge(self, loss: float, train: Train) -> bool:
        """Count a finished epoch with its (validation) loss; tell whether it is the best."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            self.stale = self.plateau = 0
            return True
        self.stale, self.plateau = self.stale + 1, self.plateau + 1
        if train.schedule == "plateau" and self.plateau >= train.plateau_epochs:
            self.reductions, self.plateau = self.reductions + 1, 0
        return False

    def finished(self, train: Train) -> bool:
        """Tell whether the last epoch is done, or no better loss has come for long enough."""
        return self.epoch >= train.epochs or self.stopped_early(train)

    def stopped_early(self, train: Train) -> bool:
        """Tell whether the run ended before its last epoch."""
        return 0 < train.patience <= self.stale and self.epoch < train.epochs


def load(path: Path, groups: dict[str, Sequence[Any]]) -> Progress:
    """Assign a checkpoint's arrays to variables, and return the progress that it tells of.

    Raises:
        UserError: if it is damaged or belongs to another network.
    """
    return _told(path, checkpoint.load(path, groups))


def read(path: Path) -> Progress:
    """Return the progress that a checkpoint tells of, without reading its arrays.

    Raises:
        UserError: if it is damaged.
    """
    return _told(path, checkpoint.state(path))


def _told(path: Path, state: Mapping[str, Any]) -> Progress:
    try:
        return restored(state)
    except ValueError as error:
        raise UserError(checkpoint.DAMAGED.format(path=path, error=error)) from None


def restored(state: Mapping[str, Any]) -> Progress:
    """Return the progress that a checkpoint tells of.

    Raises:
        ValueError: if it tells of something else.
    """
    fresh = vars(Progress())
    if unknown := sorted(state.keys() - fresh.keys()):
        raise ValueError(f"unknown: {', '.join(unknown)}")
    for name, value in state.items():
        if name == "history":
            right = isinstance(value, list) and all(map(_is_epoch, value))
        elif name == "pending":
            right = value is None or _is_epoch(value)
        else:
            right = isinstance(value, type(fresh[name]) | int)
        if not right:
            raise ValueError(f"{name} is {str(value)[:40]}")
    return Progress(**state)


def _is_epoch(row: Any) -> bool:
    """Tell whether this is a row of the history: numbers by name, with those that are read."""
    return (
        isinstance(row, dict)
        and row.keys() >= {"epoch", "step", "training_loss", "skipped"}
        and all(isinstance(value, Real) for value in row.values())
    )


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write history.csv, one row an epoch; without rows there is no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    names = dict.fromkeys(name for row in rows for name in row)
    with files.replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def line(row: dict[str, float], progress: Progress, epochs: int) -> str:
    """Describe a row of the history in one line; * marks the best so far."""
    mark = " *" if progress.best_epoch == row["epoch"] else ""
    words = [f"epoch {row['epoch']}/{epochs}", f"loss {row['training_loss']:.5f}"]
    if "validation_loss" in row:
        words += [f"validation {row['validation_loss']:.5f}{mark}"]
    else:
        words[-1] += mark
    if "si_sdr" in row:
        words += [
            f"SI-SDR {row['si_sdr']:.2f} dB ({row['si_sdr_improvement']:+.2f})",
            f"SDR {row['sdr']:.2f}",
            f"SNRi {row['snr_improvement']:.2f}",
            f"STOI {row['stoi']:.3f}",
            f"PESQ {row['pesq']:.2f}",
        ]
    if row["skipped"]:
        words += [f"{row['skipped']} steps skipped"]
    return "  ".join([*words, f"{progress.seconds / 60:.1f} min"])


def step_line(progress: Progress, epochs: int, steps: int, loss: float, clock: Clock) -> str:
    """Describe a step, to be written over the one before."""
    return (
        f"\repoch {progress.epoch + 1}/{epochs} step {progress.step}/{steps} loss {loss:.5f} "
        f"{clock.examples_a_second:.1f}/s ETA {clock.left} "
    )
