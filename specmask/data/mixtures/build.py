"""Building of a data set: renders the files that are missing and writes the manifest.

A file appears under its name when it is complete. It counts as done when its row is in the
manifest or the journal and it has the right size, so a run may be stopped at any moment.
"""

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files, parallel
from specmask.audio.io import SUFFIXES
from specmask.config.schema import Config
from specmask.config.types import KINDS
from specmask.data.mixtures import manifest, render, transcripts
from specmask.data.mixtures.manifest import Row, index_of
from specmask.data.mixtures.plan import Plan
from specmask.data.names import mixture_files, mixture_index
from specmask.errors import UserError

HEADER_BYTES = 44  # of a WAV file
BLOCK_BYTES = 4096  # a file takes whole blocks of a disk
ROW_BYTES = 2048  # of a manifest, of which there are two copies for a moment


@dataclass(frozen=True)
class Status:
    """Status of a split before a run.

    Attributes:
        plan: of the split.
        settings: what its files depend on; found once, since a digest of all sources is in it.
        done: bool [total], which files are done.
        surplus: number of files beyond the total.
        up_to_date: nothing has to be done, not even the manifest.
        overwrite: existing files are to be removed first.
        replaced_bytes: disk space that this frees, per kind of file.
    """

    plan: Plan
    settings: dict[str, Any]
    done: np.ndarray
    surplus: int = 0
    up_to_date: bool = False
    overwrite: bool = False
    replaced_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """Indices of the files that are to be made."""
        return np.flatnonzero(~self.done).tolist()

    @property
    def missing_count(self) -> int:
        """Number of files that are to be made."""
        return int(np.count_nonzero(~self.done))


@dataclass(frozen=True)
class Summary:
    """Result of a run for one split: files in all, new ones, and ones beyond the total."""

    split: str
    total: int
    new: int
    surplus: int
    manifest: Path


def make(plan: Plan, overwrite: bool = False) -> Summary:
    """Render every missing file of a split, and write the manifest.

    Raises:
        UserError: if the folders hold files of other settings or of another origin, or another
            run is at work in them.
    """
    with locked(plan.config):
        return make_missing(status(plan, overwrite))


@contextmanager
def locked(config: Config) -> Iterator[None]:
    """Hold the lock of the data set, and remove temporary files of killed runs.

    Raises:
        UserError: if another run holds it.
    """
    with files.held(config.data.data_path):
        plans = config.work_path.glob("*.pickle")
        for path in [*plans, *config.data.data_path.glob(f"{files.TEMPORARY}*")]:
            path.unlink()
        yield


# ---------------------------------------------------------------- before a run


def status(plan: Plan, overwrite: bool = False) -> Status:
    """Find out which files are done; with ``overwrite``, which are to be replaced.

    Changes nothing.

    Raises:
        UserError: if the folders hold files of other settings or of another origin.
    """
    folders = [plan.config.stft.folder(kind, plan.split) for kind in KINDS]
    done = np.zeros(plan.total, bool)
    path, settings = manifest.path_of(plan.config, plan.split), plan.settings()
    if overwrite:
        sizes = {
            kind: sum(disk_bytes(e.stat().st_size) for e in _entries(folder) if is_ours(e.name))
            for kind, folder in zip(KINDS, folders, strict=True)
        }
        return Status(plan, settings, done, overwrite=True, replaced_bytes=sizes)
    _refuse_foreign(plan, folders, settings)
    seen, surplus = np.zeros(plan.total, bool), set()
    for row in manifest.earlier(path):
        index = index_of(row)
        if index >= plan.total:
            surplus.add(index)
        elif not seen[index]:
            seen[index] = True
            done[index] = _has_files(row, plan)
    up_to_date = bool(done.all()) and not surplus and not manifest.leftovers(path)
    return Status(plan, settings, done, len(surplus), up_to_date)


def _has_files(row: Row, plan: Plan) -> bool:
    """Return whether the three files of a row have their names and sizes."""
    size = HEADER_BYTES + 2 * int(row["samples"])
    per_folder = plan.config.data.files_per_folder
    names = mixture_files(index_of(row), float(row["snr_db"]), per_folder)
    for kind, name in names.items():
        path = plan.config.stft.folder(kind, plan.split) / name
        if row[render.FILES[kind]] != name or _size(path) != size:
            return False
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def is_ours(name: str) -> bool:
    """Return whether a file has a name that data sets give."""
    return mixture_index(name) is not None


