"""scores.csv, a row a file and system: written, read back, and written on while scores are made.

Conventions:
    A row is a dict: system, file, clean_file, snr_db (None if not known), noise_type, speaker, lag
    (None if not known), a float a metric (NaN if it could not be measured; no key where the
    metric does not apply), reason, digest; in the memory also a seed, where a system was trained
    several times. While scoring, finished rows are appended to
    ``scores.partial.jsonl``, so that an interrupted run loses at most one of them.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from specmask.files import replacing

FILE = "scores.csv"
PARTIAL = "scores.partial.jsonl"
KEYS = ("system", "file", "clean_file", "snr_db", "noise_type", "speaker", "lag")
LAST_KEYS = ("reason", "digest")


def by_seed(rows: Sequence[Mapping]) -> dict[int | None, dict[str, Mapping]]:
    """Return the rows of a system by the seed of its training, if there is one, and by file."""
    found: dict[int | None, dict[str, Mapping]] = {}
    for row in rows:
        found.setdefault(row.get("seed"), {})[row["file"]] = row
    return found


def figures(tables: Sequence[Mapping[str, Mapping]], name: str) -> np.ndarray:
    """Return a metric [tables, files] of the files that are in all tables, NaN for a gap."""
    files = [file for file in tables[0] if all(file in table for table in tables)]
    return np.array([[table[file].get(name, math.nan) for file in files] for table in tables])


def write(folder: Path, rows: Sequence[Mapping], metrics: Iterable[str]) -> None:
    """Write scores.csv, complete or not at all, and remove what was kept in between."""
    with (
        replacing(folder / FILE) as path,
        path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        fields = [*KEYS, *metrics, *LAST_KEYS]
        writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / PARTIAL).unlink(missing_ok=True)


def read(folder: Path) -> dict[str, dict]:
    """Return the rows that a folder holds by their digest; those with gaps are left out.

    A damaged file counts as none: its rows are made again.
    """
    found = {}
    for row in [*_finished(folder / FILE), *_partial(folder / PARTIAL)]:
        if row.get("digest") and not row.get("reason"):
            found[row["digest"]] = row
    return found


@contextmanager
def appending(folder: Path | None) -> Iterator:
    """Give a function that keeps a row at once; without a folder it does nothing."""
    if folder is None:
        yield lambda row: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / PARTIAL).open("a", encoding="utf-8") as file:

        def keep(row: Mapping) -> None:
            file.write("\n" + json.dumps(row))  # a line cut short before must not spoil this one
            file.flush()

        yield keep


def _finished(path: Path) -> Iterator[dict]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            for cells in csv.DictReader(file):
                yield {key: _value(key, text) for key, text in cells.items() if _kept(key, text)}
    except (OSError, ValueError, AttributeError, csv.Error):
        return


def _kept(key: str | None, text: str | None) -> bool:
    return key in (*KEYS, *LAST_KEYS) or text not in ("", None)


def _value(key: str, text: str) -> object:
    if key == "lag":
        return int(text) if text else None
    if key == "snr_db":
        return float(text) if text else None
    return text if key in (*KEYS, *LAST_KEYS) else float(text)


def _partial(path: Path) -> Iterator[dict]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the line that was being written when the run was killed
            continue
        if isinstance(row, dict) and not any(
            math.isnan(v) for v in row.values() if isinstance(v, float)
        ):
            yield row
