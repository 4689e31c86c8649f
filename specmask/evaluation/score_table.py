"""The table of scores: scores.csv, a row per file and system.

Conventions:
    A row is a dict: system, file (name of the noisy file, or of the enhanced one where there is
    none), clean_file, snr_db (None if not known), noise_type, speaker, lag (samples by which the
    file lags behind the clean one; None if not known), a float per metric (NaN if it could not be
    computed; no key where the metric does not apply), reason (empty if all metrics were computed),
    and digest (changes with what the row was made from). Rows of files that were cut also have
    extra_samples, by which the file was longer than the clean one. In memory a row may also have
    a seed, where a system was trained several times.
    While scoring, finished rows are appended to ``scores.partial.jsonl``, so that an interrupted
    run loses at most one of them.
    A row that lacks scores is used again like any other (a package that is installed later
    changes the digest), unless a file could not be used or a package failed: that may be fixed
    without a change of the digest.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from specmask.files import parse_json, write_table

FILE = "scores.csv"
PARTIAL = "scores.partial.jsonl"
KEYS = ("system", "file", "clean_file", "snr_db", "noise_type", "speaker", "lag")
LAST_KEYS = ("reason", "digest")
EXTRA = "extra_samples"
TEXT = (*KEYS, *LAST_KEYS)  # columns that are no metrics
# Reasons that scoring gives for files and packages.
_PASSING = re.compile(r"\b(clean|noisy|enhanced): |package \S+ (failed|has no usable network): ")


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
    """Write scores.csv, complete or not at all, and remove the partial file."""
    cut = [EXTRA] if any(EXTRA in row for row in rows) else []
    fields = [*KEYS, *cut, *metrics, *LAST_KEYS]
    write_table(folder / FILE, fields, [[row.get(key, "") for key in fields] for row in rows])
    (folder / PARTIAL).unlink(missing_ok=True)


def read(folder: Path) -> dict[str, dict]:
    """Return the rows in a folder by their digest, as far as they may be used again.

    A damaged file counts as missing: its rows are scored again.
    """
    found = {}
    for row in [*_finished(folder / FILE), *_partial(folder / PARTIAL)]:
        if row.get("digest") and not _PASSING.search(row.get("reason") or ""):
            found[row["digest"]] = row
    return found


@contextmanager
def appending(folder: Path | None) -> Iterator[Callable[[Mapping], None]]:
    """Yield a function that appends a row to the partial file; without a folder, does nothing."""
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
                yield {k: _value(k, text) for k, text in cells.items() if k in TEXT or text}
    except (OSError, ValueError, TypeError, AttributeError, csv.Error):
        return


def _value(key: str, text: str) -> object:
    if key in ("lag", EXTRA):
        return int(text) if text else None
    if key == "snr_db":
        return float(text) if text else None
    return text if key in TEXT else float(text)


def _partial(path: Path) -> Iterator[dict]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:  # the line that was being written when the run was killed
            continue
        if isinstance(row, dict):
            yield row
