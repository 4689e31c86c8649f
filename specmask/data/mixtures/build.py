"""The making of a data set: what is missing is rendered, and the manifest written.

A file appears under its name when it is complete, and counts as done when a row of the manifest
tells of it and it has the right size. So a run may be stopped at any moment.
"""

import functools
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files, parallel
from specmask.audio import io as audio_io
from specmask.config.schema import Config
from specmask.config.types import KINDS
from specmask.data.corpus import scan_cache
from specmask.data.mixtures import manifest as manifests
from specmask.data.mixtures import render
from specmask.data.mixtures.manifest import (
    Row,
    appending,
    index_of,
    merged,
    path_of,
    read_settings,
    write_settings,
)
from specmask.data.mixtures.plan import Plan
from specmask.data.names import mixture_index
from specmask.errors import UserError

HEADER_BYTES = 44  # of a WAV file
BLOCK_BYTES = 4096  # a file takes whole blocks of a disk


@dataclass(frozen=True)
class Survey:
    """What there is of a split before a run.

    Attributes:
        plan: of the split.
        settings: what its files depend on; found once, since a digest of all sources is in it.
        there: bool [total], which files are done.
        surplus: number of rows beyond the total.
        complete: nothing has to be done, not even the manifest.
        overwrite: what is there is to be removed first.
        replaced_bytes: what that frees in the folder of each kind of file.
    """

    plan: Plan
    settings: dict[str, Any]
    there: np.ndarray
    surplus: int = 0
    complete: bool = False
    overwrite: bool = False
    replaced_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """Indices of the files that are to be made."""
        return np.flatnonzero(~self.there).tolist()

    @property
    def missing_count(self) -> int:
        """Number of files that are to be made."""
        return int(np.count_nonzero(~self.there))


@dataclass(frozen=True)
class Made:
    """What a run did for one split: files in all, new ones, and ones beyond the total.

    ``workers`` names the processes that made the new ones.
    """

    split: str
    total: int
    new: int
    surplus: int
    manifest: Path
    workers: frozenset[str] = frozenset()


def make(plan: Plan, overwrite: bool = False) -> Made:
    """Render every file of a plan that is not there yet, and write the manifest.

    Raises:
        UserError: if the folders hold files of other settings or of another origin, or another
            run is at work in them.
    """
    with alone(plan.config):
        return fill(survey(plan, overwrite))


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """See to it that no other run works on the data set, and remove what killed ones have left.

    Raises:
        UserError: if another run does.
    """
    with files.held(config.data.data_path):
        for path in config.work_path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in files.LOCK_FILES and not scan_cache.owns(path.name):
                path.unlink()
        for path in config.data.data_path.glob(f"{files.TEMPORARY}*"):  # of a manifest
            path.unlink()
        yield


def survey(plan: Plan, overwrite: bool = False) -> Survey:
    """Find out what is done already; with ``overwrite``, what is to be replaced. Changes nothing.

    Raises:
        UserError: if the folders hold files of other settings or of another origin.
    """
    folders = [plan.config.stft.folder(kind, plan.split) for kind in KINDS]
    there = np.zeros(plan.total, bool)
    path, settings = path_of(plan.config, plan.split), plan.settings()
    if overwrite:
        sizes = {
            kind: sum(disk_bytes(e.stat().st_size) for _, e in _entries(folder) if is_ours(e.name))
            for kind, folder in zip(KINDS, folders, strict=True)
        }
        return Survey(plan, settings, there, overwrite=True, replaced_bytes=sizes)
    _refuse_foreign(path.with_suffix(".json"), folders, settings)
    found = [_marks(folder, plan.total) for folder in folders]
    surplus = 0
    parts = _parts(path)
    for row in merged(*parts):
        index = index_of(row)
        if index >= plan.total:
            surplus += 1
            continue
        size = HEADER_BYTES + 2 * int(row["samples"])
        there[index] = all(
            marks[index] == _mark(row[render.FILES[kind]], size)
            for kind, marks in zip(KINDS, found, strict=True)
        )
    interrupted = any(part.exists() for part in parts[1:])
    complete = bool(there.all()) and not surplus and not interrupted
    return Survey(plan, settings, there, surplus, complete)


