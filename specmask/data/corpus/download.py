"""Download of known corpora: resumable, checked, and unpacked safely.

An archive is downloaded to ``NAME.part`` and resumes there after an interruption (HTTP Range, with
If-Range so that a file that has changed is downloaded again). Then its size is compared with what
the server says, its MD5 with the published one where there is one, and every member of the archive
is read through its own checks (CRC of zip and gzip). Only then it gets its name and is unpacked,
into a temporary folder whose files are moved at the end.
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
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from specmask import files
from specmask.data.corpus.catalogue import Archive, Corpus
from specmask.errors import UserError

CHUNK = 1 << 20
TRIES = 5  # without progress
TIMEOUT_SECONDS = 60
RETRY_SECONDS = 1.0  # the first pause is twice this, and each after it twice the one before
UNPACKED_FACTOR = {".zip": 2.0, ".gz": 1.1}  # space for the content, as a multiple of the archive
RESERVE_BYTES = 100 << 20
TEMPORARY = ".fetch-"  # prefix of the folder that an archive is unpacked into


def fetch(corpus: Corpus, folder: Path, report: Callable[[str], None] = print) -> None:
    """Download and unpack a corpus, resuming where an earlier run stopped.

    Args:
        corpus: of the catalogue.
        folder: where it goes; archives are kept in ``folder/archives`` until they are unpacked.
        report: receives the progress, line by line.

    Raises:
        UserError: if the disk is too small, the server does not answer, a file is damaged, or
            another run is at work in the folder.
    """
    report(f"{corpus.title}\n  licence: {corpus.licence}\n  home:    {corpus.home}")
    store = folder / "archives"
    with files.held(folder):
        missing = [a for a in corpus.archives if not _done_file(folder, a).is_file()]
        refuse_small_disk(folder, missing)
        for archive in missing:
            path = download(archive, store, report)
            unpack(path, folder / archive.folder)
            _done_file(folder, archive).parent.mkdir(parents=True, exist_ok=True)
            _done_file(folder, archive).write_text(f"{archive.url}\n", encoding="utf-8")
            path.unlink()
        if store.is_dir() and not any(store.iterdir()):
            store.rmdir()
    report(f"{len(missing)} of {len(corpus.archives)} archives unpacked now, all are in {folder}")
    report(f"  [data] {corpus.use.replace('{}', str(folder))}")


def _done_file(folder: Path, archive: Archive) -> Path:
    """Return the path of the file that exists once an archive has been unpacked."""
    return folder / ".fetched" / f"{archive.name}.txt"


def refuse_small_disk(folder: Path, archives: list[Archive]) -> None:
    """Raise a UserError if the archives and their content do not fit on the disk.

    A size that only the server knows is added when it answers: see :func:`download`.
    """
    if archives:
        _refuse_less_space(folder, sum(a.size * (1 + _unpacked_factor(a.name)) for a in archives))


def _refuse_less_space(folder: Path, needed: float) -> None:
    existing = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + RESERVE_BYTES:
        raise UserError(
            f"{folder}: {free / 1e9:.1f} GB free, {(needed + RESERVE_BYTES) / 1e9:.1f} GB needed "
            "for archives and content; free some space or name another folder with --to"
        )


def _unpacked_factor(name: str) -> float:
    return UNPACKED_FACTOR.get(PurePosixPath(name).suffix, 1.0)


# ---------------------------------------------------------------- download


@dataclass(frozen=True)
class _Remote:
    """A file as its server describes it: size in bytes (0: unknown), and ETag or date."""

    size: int = 0
    version: str = ""


def download(archive: Archive, store: Path, report: Callable[[str], None] = print) -> Path:
    """Download one archive, check it, and give it its name.

    Raises:
        UserError: if it is not whole after five tries without progress, or fails its checks. A
            part stays for the next run; a file that has failed its checks is removed.
    """
    path = store / archive.name
    part = path.with_name(path.name + ".part")
    if path.is_file():
        return path  # it was checked before it got this name
    store.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = _size(part)
        try:
            remote = _transfer(archive, part)
            break
        except urllib.error.HTTPError as error:
            if error.code in (404, 403, 410):
                raise UserError(
                    f"{archive.url}: the server says {error.code} {error.reason}; the "
                    "corpus may have moved: download it by hand from its home and unpack it"
                ) from None
            problem: Exception = error
        except (OSError, HTTPException) as error:
            problem = error
        progress = _size(part) > before
        failures = 1 if progress else failures + 1
        if failures >= TRIES:
            raise UserError(
                f"{archive.url}: incomplete after {TRIES} tries without progress ({problem}); "
                "run the same command to resume"
            )
        if progress:
            report(f"  interrupted after {_size(part) / 1e6:.1f} MB, resuming")
        time.sleep(min(30, 2**failures) * RETRY_SECONDS)
    report(f"  {archive.name}: {_checked(archive, part, remote.size)}")
    part.replace(path)
    _version_file(part).unlink(missing_ok=True)
    return path


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _transfer(archive: Archive, part: Path) -> _Remote:
    """Download what is missing of a file; raises OSError if the connection ends too early."""
    have = _size(part)
    version = _version_file(part).read_text() if have and _version_file(part).is_file() else ""
    request = urllib.request.Request(archive.url, headers={"Accept-Encoding": "identity"})
    if have and version:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # no bytes after these: whole, or another file
            size = error.headers.get("Content-Range", "").rpartition("/")[2]
            if size == str(have):
                return _Remote(have, version)
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
        else:  # no ranges on this server, or another version: from the beginning
            have, total = 0, length
        found = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if found.startswith("W/"):  # says nothing of single bytes
            found = ""
        _version_file(part).write_text(found)
        if total:
            _refuse_less_space(part.parent, total - have + total * _unpacked_factor(archive.name))
        _copy(response, part, have, total)
    if total and _size(part) < total:
        raise OSError(f"the connection ended after {_size(part)} of {total} bytes")
    return _Remote(total, found)


def _copy(response: HTTPResponse, part: Path, have: int, total: int) -> None:
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


def _checked(archive: Archive, part: Path, size: int) -> str:
    """Check a whole file and return the checks it passed; remove it if it fails one."""
    found = _size(part)
    if size and found != size:
        problem = f"{found} bytes, expected {size}"
    elif archive.md5 and (md5 := _md5(part)) != archive.md5:
        problem = f"MD5 {md5}, expected {archive.md5}"
    else:
        problem = _damage(part)
    if problem:
        part.unlink()
        raise UserError(
            f"{archive.url}: download is corrupt ({problem}); it was removed, run the same "
            "command again"
        )
    checks = [f"{found / 1e6:.1f} MB" + ("" if size else " (the server names no size)")]
    checks.append("MD5 as published" if archive.md5 else "no published checksum known")
    return ", ".join([*checks, "archive whole"])


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _damage(path: Path) -> str:
    """Read all of an archive and return what is wrong with it; empty if nothing is."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            return f"{bad}: wrong checksum" if bad else ""
        if path.name.removesuffix(".part").endswith(".gz"):
            with gzip.open(path) as content:  # tarfile stops before the checksum at the end
                while content.read(CHUNK):
                    pass
        with tarfile.open(path) as tar:
            tar.getmembers()
    except Exception as error:  # zlib.error, lzma.LZMAError and others: no common parent
        return f"{type(error).__name__}: {error}"
    return ""


