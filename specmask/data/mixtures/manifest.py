"""The manifest of a data set: one row per file, and beside it the settings of all.

    manifest_training.csv             the rows in order of their index, when all files are done
    manifest_training.csv.partial     while files are being made, the journal: a row per file done
    manifest_training.json            the settings that the files depend on

Rows are read and written one at a time and never held all at once: a manifest of a million files
has about a gigabyte.
"""

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

import numpy as np

from specmask import files
from specmask.config.data import Augment
from specmask.config.schema import Config
from specmask.config.types import ini_name
from specmask.data.mixtures.plan import data_settings
from specmask.data.mixtures.render import COLUMNS, is_imported
from specmask.errors import UserError
from specmask.files import parse_json

Row = dict[str, str]
WHOLE = ("index", "samples", "sample_rate")  # columns of whole numbers, of so many digits:
DIGITS = 10
FIGURES = (
    "snr_db", "measured_snr_db", "measured_active_snr_db", "clean_level_db", "noise_level_db",
    "clean_gain", "noise_gain", "peak",
)  # fmt: skip
# Raised by reading the JSON columns of a row that was damaged.
DAMAGED_ROW = (ValueError, LookupError, TypeError, AttributeError)


def path_of(config: Config, split: str) -> Path:
    """Return the path of the manifest of a split."""
    return config.data.data_path / f"manifest_{split}.csv"


def stream(config: Config, split: str) -> Iterator[Row]:
    """Return an iterator over the rows of a finished split.

    Raises:
        UserError: at once if the manifest is missing or empty, or was made with other settings
            than the configuration's; while iterating if a row is missing or damaged.
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


def count_note(config: Config, split: str, count: int) -> str:
    """Return a sentence where a finished split has another number of files than ``[data]`` says.

    Empty for ready-made pairs, of which all are taken.

    Args:
        config: all of it.
        split: training, validation or testing.
        count: number of its files.
    """
    total = getattr(config.data, f"total_{split}_files")
    if count == total or is_imported(next(stream(config, split))):
        return ""
    remedy = "makes the rest" if count < total else "takes the first ones only"
    return (
        f"the data set has {count} {split} files where [data] total_{split}_files = {total}; "
        f"python data/data_prep.py {remedy}"
    )


def rows(path: Path) -> Iterator[Row]:
    """Yield the valid rows of a file; none if there is no such file.

    A last line that was cut off is not valid, and neither is a row whose numbers are no numbers.
    """
    if path.is_file():
        with path.open("rb") as file:
            for _, row in _located(file):
                yield row


def _located(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    """Yield the valid rows of a file with the positions of their first bytes."""
    lines = csv.reader(_lines(file))
    try:
        names = next(lines, [])
        if set(names) != set(COLUMNS):
            return
        position = file.tell()
        for values in lines:
            row = dict(zip(names, values, strict=False))
            if len(values) == len(names) and _is_valid(row):
                yield position, row
            position = file.tell()
    except csv.Error:  # a cell without an end, a carriage return
        return


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the complete lines of a file, in UTF-8 except where names hold other bytes."""
    for line in iter(file.readline, b""):
        if line.endswith(b"\n"):
            yield line.decode("utf-8", "surrogateescape")


def _is_valid(row: Row) -> bool:
    if not all(row[name].isdecimal() and len(row[name]) <= DIGITS for name in WHOLE):
        return False
    try:
        for name in FIGURES:
            float(row[name])
    except ValueError:
        return False
    return True


def index_of(row: Row) -> int:
    """Return the number of a row's file, from 0."""
    return int(row["index"])


def write(path: Path, content: Iterable[dict[str, Any]]) -> None:
    """Write rows below the names of the columns, complete or not at all."""
    with files.replacing(path) as temporary, _opened(temporary, "w") as file:
        writer = csv.DictWriter(files.Lines(file), COLUMNS)
        writer.writeheader()
        writer.writerows(content)


def _opened(path: Path, mode: Literal["w", "a"]) -> TextIO:
    # a buffer of one line: a kill loses no row that was written
    return path.open(mode, buffering=1, newline="\n", encoding="utf-8", errors="surrogateescape")


# ---------------------------------------------------------------- the journal


def journal_of(path: Path) -> Path:
    """Return the path of the journal of a manifest."""
    return path.with_suffix(".csv.partial")


def earlier(path: Path) -> Iterator[Row]:
    """Yield what earlier runs have written: the rows of the journal and then of the manifest.

    Earlier versions of the package kept some in a third file.
    """
    for part in (journal_of(path), path, path.with_suffix(".csv.kept")):
        yield from rows(part)


@contextmanager
def appending(journal: Path) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """Give a function that adds a row to a journal, which :func:`write` has begun."""
    with _opened(journal, "a") as file:
        yield csv.DictWriter(files.Lines(file), COLUMNS).writerow


def finish(path: Path, total: int) -> None:
    """Write the manifest from its journal, in order of the index, and remove the journal.

    Args:
        path: of the manifest.
        total: number of files, of which the journal has a row each.
    """
    journal = journal_of(path)
    positions = np.full(total, -1)
    with journal.open("rb") as file:
        for position, row in _located(file):
            positions[index_of(row)] = position

        def in_order() -> Iterator[Row]:
            for position in positions[positions >= 0].tolist():
                file.seek(position)
                yield dict(zip(COLUMNS, next(csv.reader(_lines(file))), strict=True))

        write(path, in_order())
    remove_journal(path)


def leftovers(path: Path) -> list[Path]:
    """Return what a stopped run has left of a manifest: its journal."""
    return [p for p in (journal_of(path), path.with_suffix(".csv.kept")) if p.exists()]


def remove_journal(path: Path) -> None:
    """Remove what a manifest was made from."""
    for part in leftovers(path):
        part.unlink()


# ---------------------------------------------------------------- the settings


def changed(old: dict, new: dict, source_options: Mapping[str, str] | None = None) -> str:
    """Describe which of the new settings differ from the old ones; empty if none does.

    Args:
        old, new: the settings.
        source_options: those that are digests of recordings, with the options of their folders.
    """
    folders = source_options or {}
    words = [
        f"the recordings used from {folders[key]} have changed"
        if key in folders
        else f"{ini_name(key)} was {old.get(key)}, is {value}"
        for key, value in new.items()
        if old.get(key) != value
    ]
    return ", ".join(dict.fromkeys(words))  # of pairs both are from one folder


def read_settings(path: Path) -> dict:
    """Return the settings beside a manifest; none if the file is missing or damaged.

    Options that are newer than the data set have their defaults.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or not content:
        return {}
    return Augment().model_dump(exclude={"rir_path"}) | content


def write_settings(path: Path, settings: dict) -> None:
    """Write the settings beside a manifest."""
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")
