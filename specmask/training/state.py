"""Progress of a run: counters, best epoch and history, as checkpoints and history.csv hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from specmask import files
from specmask.config.training import Train
from specmask.errors import UserError
from specmask.training import checkpoint
from specmask.training.clock import Clock

Row = dict[str, int | float]  # of the history


@dataclass
class Progress:
    """How far a run has come; a part of every checkpoint."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    epoch: int = 0  # finished epochs
    step: int = 0  # steps done in the current epoch
    total_steps: int = 0
    loss_sum: float = 0.0  # over the steps of the current epoch
    skipped: int = 0  # steps of the current epoch whose gradient was not finite
    skipped_in_a_row: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    stale: int = 0  # epochs since the best one
    plateau: int = 0  # epochs since the best one or the last reduction of the learning rate
    reductions: int = 0  # of the learning rate
    seconds: float = 0.0
    cores: int = 0  # of the machine that last trained the run
    data: str = ""  # digest of its data sets
    history: list[Row] = field(default_factory=list)
    pending: Row | None = None  # the last epoch's row, while its metrics are computed

    @property
    def best_row(self) -> Row:
        """The best epoch's row of the history; empty before there is one."""
        return next((row for row in self.history if row.get("epoch") == self.best_epoch), {})

    def record_loss(self, loss: float, train: Train) -> bool:
        """Count a finished epoch with its (validation) loss; return whether it is the best."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            self.stale = self.plateau = 0
            return True
        self.stale, self.plateau = self.stale + 1, self.plateau + 1
        if train.schedule == "plateau" and self.plateau >= train.plateau_epochs:
            self.reductions, self.plateau = self.reductions + 1, 0
        return False

    def finished(self, train: Train) -> bool:
        """Return whether the last epoch is done or the run stopped early."""
        return self.epoch >= train.epochs or self.stopped_early(train)

    def stopped_early(self, train: Train) -> bool:
        """Return whether the loss has not improved for ``patience`` epochs."""
        return 0 < train.patience <= self.stale and self.epoch < train.epochs


def load(path: Path, groups: checkpoint.Groups) -> Progress:
    """Assign a checkpoint's arrays to variables and return its progress.

    Raises:
        UserError: if it is damaged or belongs to another network.
    """
    return _progress(path, checkpoint.load(path, groups))


def read(path: Path) -> Progress:
    """Return the progress in a checkpoint without reading its arrays.

    Raises:
        UserError: if it is damaged.
    """
    return _progress(path, checkpoint.read(path, arrays=False)[1])


def _progress(path: Path, state: Mapping[str, Any]) -> Progress:
    try:
        return TypeAdapter(Progress).validate_python(dict(state))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            checkpoint.DAMAGED.format(path=path, error=f"{where}: {first['msg']}")
        ) from None


def write_history(path: Path, rows: list[Row]) -> None:
    """Write history.csv, one row per epoch; without rows there is no file."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    files.write_table(path, names, [[row.get(name, "") for name in names] for row in rows])


def epoch_line(row: Row, progress: Progress, epochs: int) -> str:
    """Return a row of the history as one line; * marks the best so far."""
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
    """Return a line about a step that overwrites the one before."""
    return (
        f"\repoch {progress.epoch + 1}/{epochs} step {progress.step}/{steps} loss {loss:.5f} "
        f"{clock.examples_per_second:.1f}/s ETA {clock.time_left} "
    )
