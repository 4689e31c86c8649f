"""The manifest of a data set: one row a file, and beside it the settings of all.

manifest_training.csv     the rows in order of their index, when all files are there
manifest_training.json    the settings that the files depend on
"""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from specmask import audio
from specmask.config import Config, spelling
from specmask.dataset import COLUMNS, data_settings
from specmask.errors import UserError


def path_of(config: Config, split: str) -> Path:
    """Return where the manifest of a split lies."""
    return config.data.data_path / f"manifest_{split}.csv"


def read(config: Config, split: str) -> list[dict[str, str]]:
    """Return the rows of a finished split.

    Raises:
        UserError: if it is missing, or was made with other settings than the configuration's.
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
    rows = complete_rows(path)
    if not rows:
        raise UserError(f"{path}: holds no rows; run python data/data_prep.py --overwrite")
    return rows


def changed(old: dict, new: dict) -> str:
    """Say in words which of the new settings differ from the old ones; empty if none does."""
    return ", ".join(
        f"{spelling(key)} was {old.get(key)}, is {value}"
        for key, value in new.items()
        if old.get(key) != value
    )


def complete_rows(path: Path) -> list[dict[str, str]]:
    """Read rows, leaving out a last line that was cut off while it was written."""
    if not path.is_file():
        return []
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    found = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    return [r for r in found if set(r) == set(COLUMNS) and None not in r.values()]


def write_rows(path: Path, rows: Iterable[dict]) -> None:
    with (
        audio.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as f,
    ):
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    with audio.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_settings(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
