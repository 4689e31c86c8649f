"""Cache of per-file facts on disk, so that a recording that has not changed is not decoded again.

An SQLite table, one row per recording. A row counts for a file of the same path, size and time of
last change. The file may be deleted at any time.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from specmask import parallel
from specmask.config.schema import Config
from specmask.files import parse_json

FILE_NAME = "scan.sqlite"
VERSION = 4  # of the facts: to be raised when others are found, or the same in another way
LOCK_SECONDS = 30  # that a process waits for another one
SETTLED_SECONDS = 2  # clocks of file systems are coarse: a younger file may change unnoticed

Facts = dict[str, Any]


class Stamp(NamedTuple):
    """State of a file that its facts were found in; the path as bytes, since not all are text."""

    path: bytes
    size: int
    mtime_ns: int


class ScanCache:
    """The table on disk, as a context manager; in memory where it cannot be on disk.

    Several processes may use it at once.
    """

    def __init__(self, path: Path):
        try:
            self._table = _opened(path)
        except (OSError, sqlite3.Error):
            self._table = _opened(Path(":memory:"))

    def get(self, stamp: Stamp) -> Facts | None:
        """Return the facts of a file in this state, or None."""
        try:
            row = self._table.execute(
                "SELECT facts FROM files WHERE path = ? AND size = ? AND mtime_ns = ? "
                "AND version = ?",
                (*stamp, VERSION),
            ).fetchone()
            return parse_json(row[0]) if row else None
        except (sqlite3.Error, ValueError):  # locked for long, damaged
            return None

    def put(self, stamp: Stamp, facts: Facts) -> None:
        """Keep the facts of a file at once, so that a kill loses none; a full disk keeps none."""
        with contextlib.suppress(sqlite3.Error):
            self._table.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
                (*stamp, VERSION, json.dumps(facts)),
            )

    def __enter__(self) -> "ScanCache":
        return self

    def __exit__(self, *error: object) -> None:
        self._table.close()


def _opened(path: Path) -> sqlite3.Connection:
    if str(path) != ":memory:":
        path.parent.mkdir(parents=True, exist_ok=True)
    table = sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)
    try:
        table.execute("PRAGMA synchronous = OFF")  # what a power failure takes is found again
        table.execute(
            "CREATE TABLE IF NOT EXISTS files "
            "(path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, version INTEGER, facts TEXT) "
            "WITHOUT ROWID"
        )
        sound = table.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError:  # locked for long, read-only
        table.close()
        raise
    except sqlite3.DatabaseError:  # no database
        sound = False
    if not sound:
        table.close()
        path.unlink()
        return _opened(path)
    return table


def facts(
    inspect: Callable[[Path], Facts | str], paths: Sequence[Path], config: Config, label: str
) -> Iterator[Facts | str]:
    """Yield ``inspect(path)`` for every path, in order, from the cache where it is known.

    Only facts are kept. The reason why a file cannot be used is determined again each time: it
    may have been its permissions.

    Args:
        inspect: returns a dict that JSON can hold, or a reason.
        paths: absolute.
        config: with the number of workers, and the folder ``work_path`` of the cache.
        label: of the progress bar.
    """
    with ScanCache(config.work_path / FILE_NAME) as cache:
        stamps = [_stamp(p) for p in paths]
        known = [cache.get(stamp) if stamp else None for stamp in stamps]
        todo = [p for p, found in zip(paths, known, strict=True) if found is None]
        settled_ns = time.time_ns() - SETTLED_SECONDS * 10**9
        inspected = parallel.map_chunks(inspect, todo, config.compute.workers, label)
        for stamp, found in zip(stamps, known, strict=True):
            if found is not None:
                yield found
                continue
            result = next(inspected)
            if isinstance(result, dict) and stamp and stamp.mtime_ns < settled_ns:
                cache.put(stamp, result)
            yield result


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(os.fsencode(path), status.st_size, status.st_mtime_ns)
