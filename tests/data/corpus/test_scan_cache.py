"""The cache of per-file facts: what has not changed is decoded once, and nothing harms a run."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import data_config, hiss, make_corpus, write_audio

from specmask.audio import io as audio_io
from specmask.config.schema import Config
from specmask.data.corpus import recordings, scan_cache
from specmask.data.corpus.scan_cache import ScanCache, Stamp

ALL = [f"{s}/{k}.wav" for s in ("anna", "bert", "carl") for k in range(2)]


def scan(config: Config) -> tuple[list, list[str]]:
    """Scan the speech; return the facts, and the paths that were decoded."""
    decoded = []

    def inspect(path: Path) -> dict | str:
        decoded.append(path.relative_to(config.data.clean_train_path).as_posix())
        return recordings.inspect(path)

    paths = [config.data.clean_train_path / n for n in audio_io.files(config.data.clean_train_path)]
    return list(scan_cache.facts(inspect, paths, config, "x")), decoded


@pytest.fixture
def old_corpus(tmp_path) -> Path:
    """Recordings that were written long ago."""
    root = make_corpus(tmp_path / "corpus")
    for path in root.rglob("*.wav"):
        os.utime(path, (1e9, 1e9))
    return root


def test_recordings_are_decoded_once(old_corpus, tmp_path):
    config = data_config(old_corpus, tmp_path / "out")
    first, decoded = scan(config)
    assert decoded == ALL
    assert scan(config) == (first, [])
    (config.work_path / scan_cache.FILE_NAME).unlink()  # always allowed
    assert scan(config) == (first, ALL)


@pytest.mark.parametrize("change", ["time", "size", "version", "new file"])
def test_what_has_changed_is_decoded_again(old_corpus, tmp_path, change, monkeypatch):
    config = data_config(old_corpus, tmp_path / "out")
    first, _ = scan(config)
    path = old_corpus / "clean_train/bert/0.wav"
    if change == "time":
        x = hiss(np.random.default_rng(9), 1.1)
        size = path.stat().st_size
        write_audio(path, x)
        assert path.stat().st_size == size
        os.utime(path, (1e9, 1e9 + 1))
    elif change == "size":
        write_audio(path, hiss(np.random.default_rng(9), 1.2))
        os.utime(path, (1e9, 1e9))
    elif change == "version":
        monkeypatch.setattr(scan_cache, "VERSION", scan_cache.VERSION + 1)
    else:
        new = write_audio(old_corpus / "clean_train/bert/5.wav", hiss(np.random.default_rng(9), 1))
        os.utime(new, (1e9, 1e9))
    found, decoded = scan(config)
    assert decoded == {"version": ALL, "new file": ["bert/5.wav"]}.get(change, ["bert/0.wav"])
    assert (found == first) == (change == "version")
    assert scan(config) == (found, [])


@pytest.mark.parametrize("damage", ["text", "cut", "zeros"])
def test_a_damaged_cache_is_made_again(old_corpus, tmp_path, damage):
    config = data_config(old_corpus, tmp_path / "out")
    first, _ = scan(config)
    path = config.work_path / scan_cache.FILE_NAME
    content = path.read_bytes()
    half = len(content) // 2
    damaged = {"text": b"[" * 100_000, "cut": content[:-20], "zeros": content[:half] + bytes(half)}
    path.write_bytes(damaged[damage])
    assert scan(config)[0] == first
    assert scan(config) == (first, [])


def test_a_file_that_may_still_change_is_not_kept(tmp_path):
    root = make_corpus(tmp_path / "corpus")  # written this very moment
    config = data_config(root, tmp_path / "out")
    assert scan(config)[1] == scan(config)[1] == ALL


def test_reasons_are_not_kept(old_corpus, tmp_path):
    """Permissions may be changed without a trace in size and time."""
    config = data_config(old_corpus, tmp_path / "out")
    bad = old_corpus / "clean_train/bert/0.wav"
    bad.write_bytes(b"")
    os.utime(bad, (1e9, 1e9))
    scan(config)
    assert scan(config)[1] == ["bert/0.wav"]


def test_without_a_folder_to_write_to_everything_is_decoded(old_corpus, tmp_path):
    (tmp_path / "out").write_text("a file")
    config = data_config(old_corpus, tmp_path / "out")
    assert scan(config)[1] == scan(config)[1] == ALL


def test_a_name_that_is_not_unicode(tmp_path):
    stamp = Stamp(b"/x/\xff.wav", 1, 2)
    with ScanCache(tmp_path / "scan.sqlite") as cache:
        cache.put(stamp, {"rate": 8000})
        assert cache.get(stamp) == {"rate": 8000}
        assert cache.get(stamp._replace(size=2)) is None


def put_many(path: Path, process: int) -> None:
    with ScanCache(path) as cache:
        for k in range(300):
            cache.put(Stamp(b"%d/%d" % (process, k), k, k), {"rate": process})


def test_two_processes_at_once(tmp_path):
    path = tmp_path / "scan.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=put_many, args=(path, n)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with ScanCache(path) as cache:
        for n in range(2):
            found = [cache.get(Stamp(b"%d/%d" % (n, k), k, k)) for k in range(300)]
            assert found == [{"rate": n}] * 300
