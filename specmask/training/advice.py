"""Notes about settings that ruin a training, and about useless weights."""

import math
from pathlib import Path

from specmask.config.training import Train
from specmask.errors import UserError
from specmask.training import runs, state
from specmask.training.state import Progress


def long_warmup(train: Train, steps: int) -> str:
    """Return a note about a warm-up that takes all steps of a training, or nothing.

    Args:
        train: the [train] section.
        steps: per epoch.
    """
    total = train.epochs * steps
    if train.warmup_steps < total:
        return ""
    return (
        f"note: [train] warmup_steps = {train.warmup_steps} is not over after all {total} steps, "
        f"so learning_rate = {train.learning_rate:g} is hardly reached; lower it, e.g. to "
        f"{total // 10}, or train longer"
    )


def finished(train: Train, progress: Progress) -> str:
    """Return how to train on a run that is finished already."""
    if progress.stopped_early(train):
        further = f"raise [train] patience above {progress.stale}, or set it to 0"
    else:
        further = f"raise [train] epochs, e.g. --set train.epochs={2 * progress.epoch}"
    return f"note: this run is finished; to train on, {further}; --fresh starts a new run"


def improvement_db(progress: Progress) -> float:
    """Return the SI-SDR improvement of the best weights over the noisy input; NaN if unknown."""
    return float(progress.best_row.get("si_sdr_improvement", math.nan))


def weak_run(folder: Path) -> str:
    """Return the warning of :func:`weak` about a run's folder, or nothing."""
    checkpoints = runs.newest_first(folder)
    try:
        return weak(improvement_db(state.read(checkpoints[0]))) if checkpoints else ""
    except UserError:  # a damaged checkpoint: the best weights do not need it
        return ""


def weak(improvement_db: float) -> str:
    """Return a warning about weights that make the noisy input worse, or nothing."""
    if not improvement_db < 0:
        return ""
    return (
        f"warning: the best weights lower the SI-SDR of the validation files by "
        f"{-improvement_db:.1f} dB against the noisy input; train longer or with other settings; "
        "enhance.py --model default uses the model that comes with Specmask"
    )