# ---------------------------------------------------------------- unpacking


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive: nothing outside of the folder, no links, no file over another.

    What killed runs have unpacked in part is removed.

    Raises:
        UserError: if a member would be outside, or a file of this name exists and is another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as name:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(name)  # drops drives, leading slashes and ".." from names
        else:
            try:
                with tarfile.open(path) as tar:
                    tar.extractall(name, filter=_files_alone)
            except tarfile.FilterError as error:
                raise UserError(
                    f"{path}: {error}; not unpacked: download the archive from its home again"
                ) from None
        _move(Path(name), folder)


def _files_alone(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Leave out links and devices, and refuse files outside of the folder."""
    return tarfile.data_filter(member, folder) if member.isreg() else None


def _move(temporary: Path, folder: Path) -> None:
    """Move every file to its place; one that exists already must have the same size."""
    for path in sorted(p for p in temporary.rglob("*") if p.is_file()):
        target = folder / path.relative_to(temporary)
        if target.exists() and target.stat().st_size != path.stat().st_size:
            raise UserError(f"{target}: exists already and is another file; move it away")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def from_mirror(corpus: Corpus, base: str) -> Corpus:
    """Return a corpus whose archives are in one folder of another server, under the same names."""
    archives = (replace(a, url=f"{base.rstrip('/')}/{a.name}") for a in corpus.archives)
    return replace(corpus, archives=tuple(archives))
