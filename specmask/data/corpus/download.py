"""Downloading known corpora from their homes: resumable, checked, and unpacked safely.

An archive is downloaded to ``NAME.part`` and goes on there after an interruption (HTTP Range, with
If-Range so that a file that has changed is begun again). Then its size is compared with what the
server says, its MD5 with the published one where there is one, and every member of the archive is
read through its own checks (CRC of zip and gzip). Only what passes bears its name and is unpacked,
into a temporary folder that is renamed at the end.
"""

import gzip
import hashlib
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from specmask.data.corpus.catalogue import Archive, Corpus
from specmask.errors import UserError

CHUNK = 1 << 20
TRIES = 5
TIMEOUT_SECONDS = 60
RETRY_SECONDS = 1.0  # the first pause is twice this, and each after it twice the one before
UNPACKED_FACTOR = {".zip": 2.0, ".gz": 1.1}  # space for the content, as a multiple of the archive
RESERVE_BYTES = 100 << 20


def fetch(corpus: Corpus, folder: Path, tell: Callable[[str], None] = print) -> list[Path]:
    """Download and unpack a corpus, going on where an earlier run stopped.

    Args:
        corpus: what to get.
        folder: where it goes; archives are kept in ``folder/archives`` until all are unpacked.
        tell: receives what happens, line by line.

    Returns:
        folders that were unpacked into.

    Raises:
        UserError: if the disk is too small, the server does not answer, or a file is damaged.
    """
    tell(f"{corpus.title}\n  licence: {corpus.licence}\n  home:    {corpus.home}")
    store, done = folder / "archives", []
    waiting = [a for a in corpus.archives if not _mark(folder, a).is_file()]
    refuse_small_disk(folder, waiting)
    for archive in waiting:
        path = download(archive, store, tell)
        unpack(path, folder / archive.folder)
        _mark(folder, archive).parent.mkdir(parents=True, exist_ok=True)
        _mark(folder, archive).write_text(f"{archive.url}\n", encoding="utf-8")
        path.unlink()
        done.append(folder / archive.folder)
    if store.is_dir() and not any(store.iterdir()):
        store.rmdir()
    tell(f"{len(done)} of {len(corpus.archives)} archives unpacked now, all are in {folder}")
    tell(f"  [data] {corpus.use.replace('{}', str(folder))}")
    return done


def _mark(folder: Path, archive: Archive) -> Path:
    """A file that says that an archive has been unpacked."""
    return folder / ".fetched" / f"{archive.name}.txt"


def refuse_small_disk(folder: Path, archives: list[Archive]) -> None:
    """Raise a UserError if the archives and their content do not fit on the disk.

    What a server must be asked for is added when it is known: see :func:`download`.
    """
    need = sum(a.size * (1 + _factor(a.name)) for a in archives)
    if archives:
        _refuse(folder, need)


def _refuse(folder: Path, need: float) -> None:
    where = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(where).free
    if free < need + RESERVE_BYTES:
        raise UserError(
            f"{folder}: {free / 1e9:.1f} GB free, {(need + RESERVE_BYTES) / 1e9:.1f} GB needed for "
            "archives and content; free some space or name another folder with --to"
        )


def _factor(name: str) -> float:
    return UNPACKED_FACTOR.get(PurePosixPath(name).suffix, 1.0)


# ---------------------------------------------------------------- download


@dataclass(frozen=True)
class _Answer:
    """What a server has said of a file: its size (0: unknown) and what tells its version."""

    size: int = 0
    version: str = ""


def download(archive: Archive, store: Path, tell: Callable[[str], None] = print) -> Path:
    """Download one archive, test it, and give it its name.

    Raises:
        UserError: if it cannot be had whole and right; what is there stays for the next run, but
            for a file that has the right size and is damaged, which is removed.
    """
    path = store / archive.name
    part = path.with_name(path.name + ".part")
    if path.is_file():
        return path  # it was tested before it got this name
    store.mkdir(parents=True, exist_ok=True)
    error: Exception | None = None
    answer = _Answer()
    for attempt in range(TRIES):
        if attempt:
            time.sleep(min(30, 2**attempt) * RETRY_SECONDS)
        before = part.stat().st_size if part.is_file() else 0
        try:
            answer = _transfer(archive, part)
            error = None
            break
        except urllib.error.HTTPError as problem:
            if problem.code in (404, 403, 410):
                raise UserError(
                    f"{archive.url}: the server says {problem.code} {problem.reason}; the "
                    "corpus may have moved: download it by hand from its home and unpack it"
                ) from None
            error = problem
        except (OSError, HTTPException) as problem:
            error = problem
        if part.is_file() and part.stat().st_size > before:
            tell(f"  interrupted after {part.stat().st_size / 1e6:.1f} MB, going on")
    if error is not None:
        raise UserError(
            f"{archive.url}: not whole after {TRIES} tries ({error}); the same command goes on "
            "from here"
        )
    tell(f"  {archive.name}: {_tested(archive, part, answer.size)}")
    part.replace(path)
    _version_file(part).unlink(missing_ok=True)
    return path


