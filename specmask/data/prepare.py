"""The stages before a training, as their scripts run them: the data set and the STFT cache."""

from pathlib import Path

from specmask import parallel
from specmask.audio import media
from specmask.audio.io import write_rejected
from specmask.config.schema import Config
from specmask.config.types import KINDS, SPLITS, ini_name
from specmask.data import stft_cache
from specmask.data.mixtures import build, manifest, transcripts
from specmask.data.mixtures.plan import make_plans
from specmask.errors import UserError


def make(config: Config, overwrite: bool = False) -> None:
    """Make the files of a data set that are missing, and print what was done.

    Raises:
        UserError: if there is nothing to make it from, or its folders hold something else.
    """
    refuse_shared_folders(config)
    plans, warnings, rejected = make_plans(config)
    for line in dict.fromkeys(line for plan in plans for line in plan.layout):
        print(line)
    for warning in warnings:
        print(f"warning: {warning}")
    for split, files in rejected.items():
        path = write_rejected(config.data.data_path / f"{split}_rejected.csv", files)
        if path:
            print(f"{len(files)} {split} files set aside, the reasons are in {path}")
        if line := media.missing_line(r.path for r in files):
            print(f"warning: {split}: {line}")
    with build.locked(config):
        found = [build.status(plan, overwrite) for plan in plans]
        print(size_line(found), flush=True)
        for status in found:
            _make_split(status)


def refuse_shared_folders(config: Config) -> None:
    """Check that all folders of the splits that are made, and of their caches, are different.

    Raises:
        UserError: if two are the same: the files of one split would replace those of the other.
    """
    splits = [s for s in SPLITS if getattr(config.data, f"total_{s}_files")]
    keys = [f"{kind}_{s}_dir".lower() for s in splits for kind in KINDS]
    option: dict[Path, str] = {}  # by folder
    for key in [*keys, *(f"{s}_stft_dir" for s in splits)]:
        folder = getattr(config.stft, key).resolve()
        other = option.setdefault(folder, key)
        if other != key:
            raise UserError(
                f"[STFT] {ini_name(other)} and {ini_name(key)} are both {folder}; name two folders"
            )


def size_line(found: list[build.Status]) -> str:
    """Return one line on the size of a data set and on what is to be made of it.

    Raises:
        UserError: if a disk cannot hold it.
    """
    total = sum(s.plan.total for s in found)
    missing = sum(s.missing_count for s in found)
    text = f"data set: {total} files, {sum(s.plan.hours for s in found):.2f} h"
    if not missing:
        return f"{text}, all done"
    needed, free = map(build.gigabytes, build.disk_space(found))
    workers = parallel.worker_count(found[0].plan.config.compute.workers)
    return (
        f"{text}, {missing} to be made: {needed} of {free} free, "
        f"with {workers} {'worker' if workers == 1 else 'workers'}"
    )


def _make_split(status: build.Status) -> None:
    plan, summary = status.plan, build.make_missing(status)
    print(
        f"{summary.split}: {summary.total} files, {plan.hours:.2f} h, {summary.new} new, "
        f"from {len(plan.speech)} speech and {len(plan.noise)} noise recordings -> "
        f"{summary.manifest}"
    )
    if summary.surplus:
        print(f"note: {summary.surplus} files of a larger {summary.split} set stay in its folders")
    path = transcripts.write(plan)
    if path:
        print(f"transcripts of the files that hold whole recordings: {path}")


def transform(config: Config) -> None:
    """Make the STFT caches that are missing or stale, and print what was done.

    Raises:
        UserError: if the data set is missing, stale or damaged.
    """
    refuse_shared_folders(config)
    for split in SPLITS:
        if not getattr(config.data, f"total_{split}_files"):
            continue
        changed = stft_cache.outdated(config, split)
        files, size, made = stft_cache.build(config, split)
        state = "made" if made else "up to date"
        state += f" again ({changed})" if made and changed else ""
        print(f"{split}: {files} files, {size / 1e6:.0f} MB, {state} -> {config.stft.cache(split)}")
        if note := manifest.count_note(config, split, files):
            print(f"warning: {note}, then stft.py its spectra")
