"""The making of a data set: what is missing is rendered, and the manifest written."""

import csv
import functools
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from specmask import audio, dataset, manifest, parallel
from specmask.config import KINDS
from specmask.dataset import COLUMNS, Plan
from specmask.errors import UserError

STALE_SECONDS = 600  # a temporary file this old belongs to a run that was killed
_OURS = re.compile(r"^(clnsp\d+|noisy\d+_SNRdb_-?[\d.inf]+(_clnsp\d+)?)\.wav$")


@dataclass(frozen=True)
class Made:
    """What a run did for one split: files in all, new ones, and ones beyond the total."""

    split: str
    total: int
    new: int
    surplus: int
    manifest: Path


def make(plan: Plan, overwrite: bool = False) -> Made:
    """Render every file of a plan that is not there yet, and write the manifest.

    Raises:
        UserError: if the folders hold files of other settings or of another origin.
    """
    path = manifest.path_of(plan.config, plan.split)
    sidecar, progress = path.with_suffix(".json"), path.with_suffix(".csv.partial")
    folders = [plan.config.stft.folder(kind, plan.split) for kind in KINDS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        _clear(folders, [path, progress, sidecar])
    else:
        _refuse_foreign(sidecar, folders, plan.settings())
    _sweep(folders)
    manifest.write_text(sidecar, json.dumps(plan.settings(), indent=1))

    rows = {
        int(r["index"]): r for r in manifest.complete_rows(path) + manifest.complete_rows(progress)
    }
    surplus = sum(i >= plan.total for i in rows)
    sizes = 44 + 2 * plan.samples  # a WAV header and 16-bit samples
    rows = {i: r for i, r in rows.items() if i < plan.total and _is_written(r, plan, sizes)}
    missing = [i for i in range(plan.total) if i not in rows]
    if not missing and len(manifest.complete_rows(path)) == plan.total:
        return Made(plan.split, plan.total, 0, surplus, path)
    manifest.write_rows(progress, rows.values())
    with progress.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        render_one = functools.partial(dataset.render, plan=plan)
        for row in parallel.map_chunks(
            render_one, missing, plan.config.compute.workers, f"mix {plan.split}"
        ):
            writer.writerow(row)
            file.flush()
            rows[row["index"]] = row
    manifest.write_rows(path, (rows[i] for i in range(plan.total)))
    progress.unlink()
    return Made(plan.split, plan.total, len(missing), surplus, path)


def _refuse_foreign(sidecar: Path, folders: list[Path], settings: dict) -> None:
    if sidecar.is_file():
        changed = manifest.changed(manifest.read_settings(sidecar), settings)
        if changed:
            raise UserError(
                f"{sidecar.parent}: the {sidecar.stem.removeprefix('manifest_')} files were made "
                f"with other settings ({changed}); --overwrite makes them again, or choose "
                "another data_path"
            )
        return
    for folder in folders:
        found = next((p for p in folder.iterdir() if p.suffix.lower() in audio.SUFFIXES), None)
        if found:
            raise UserError(
                f"{folder}: holds audio that data_prep.py did not make (the first: {found.name}); "
                "move them away, choose another data_path, or use --overwrite to replace those "
                "that bear the names of a data set"
            )


def _clear(folders: list[Path], files: list[Path]) -> None:
    """Remove what an earlier run made, and nothing else."""
    for path in files:
        path.unlink(missing_ok=True)
    for folder in folders:
        for path in folder.iterdir():
            if _OURS.match(path.name):
                path.unlink()


def _sweep(folders: list[Path]) -> None:
    """Remove temporary files that a killed run left behind."""
    for folder in folders:
        for path in folder.glob(".specmask-*"):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink(missing_ok=True)


def _is_written(row: dict[str, str], plan: Plan, size: int) -> bool:
    for kind, column in zip(KINDS, ("clean_file", "noise_file", "noisy_file"), strict=True):
        path = plan.config.stft.folder(kind, plan.split) / row[column]
        if not path.is_file() or path.stat().st_size != size:
            return False
    return True
