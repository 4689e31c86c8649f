"""Where a training stands: counters, the best epoch, the history; and how it is written."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

from specmask import audio
from specmask.config import Train
from specmask.session import Clock


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


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write history.csv, one row an epoch; without rows there is no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    names = dict.fromkeys(name for row in rows for name in row)
    with audio.replacing(path) as temporary, temporary.open("w", newline="") as file:
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
