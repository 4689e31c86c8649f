"""What reading a recording has told, kept on disk: what has not changed is not read again.

A line of JSON a recording in ``scan.jsonl``. It counts for a file of the same path, size and time
of last change; the last line wins. The file may be deleted at any time.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from specmask import parallel
from specmask.config.schema import Config

VERSION = 3  # of the facts: to be raised when others are found, or the same in another way
SETTLED_SECONDS = 2  # clocks of file systems are coarse: a younger file may change unnoticed


def facts(
    inspect: Callable[[Path], dict | str], paths: Sequence[Path], config: Config, label: str
) -> Iterator[dict | str]:
    """Yield ``inspect(path)`` for every path, in order, from disk where it is known already.

    Only facts are kept. The reason why a file cannot be used is found anew each time: it may
    have been its permissions.

    Args:
        inspect: returns a dict that JSON can hold, or a reason.
        paths: absolute.
        config: where the work is done, and in ``work_path`` where the facts are kept.
        label: of the progress bar.
    """
    path = config.work_path / "scan.jsonl"
    known = _read(path)
    stamps = [_stamp(p) for p in paths]
    todo = [p for p, stamp in zip(paths, stamps, strict=True) if stamp not in known]
    started_ns = time.time_ns()
    found = parallel.map_chunks(inspect, todo, config.compute.workers, label)
    with _appending(path) as keep:
        for stamp in stamps:
            if stamp in known:
                yield known[stamp]
                continue
            result = next(found)
            settled = stamp and stamp[2] < started_ns - SETTLED_SECONDS * 10**9
            if settled and isinstance(result, dict):
                keep(json.dumps([VERSION, *stamp, result]))
            yield result


def _stamp(path: Path) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_size, status.st_mtime_ns


def _read(path: Path) -> dict[tuple[str, int, int], dict]:
    known = {}
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                try:
                    version, name, size, mtime_ns, found = json.loads(line)
                except (ValueError, RecursionError):  # an empty line, one cut short by a kill
                    continue
                if version == VERSION:
                    known[name, size, mtime_ns] = found
    except (OSError, ValueError, TypeError):
        return {}
    return known


@contextmanager
def _appending(path: Path) -> Iterator[Callable[[str], None]]:
    """Give a function that keeps a line at once; does nothing where the folder is read-only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError:
        yield lambda line: None
        return
    with file:
        # the new line comes first: a line cut short before must not spoil this one
        yield lambda line: print("\n" + line, end="", file=file, flush=True)
