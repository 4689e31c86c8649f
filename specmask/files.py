"""Files: atomic writing, tables, digests, and the lock of a folder."""

import csv
import errno
import hashlib
import io
import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from specmask.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

FAR = 1 << 30  # Windows locks bytes and not files: one beyond the text


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; its file stays, a kill leaves no lock.

    A folder that was made for its lock alone goes again.

    Raises:
        UserError: if another process holds it.
    """
    path, new = folder / ".specmask" / "lock", not folder.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("a+b") as file:
            if not _taken(file):
                file.seek(0)
                owner = file.read(200).decode(errors="replace") or "unknown"
                raise UserError(
                    f"{folder}: another run is at work here (process {owner}); wait until it has "
                    "ended, or choose another folder"
                )
            file.truncate(0)
            file.write(f"{os.getpid()} on {platform.node()}".encode())
            file.flush()
            yield
    finally:
        if new and not any(p != path for p in folder.rglob("*") if p.is_file()):
            shutil.rmtree(folder)


def _taken(file: BinaryIO) -> bool:
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: two runs would write the same bytes
        return True
    return True


TEMPORARY = ".specmask-"  # how the names of files that are being written begin
FULL_BYTES = 1 << 20  # a disk with less than this is taken as full when a write has failed


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder that becomes ``path`` when the block succeeds.

    A file appears under its final name only when it is complete. The suffix is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not tempfile.mkstemp: its files can be read by their owner only
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, sf.LibsndfileError):  # a write failed, and it does not say why
            number = _write_error(path.parent)
            raise OSError(number, os.strerror(number), str(path)) from None
        raise


def _write_error(folder: Path) -> int:
    if not os.access(folder, os.W_OK):
        return errno.EACCES
    return errno.ENOSPC if shutil.disk_usage(folder).free < FULL_BYTES else errno.EIO


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> Path | None:
    """Write rows as CSV, complete or not at all, or remove an old file when there are none."""
    if not rows:
        path.unlink(missing_ok=True)
        return None
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for row in (columns, *rows):
            line = io.StringIO()
            csv.writer(line).writerow(row)  # ends in \r\n, so that names with a \r are quoted
            file.write(line.getvalue().removesuffix("\r\n") + "\n")
    return path


def digest(path: Path) -> str:
    """Return what tells this file from every other: 24 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()