def disk_bytes(size: int) -> int:
    """Return the number of bytes that a file takes on a disk."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def disk_space(splits: list[Status]) -> tuple[int, int]:
    """Return the bytes needed and free on the disk where space is tightest.

    Raises:
        UserError: if a disk has not enough.
    """
    disks: dict[int, tuple[int, Path]] = {}

    def add(folder: Path, size: int) -> None:
        while not folder.exists():
            folder = folder.parent
        device = folder.stat().st_dev
        disks[device] = disks.get(device, (0, folder))[0] + size, folder

    for split in splits:
        plan = split.plan
        samples = plan.hours * 3600 * plan.config.data.sample_rate / plan.total  # mean of a file
        file_bytes = disk_bytes(HEADER_BYTES + round(2 * samples))
        for kind in KINDS:
            size = split.missing_count * file_bytes - split.replaced_bytes.get(kind, 0)
            add(plan.config.stft.folder(kind, plan.split), size)
        add(plan.config.data.data_path, 2 * plan.total * ROW_BYTES)
    tightest = []
    for needed, folder in disks.values():
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"{folder}: {gigabytes(needed)} are needed and {gigabytes(free)} are free; "
                "free some space, choose another data_path, or lower the totals of [data]"
            )
        tightest.append((free - needed, max(0, needed), free))  # a smaller set frees some
    _, needed, free = min(tightest)
    return needed, free


def gigabytes(size: int) -> str:
    """Return a number of bytes as text."""
    return f"{size / 1e9:.{1 if size > 1e10 else 3}f} GB"


# ---------------------------------------------------------------- the run


def make_missing(split: Status) -> Summary:
    """Render the missing files of a split, and write the manifest."""
    plan, total = split.plan, split.plan.total
    path = manifest.path_of(plan.config, plan.split)
    if split.overwrite:  # of the old files, whose names the new ones have
        transcripts.path_of(plan).unlink(missing_ok=True)
    for kind in KINDS:
        folder = plan.config.stft.folder(kind, plan.split)
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder, split.overwrite)
    if not split.done.any():
        path.unlink(missing_ok=True)
        manifest.remove_journal(path)
    sidecar = path.with_suffix(".json")
    if manifest.changed(manifest.read_settings(sidecar), split.settings):
        manifest.write_settings(sidecar, split.settings)
    if split.up_to_date:
        return Summary(plan.split, total, 0, split.surplus, path)

    journal = manifest.journal_of(path)
    manifest.write(journal, _done_rows(split, path))
    render_one = functools.partial(render.render, plan=plan)
    with (
        parallel.Stored(render_one, plan.config.work_path) as function,
        manifest.appending(journal) as add,
    ):
        label, count = f"mix {plan.split}", plan.config.compute.workers
        for row in parallel.map_chunks(function, split.missing, count, label):
            add(row)
    manifest.finish(path, total)
    return Summary(plan.split, total, split.missing_count, split.surplus, path)


def _done_rows(split: Status, path: Path) -> Iterator[Row]:
    """Yield the rows of the files that are done, each once."""
    remaining = split.done.copy()
    for row in manifest.earlier(path):
        index = index_of(row)
        if index < len(remaining) and remaining[index]:
            remaining[index] = False
            yield row


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files in a folder and in its numbered subfolders; none if there is no folder."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as listing:
        for entry in listing:
            if not entry.is_dir():
                yield entry
            elif entry.name.isdecimal():
                yield from _entries(Path(entry.path))


def _clear(folder: Path, overwrite: bool) -> None:
    """Remove temporary files of killed runs; with ``overwrite`` also the files of the data set."""
    for entry in _entries(folder):
        if entry.name.startswith(files.TEMPORARY) or (overwrite and is_ours(entry.name)):
            Path(entry.path).unlink(missing_ok=True)
    if overwrite:
        for path in folder.iterdir():
            if path.name.isdecimal() and path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _refuse_foreign(plan: Plan, folders: list[Path], settings: dict[str, Any]) -> None:
    sidecar = manifest.path_of(plan.config, plan.split).with_suffix(".json")
    if sidecar.is_file():
        old = manifest.read_settings(sidecar)
        changed = manifest.changed(old, settings, plan.source_options)
        if changed:
            raise UserError(
                f"{sidecar.parent}: the {plan.split} files were made with other settings or "
                f"recordings ({changed}); --overwrite makes them again, or choose another data_path"
            )
        return
    for folder in folders:
        for entry in _entries(folder):
            audio = Path(entry.name).suffix.lower() in SUFFIXES
            if audio and not entry.name.startswith(files.TEMPORARY):
                raise UserError(
                    f"{folder}: holds audio that data_prep.py did not make (the first: "
                    f"{Path(entry.path).relative_to(folder)}); move them away, choose another "
                    "data_path, or use --overwrite to replace those that are named like files of a "
                    "data set"
                )
