"""What a run is about to do, told before it begins: files, hours, bytes and about how long."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from specmask import parallel
from specmask.config.types import KINDS
from specmask.data.mixtures import render
from specmask.data.mixtures.build import HEADER_BYTES, Survey, disk_bytes
from specmask.data.mixtures.plan import Plan
from specmask.errors import UserError

ROW_BYTES = 2048  # of a manifest; two copies of it lie there for a moment
TRIAL_FILES = 8
TRIAL_SECONDS = 1.0  # no further trial after that


def plan_line(surveys: Sequence[Survey]) -> str:
    """Return one line on what is to be made, in all splits of a data set together.

    The time is that of a few files made on trial, times the missing ones, over the workers.

    Raises:
        UserError: if a disk cannot hold it.
    """
    config = surveys[0].plan.config
    total = sum(s.plan.total for s in surveys)
    missing = sum(s.missing_count for s in surveys)
    text = f"plan: {total} files, {sum(s.plan.hours for s in surveys):.2f} h"
    if not missing:
        return f"{text}, all are there"
    needed, free = _space(surveys)
    largest = max(surveys, key=lambda s: s.missing_count)
    workers = parallel.worker_count(config.compute.workers)
    seconds = _seconds_a_file(largest) * missing / workers
    return (
        f"{text}, {missing} to be made: {_gigabytes(needed)} of {_gigabytes(free)} free, "
        f"about {_duration(seconds)} with {workers} {'worker' if workers == 1 else 'workers'}"
    )


def _space(surveys: Sequence[Survey]) -> tuple[int, int]:
    """Return the bytes needed and free on the disk where it is tightest."""
    disks: dict[int, tuple[int, Path]] = {}

    def add(folder: Path, size: int) -> None:
        while not folder.exists():
            folder = folder.parent
        device = folder.stat().st_dev
        disks[device] = disks.get(device, (0, folder))[0] + size, folder

    for survey in surveys:
        plan = survey.plan
        samples = plan.hours * 3600 * plan.config.data.sample_rate / plan.total  # a file, mean
        file_bytes = disk_bytes(HEADER_BYTES + round(2 * samples))
        for kind in KINDS:
            size = survey.missing_count * file_bytes - survey.replaced_bytes.get(kind, 0)
            add(plan.config.stft.folder(kind, plan.split), size)
        add(plan.config.data.data_path, 2 * plan.total * ROW_BYTES)
    tightest = []
    for needed, folder in disks.values():
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"{folder}: {_gigabytes(needed)} are needed and {_gigabytes(free)} are free; "
                "free some space, choose another data_path, or lower the totals of [data]"
            )
        tightest.append((free - needed, needed, free))
    return min(tightest)[1:]


def _seconds_a_file(survey: Survey) -> float:
    """Return the mean time of making a file, measured on some of the missing ones."""
    missing = survey.missing
    some = missing[:: max(1, len(missing) // TRIAL_FILES)][:TRIAL_FILES]
    work_path = survey.plan.config.work_path
    with tempfile.TemporaryDirectory(prefix="trial-", dir=work_path) as folder:
        trial = _elsewhere(survey.plan, Path(folder))
        render.render(some[0], trial)  # the first one also pays for imports
        seconds = []
        for index in some:
            started = time.perf_counter()
            render.render(index, trial)
            seconds.append(time.perf_counter() - started)
            if sum(seconds) > TRIAL_SECONDS:
                break
    return sum(seconds) / len(seconds)


def _elsewhere(plan: Plan, folder: Path) -> Plan:
    """Return the same plan with other folders for its files."""
    names = {f"{kind}_{plan.split}_dir".lower(): folder / kind for kind in KINDS}
    stft = plan.config.stft.model_copy(update=names)
    return replace(plan, config=plan.config.model_copy(update={"stft": stft}))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.{1 if size > 1e10 else 3}f} GB"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
