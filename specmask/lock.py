"""One run at a time in a folder, by a lock that the operating system drops with the process."""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
