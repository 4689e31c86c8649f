"""The manifest of a data set: one row a file, and beside it the settings of all.

    manifest_training.csv             the rows in order of their index, when all files are there
    manifest_training.json            the settings that the files depend on
    manifest_training.csv.kept        while files are being made: rows of earlier runs,
    manifest_training.csv.partial     and of this one

Rows are read and written one after the other, and never held all at once: a manifest of a million
files has about a gigabyte.
"""

import csv
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from specmask import files
from specmask.config.schema import Config
from specmask.config.types import ini_name
from specmask.data.mixtures.plan import data_settings
from specmask.data.mixtures.render import COLUMNS
from specmask.errors import UserError

Row = dict[str, str]
WHOLE = ("index", "samples", "sample_rate")  # columns of whole numbers, of so many digits:
DIGITS = 10
FIGURES = (
    "snr_db", "measured_snr_db", "measured_active_snr_db", "clean_level_db", "noise_level_db",
    "clean_gain", "noise_gain", "peak",
)  # fmt: skip
# What comes of reading the pieces and what was drawn in a row that somebody has damaged.
NONSENSE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_TEXT = {"newline": "\n", "encoding": "utf-8", "errors": "surrogateescape"}


def path_of(config: Config, split: str) -> Path:
    """Return where the manifest of a split lies."""
    return config.data.data_path / f"manifest_{split}.csv"


def stream(config: Config, split: str) -> Iterator[Row]:
    """Return an iterator over the rows of a finished split.

    Raises:
        UserError: if it is missing or empty, or was made with other settings than the
            configuration's; at once, not with the first row. If a row is missing or damaged; when
            it is its turn.
    """
    path = path_of(config, split)
    if not path.is_file():
        raise UserError(f"{path}: no such data set; make it with python data/data_prep.py")
    different = changed(read_settings(path.with_suffix(".json")), data_settings(config))
    if different:
        raise UserError(
            f"{path}: made with other settings ({different}); "
            "make it again with python data/data_prep.py --overwrite"
        )
    found = rows(path)
    first = next(found, None)
    if first is None:
        raise UserError(f"{path}: holds no rows; run python data/data_prep.py --overwrite")
    return _gapless(path, itertools.chain([first], found))


def _gapless(path: Path, found: Iterable[Row]) -> Iterator[Row]:
    for position, row in enumerate(found):
        if index_of(row) != position:
            raise UserError(
                f"{path}: row {position} is missing or damaged; run python data/data_prep.py, "
                "which makes it again"
            )
        yield row


def read(config: Config, split: str) -> list[Row]:
    """Return all rows of a finished split at once, also where some are missing.

    Raises:
        UserError: as :func:`stream` at once.
    """
    stream(config, split)
    return list(rows(path_of(config, split)))


def rows(path: Path) -> Iterator[Row]:
    """Yield the sound rows of a file, if there is one.

    A last line that was cut off is none, and neither is a row whose numbers are no numbers.
    """
    if not path.is_file():
        return
    with path.open(**_TEXT) as file:
        lines = csv.reader(line for line in file if line.endswith("\n"))
        try:
            names = next(lines, [])
            if set(names) != set(COLUMNS):
                return
            for values in lines:
                row = dict(zip(names, values, strict=False))
                if len(values) == len(names) and _is_sound(row):
                    yield row
        except csv.Error:  # a cell without an end, a carriage return
            return


def _is_sound(row: Row) -> bool:
    if not all(row[name].isdecimal() and len(row[name]) <= DIGITS for name in WHOLE):
        return False
    try:
        for name in FIGURES:
            float(row[name])
    except ValueError:
        return False
    return True


def merged(*paths: Path) -> Iterator[Row]:
    """Yield the rows of several files in order of their index, each index once."""
    last = -1
    for row in heapq.merge(*map(rows, paths), key=index_of):
        if index_of(row) > last:
            last = index_of(row)
            yield row


def index_of(row: dict) -> int:
    """Return the number of a row's file, from 0."""
    return int(row["index"])


def write(path: Path, content: Iterable[dict]) -> int:
    """Write rows, complete or not at all, and return their number."""
    count = 0
    with files.replacing(path) as temporary, appending(temporary) as add:
        for row in content:
            add(row)
            count += 1
    return count


@contextmanager
def appending(path: Path) -> Iterator[Any]:
    """Start a file with the names of the columns, and give a function that adds a row."""
    with path.open("w", **_TEXT) as file:
        writer = csv.DictWriter(_Lines(file), COLUMNS)
        writer.writeheader()
        yield writer.writerow


class _Lines:
    r"""Ends lines with \n, where csv thinks of \r\n and therefore quotes names that hold a \r."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")


def changed(old: dict, new: dict) -> str:
    """Say in words which of the new settings differ from the old ones; empty if none does."""
    return ", ".join(
        f"{ini_name(key)} was {old.get(key)}, is {value}"
        for key, value in new.items()
        if old.get(key) != value
    )


def read_settings(path: Path) -> dict:
    """Return the settings beside a manifest; none if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_settings(path: Path, settings: dict) -> None:
    """Write the settings beside a manifest."""
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")
