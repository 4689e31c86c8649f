"""Files: atomic writing, tables, digests, and the lock of a folder."""

import csv
import errno
import hashlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import filelock
import soundfile as sf

from specmask.errors import UserError

LOCK_FILES = ("lock", "owner")  # in the folder .specmask of a folder whose lock is held
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP)  # of file systems without: two runs write the same bytes


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; a killed run leaves no lock.

    Removes the folder if only the lock created it.

    Raises:
        UserError: if another process holds it.
    """
    private, new = folder / ".specmask", not folder.exists()
    private.mkdir(parents=True, exist_ok=True)
    path, owner = (private / name for name in LOCK_FILES)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        name = owner.read_text(encoding="utf-8") if owner.is_file() else "unknown"
        raise UserError(
            f"{folder}: another run is at work here (process {name}); wait until it has ended, or "
            "choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        owner.write_text(f"{os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()
        if new and not any(p != path for p in folder.rglob("*") if p.is_file()):
            shutil.rmtree(folder)


TEMPORARY = ".specmask-"  # prefix of the names of files that are being written
FULL_BYTES = 1 << 20  # free space below which a failed write means a full disk


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder that becomes ``path`` when the block succeeds.

    A file appears under its final name only when it is complete. The suffix is kept.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "some.txt"
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("complete")
    ...     path.exists()
    False
    >>> path.read_text()
    'complete'
    >>> shutil.rmtree(path.parent)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not tempfile.mkstemp: its files can be read by their owner only
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, sf.LibsndfileError):  # it does not say why a write failed
            number = _write_error(path.parent)
            raise OSError(number, os.strerror(number), str(path)) from None
        raise


def _write_error(folder: Path) -> int:
    if not os.access(folder, os.W_OK):
        return errno.EACCES
    return errno.ENOSPC if shutil.disk_usage(folder).free < FULL_BYTES else errno.EIO


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> Path | None:
    """Write rows as CSV, complete or not at all, or remove an old file when there are none.

    Returns:
        the path, None without rows.
    """
    if not rows:
        path.unlink(missing_ok=True)
        return None
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(Lines(file)).writerows((columns, *rows))
    return path


class Lines:
    r"""A text file for csv: its lines end in \n.

    csv itself ends them in \r\n, and so quotes names that hold a \r.
    """

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, line: str) -> None:
        """Write a line of csv."""
        self.file.write(line.removesuffix("\r\n") + "\n")


def digest(path: Path) -> str:
    """Return the BLAKE2b digest of a file's content: 24 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


def relative_to(folder: Path, path: Path) -> str:
    """Return a path as seen from a folder, with slashes, so that both can be moved together."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        return path.resolve().as_posix()


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if it is none, or nested too deeply for the interpreter.

    >>> parse_json("[1, 2]")
    [1, 2]
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