def is_ours(name: str) -> bool:
    """Tell whether a file bears a name that data sets give."""
    return mixture_index(name) is not None


def disk_bytes(size: int) -> int:
    """Return how many bytes of a disk a file takes."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def fill(found: Survey) -> Made:
    """Render what a survey has found missing, and write the manifest."""
    plan, total = found.plan, found.plan.total
    path = path_of(plan.config, plan.split)
    _, kept, partial = _parts(path)
    for kind in KINDS:
        folder = plan.config.stft.folder(kind, plan.split)
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder, found.overwrite)
    if not found.there.any():
        for old in _parts(path):
            old.unlink(missing_ok=True)
    write_settings(path.with_suffix(".json"), found.settings)
    if found.complete:
        return Made(plan.split, total, 0, found.surplus, path)

    done = (row for row in merged(*_parts(path)) if _is_there(found, row))
    manifests.write(kept, done)
    missing, workers = found.missing, set()
    render_one = functools.partial(render.render, plan=plan)
    with (
        parallel.Stored(render_one, plan.config.work_path) as function,
        appending(partial) as add,
    ):
        label, compute = f"mix {plan.split}", plan.config.compute
        for row in parallel.map_chunks(function, missing, compute.workers, label, seen=workers):
            add(row)
    if manifests.write(path, merged(kept, partial)) < total:
        raise UserError(f"{partial}: rows were lost, another program has written here; run again")
    kept.unlink()
    partial.unlink()
    return Made(plan.split, total, len(missing), found.surplus, path, frozenset(workers))


def _parts(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_suffix(".csv.kept"), path.with_suffix(".csv.partial")


def _is_there(found: Survey, row: Row) -> bool:
    index = index_of(row)
    return index < len(found.there) and bool(found.there[index])


def _entries(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """Yield what lies in a folder and in its numbered subfolders, by name relative to it.

    Sizes come with the listing of a folder where the system can do it, without a call a file.
    """
    try:
        listing = os.scandir(folder)
    except FileNotFoundError:
        return
    with listing:
        for entry in listing:
            if entry.name.isdecimal() and entry.is_dir():
                for name, inner in _entries(Path(entry.path)):
                    yield f"{entry.name}/{name}", inner
            else:
                yield entry.name, entry


def _clear(folder: Path, overwrite: bool) -> None:
    """Remove what killed runs have left half written; with ``overwrite`` also what they made."""
    for _, entry in _entries(folder):
        if entry.name.startswith(files.TEMPORARY) or (overwrite and is_ours(entry.name)):
            Path(entry.path).unlink(missing_ok=True)
    if overwrite:
        for path in folder.iterdir():
            if path.name.isdecimal() and path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _marks(folder: Path, total: int) -> np.ndarray:
    """Return a mark of the file of every index in a folder, 0 where there is none: uint64 [total].

    A set of all names would need a hundred times the memory.
    """
    marks = np.zeros(total, np.uint64)
    for name, entry in _entries(folder):
        index = mixture_index(entry.name)
        if index is not None and 0 <= index < total:
            marks[index] = _mark(name, entry.stat().st_size)
    return marks


def _mark(name: str, size: int) -> int:
    """Put a checksum of a file's name and its size in bytes into one whole number of 64 bits."""
    return zlib.crc32(name.encode(errors="surrogateescape")) << 32 | size & 0xFFFFFFFF


def _refuse_foreign(sidecar: Path, folders: list[Path], settings: dict) -> None:
    if sidecar.is_file():
        changed = manifests.changed(read_settings(sidecar), settings)
        if changed:
            raise UserError(
                f"{sidecar.parent}: the {sidecar.stem.removeprefix('manifest_')} files were made "
                f"with other settings ({changed}); --overwrite makes them again, or choose "
                "another data_path"
            )
        return
    for folder in folders:
        names = (name for name, _ in _entries(folder))
        found = next((n for n in names if Path(n).suffix.lower() in audio_io.SUFFIXES), None)
        if found and not Path(found).name.startswith(files.TEMPORARY):
            raise UserError(
                f"{folder}: holds audio that data_prep.py did not make (the first: {found}); "
                "move them away, choose another data_path, or use --overwrite to replace those "
                "that bear the names of a data set"
            )
