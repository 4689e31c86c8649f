"""Downloads against a server on this machine that does everything that servers do wrong."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_error_line, run_script

from specmask import files
from specmask.data.corpus import catalogue, download
from specmask.data.corpus.catalogue import Archive, Corpus
from specmask.errors import UserError


@dataclass
class Shop:
    """Files by path, and how they are served."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    version: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    claimed: int | None = None  # Content-Length instead of the right one
    status: int = 0
    shift: int = 0  # of the bytes that a range begins with
    seen: list[str] = field(default_factory=list)  # Range of each request
    base: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, shop: Shop, *args):
        self.shop = shop
        super().__init__(*args)

    def log_message(self, *args):
        pass

    def do_GET(self):
        shop = self.shop
        wanted = self.headers.get("Range", "")
        shop.seen.append(wanted)
        content = shop.files.get(self.path)
        if shop.status or content is None:
            self.send_error(shop.status or 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        valid = self.headers.get("If-Range") == shop.version
        if not (wanted and shop.ranges and valid):
            start = 0
        elif start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            start += shop.shift
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if shop.version:
            self.send_header("ETag", shop.version)
        length = len(content) - start if shop.claimed is None else shop.claimed
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        stop = start + shop.cuts.pop(0) if shop.cuts else len(content)
        self.wfile.write(content[start:stop])


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.setattr(download, "RETRY_SECONDS", 0)
    found = Shop()
    handler = functools.partial(Handler, found)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        found.base = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes | str]) -> bytes:
    """A .tar.gz of files; a text is the target of a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


NOISE = np.random.default_rng(0).bytes(300_000)  # does not shrink
CONTENT = zipped(a__one_dot_wav=NOISE, a__two_dot_wav=b"two")


def get(shop: Shop, folder: Path, content: bytes = CONTENT, **options) -> Path:
    name = options.pop("name", "a.zip")
    shop.files[f"/{name}"] = content
    archive = Archive(f"{shop.base}/{name}", **options)
    return download.download(archive, folder, lambda line: None)


# ---------------------------------------------------------------- download


def test_one_piece(shop, tmp_path):
    lines = []
    shop.files["/x/a.zip"] = CONTENT
    md5 = hashlib.md5(CONTENT).hexdigest()
    archive = Archive(f"{shop.base}/x/a.zip", md5=md5)
    path = download.download(archive, tmp_path, lines.append)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
    assert lines == ["  a.zip: 0.3 MB, MD5 as published, archive whole"]
    assert get(shop, tmp_path) == path and len(shop.seen) == 1  # not again


def test_interruptions_go_on_where_they_were(shop, tmp_path):
    shop.cuts = [1000, 100_000, 7]
    assert get(shop, tmp_path).read_bytes() == CONTENT
    assert shop.seen == ["", "bytes=1000-", "bytes=101000-", "bytes=101007-"]


def test_tries_count_from_the_last_progress(shop, tmp_path):
    shop.cuts = [5000] * (2 * download.TRIES)
    assert get(shop, tmp_path).read_bytes() == CONTENT


def test_another_run_resumes(shop, tmp_path):
    shop.cuts = [25_000] + [0] * download.TRIES
    with pytest.raises(
        UserError, match=r"incomplete after 5 tries without.*same command to resume"
    ):
        get(shop, tmp_path)
    assert (tmp_path / "a.zip.part").stat().st_size == 25_000
    assert not (tmp_path / "a.zip").exists()
    shop.cuts = []
    assert get(shop, tmp_path).read_bytes() == CONTENT
    assert shop.seen[-1] == "bytes=25000-"


def test_servers_without_ranges_begin_again(shop, tmp_path):
    shop.ranges, shop.cuts = False, [1000, 2000]
    assert get(shop, tmp_path).read_bytes() == CONTENT


def test_a_file_of_no_version_is_never_patched_together(shop, tmp_path):
    shop.version, shop.cuts = None, [1000]
    assert get(shop, tmp_path).read_bytes() == CONTENT
    assert shop.seen == ["", ""]


def test_a_file_that_changes_between_two_runs_is_begun_again(shop, tmp_path):
    shop.cuts = [5000] + [0] * download.TRIES
    with pytest.raises(UserError):
        get(shop, tmp_path, zipped(other=NOISE[::-1]))
    shop.version, shop.cuts = '"two"', []
    assert get(shop, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_whole_already(shop, tmp_path):
    """The process was killed between the last byte and the renaming."""
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    (tmp_path / "a.zip.part.version").write_text('"one"')
    assert get(shop, tmp_path).read_bytes() == CONTENT
    assert shop.seen == [f"bytes={len(CONTENT)}-"]


def test_a_part_that_is_longer_than_the_file(shop, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.zip.part.version").write_text('"one"')
    assert get(shop, tmp_path).read_bytes() == CONTENT


def test_a_server_that_sends_another_range(shop, tmp_path):
    shop.cuts, shop.shift = [1000], 5
    assert get(shop, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("claimed", [len(CONTENT) + 1, len(CONTENT) * 2])
def test_a_length_that_is_never_reached(claimed, shop, tmp_path):
    shop.claimed, shop.ranges = claimed, False
    with pytest.raises(UserError, match="incomplete after 5 tries"):
        get(shop, tmp_path)


def test_a_server_that_names_no_length(shop, tmp_path):
    shop.claimed = -1
    lines = []
    shop.files["/a.zip"] = CONTENT
    download.download(Archive(f"{shop.base}/a.zip"), tmp_path, lines.append)
    assert "the server names no size" in lines[0] and "no published checksum known" in lines[0]


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.zip", CONTENT, {"md5": "0" * 32}),
        ("a.zip", flipped(CONTENT, 1000), {}),  # the CRC of the zip tells
        ("a.zip", CONTENT[:-30], {}),
        ("a.tar.gz", flipped(tarred({"a": NOISE}), 1000), {}),
        ("a.tar.gz", tarred({"a": NOISE})[:-2000], {}),
        ("a.zip", b"<html>sorry, we have moved</html>", {}),
    ],
)
def test_corrupt_bytes_are_refused_and_removed(name, content, options, shop, tmp_path):
    with pytest.raises(UserError, match="download is corrupt"):
        get(shop, tmp_path, content, name=name, **options)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".version"]


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, download.TRIES)])
def test_what_the_server_refuses(status, tries, shop, tmp_path):
    shop.status = status
    with pytest.raises(UserError, match=str(status)):
        get(shop, tmp_path)
    assert len(shop.seen) == tries


def test_nobody_answers(shop, tmp_path):
    with pytest.raises(UserError, match="incomplete after 5 tries"):
        download.download(Archive("http://127.0.0.1:9/a.zip"), tmp_path, lambda line: None)


def test_a_disk_that_is_too_small(shop, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 2 * len(CONTENT) + download.RESERVE_BYTES})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="GB free"):
        get(shop, tmp_path)  # the server's own number tells
    with pytest.raises(UserError, match=r"GB free.*--to"):
        download.refuse_small_disk(tmp_path / "not/there", [Archive("x/a.zip", len(CONTENT))])
    usage.free = int(3.1 * len(CONTENT)) + download.RESERVE_BYTES
    assert get(shop, tmp_path).is_file()


# ---------------------------------------------------------------- unpacking


@pytest.mark.parametrize("bad", ["../out.wav", "/etc/out.wav", "a/../../out.wav", "C:/out.wav"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_nothing_lands_outside(bad, kind, tmp_path):
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good.wav", b"1")
            archive.writestr(bad, b"2")
    else:
        path.write_bytes(tarred({"good.wav": b"1", bad: b"2"}))
    try:
        download.unpack(path, tmp_path / "in")
    except UserError as error:
        assert "outside the destination" in str(error)
    found = {p for p in tmp_path.rglob("*") if p.is_file()} - {path}
    assert all(p.is_relative_to(tmp_path / "in") for p in found)
    assert not Path("/etc/out.wav").exists()


def test_links_are_left_out(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(tarred({"link": "/etc", "link/passwd": b"1", "b": b"2"}))
    download.unpack(tmp_path / "x.tar.gz", tmp_path / "in")
    assert not any(p.is_symlink() for p in (tmp_path / "in").rglob("*"))
    assert (tmp_path / "in/link/passwd").read_bytes() == b"1"


def test_no_file_of_the_user_is_replaced(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(a=b"new one"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        download.unpack(tmp_path / "x.zip", tmp_path / "in")
    assert (tmp_path / "in/a").read_bytes() == b"mine"


def test_a_killed_unpacking_leaves_nothing(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(a=b"1"))
    killed = tmp_path / "in/.fetch-abc"
    killed.mkdir(parents=True)
    (killed / "a").write_bytes(b"half")
    download.unpack(tmp_path / "x.zip", tmp_path / "in")
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["a"]
    assert (tmp_path / "in/a").read_bytes() == b"1"


# ---------------------------------------------------------------- whole corpora


def test_two_runs_in_one_folder(shop, tmp_path):
    """The second would remove what the first one is unpacking."""
    corpus = Corpus("One", "free", "https://example.org", (Archive(f"{shop.base}/a.zip"),), "{}")
    with files.held(tmp_path), pytest.raises(UserError, match="another run is at work here"):
        download.fetch(corpus, tmp_path, lambda line: None)
    assert not shop.seen


def test_a_corpus_goes_on_with_the_archives_that_are_missing(shop, tmp_path):
    shop.files = {"/a.zip": zipped(clean__1=b"1"), "/b.zip": zipped(noisy__1=b"2")}
    corpus = Corpus(
        "Two parts", "free", "https://example.org",
        (Archive(f"{shop.base}/a.zip"), Archive(f"{shop.base}/b.zip", folder="sub")), "x = {}",
    )  # fmt: skip
    second = shop.files.pop("/b.zip")
    lines = []
    with pytest.raises(UserError, match="404"):
        download.fetch(corpus, tmp_path, lines.append)
    assert "licence: free" in lines[0]  # before anything was downloaded
    shop.files, shop.seen = {"/b.zip": second}, []
    download.fetch(corpus, tmp_path, lines.append)
    assert len(shop.seen) == 1 and lines[-1] == f"  [data] x = {tmp_path}"
    assert (tmp_path / "clean/1").read_bytes() == b"1"
    assert (tmp_path / "sub/noisy/1").read_bytes() == b"2"
    assert not (tmp_path / "archives").exists()


def test_the_table_is_complete():
    CORPORA = catalogue.load()
    assert {"ms-snsd", "esc-50", "voicebank-demand", "noizeus"} <= set(CORPORA)
    assert sum(name.startswith("librispeech-") for name in CORPORA) == 7
    assert len(CORPORA["noizeus"].archives) == 33
    for corpus in CORPORA.values():
        names = [a.name for a in corpus.archives]
        assert len(set(names)) == len(names) and corpus.licence and corpus.home
        for archive in corpus.archives:
            assert archive.url.startswith("https://") and len(archive.md5) in (0, 32)


def test_the_script(shop, tmp_path):
    listing = run_script("data/fetch.py", cwd=tmp_path)
    assert listing.returncode == 0 and "CC BY 4.0" in listing.stdout
    assert_error_line(
        run_script("data/fetch.py", "esc50", cwd=tmp_path), "esc50: unknown", "esc-50"
    )
    shop.files["/master.zip"] = zipped(**{"ESC-50-master__audio__1_dot_wav": b"x"})
    done = run_script(
        "data/fetch.py", "esc-50", "--to", tmp_path / "esc", "--mirror", shop.base, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "CC BY-NC" in done.stdout
    assert (tmp_path / "esc/ESC-50-master/audio/1.wav").read_bytes() == b"x"