def _transfer(archive: Archive, part: Path) -> _Answer:
    """Get what is missing of a file; an OSError if it breaks off."""
    have = part.stat().st_size if part.is_file() else 0
    version = _version_file(part).read_text() if have and _version_file(part).is_file() else ""
    request = urllib.request.Request(archive.url, headers={"Accept-Encoding": "identity"})
    if have and version:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after what is there: whole, or another file
            total = error.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return _Answer(have, version)
            part.unlink()
            raise OSError("the file on the server has changed") from None
        raise
    with response:
        length = int(response.headers.get("Content-Length") or 0)
        if response.status == 206:
            start, total = _range(response.headers.get("Content-Range", ""))
            if start != have:
                part.unlink()
                raise OSError(f"the server sent bytes from {start} on, not from {have}")
        else:  # no ranges here, or another version: from the beginning
            have, total = 0, length
        found = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if found.startswith("W/"):  # says nothing of single bytes
            found = ""
        _version_file(part).write_text(found)
        if total:
            _refuse(part.parent, total - have + total * _factor(archive.name))
        _copy(response, part, have, total)
    size = part.stat().st_size
    if total and size < total:
        raise OSError(f"the connection ended after {size} of {total} bytes")
    return _Answer(total, found)


def _copy(response, part: Path, have: int, total: int) -> None:
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(
            total=total or None,
            initial=have,
            unit="B",
            unit_scale=True,
            desc=part.stem,
            disable=None,
        ) as bar,
    ):
        while block := response.read(CHUNK):
            file.write(block)
            bar.update(len(block))


def _range(text: str) -> tuple[int, int]:
    """Read ``bytes 100-999/1000``: the first byte and the size (0: unknown)."""
    first, _, total = text.removeprefix("bytes ").partition("/")
    try:
        return int(first.partition("-")[0]), int(total) if total.isdecimal() else 0
    except ValueError:
        raise OSError(f"Content-Range: {text}: not understood") from None


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _tested(archive: Archive, part: Path, size: int) -> str:
    """Test a whole file and say by what; remove it if it is wrong."""
    found = part.stat().st_size
    if size and found != size:
        problem = f"{found} bytes, expected {size}"
    elif archive.md5 and (md5 := _md5(part)) != archive.md5:
        problem = f"MD5 {md5}, expected {archive.md5}"
    else:
        problem = _damage(part)
    if problem:
        part.unlink()
        raise UserError(
            f"{archive.url}: what came is damaged ({problem}); it was removed, run the same "
            "command again"
        )
    checks = [f"{found / 1e6:.1f} MB" + ("" if size else " (the server names no size)")]
    checks.append("MD5 as published" if archive.md5 else "no published checksum known")
    return ", ".join([*checks, "archive whole"])


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _damage(path: Path) -> str:
    """Read all of an archive and say what is wrong with it; empty if nothing is."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            return f"{bad}: wrong checksum" if bad else ""
        if path.name.removesuffix(".part").endswith(".gz"):
            with gzip.open(path) as content:  # tarfile leaves before the checksum at the end
                while content.read(CHUNK):
                    pass
        with tarfile.open(path) as archive:
            archive.getmembers()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    except Exception as error:  # zlib.error, lzma.LZMAError: no common parent
        return f"{type(error).__name__}: {error}"
    return ""


# ---------------------------------------------------------------- unpacking


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive: nothing outside of the folder, no links, no file over another.

    Raises:
        UserError: if a member would land elsewhere, or a file of this name is there already and
            is another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as name:
        temporary = Path(name)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        with archive.open(member) as source:
                            _store(source, temporary, member.filename, path)
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile():
                        with archive.extractfile(member) as source:
                            _store(source, temporary, member.name, path)
        _move(temporary, folder)


def _store(source, root: Path, name: str, archive: Path) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
        raise UserError(
            f"{archive}: holds {name!r}, which would land outside of the folder; not unpacked: "
            "get the archive from its home again"
        )
    target = root.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _move(temporary: Path, folder: Path) -> None:
    """Give every file its place; one that is there already must have the same size."""
    for path in sorted(p for p in temporary.rglob("*") if p.is_file()):
        target = folder / path.relative_to(temporary)
        if target.exists() and target.stat().st_size != path.stat().st_size:
            raise UserError(f"{target}: is there already and is another file; move it away")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def from_mirror(corpus: Corpus, base: str) -> Corpus:
    """Return a corpus whose archives lie in one folder of another server, under the same names."""
    archives = (replace(a, url=f"{base.rstrip('/')}/{a.name}") for a in corpus.archives)
    return replace(corpus, archives=tuple(archives))
