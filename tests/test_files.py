"""Atomic writing, and the lock of a folder."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

from specmask import files
from specmask.audio import io as audio_io
from specmask.errors import UserError


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("old", [None, "old"])
def test_nothing_half_done_appears(tmp_path, error, old):
    path = tmp_path / "some.txt"
    if old:
        path.write_text(old)
    with pytest.raises(error), files.replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() if old is None else path.read_text() == old
        raise error
    assert [p.name for p in tmp_path.iterdir()] == (["some.txt"] if old else [])
    assert old is None or path.read_text() == old


def test_replacing(tmp_path):
    path = tmp_path / "new/folder/some.wav"
    for text in ("first", "second"):
        with files.replacing(path) as temporary:
            assert temporary.suffix == ".wav" and temporary.parent == path.parent
            assert temporary not in audio_io.files(path.parent)
            temporary.write_text(text)
        assert path.read_text() == text
        assert [p.name for p in path.parent.iterdir()] == ["some.wav"]


# ---------------------------------------------------------------- locks


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        with files.held(tmp_path), pytest.raises(UserError, match="another run"):
            files.held(tmp_path).__enter__()


def test_a_lock_names_its_owner_and_ends_with_a_kill(tmp_path):
    program = (
        "import pathlib, sys, time\n"
        "from specmask import files\n"
        "with files.held(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"{tmp_path}.*process {process.pid} on .*; wait"):
            files.held(tmp_path).__enter__()
        process.kill()
        process.wait()
    with files.held(tmp_path):
        assert (tmp_path / ".specmask/owner").read_text().startswith(f"{os.getpid()} on ")


@pytest.mark.parametrize("written", [False, True])
def test_a_folder_that_only_the_lock_created_is_removed(tmp_path, written):
    folder = tmp_path / "new/folder"
    with files.held(folder):
        if written:
            (folder / "some.txt").write_text("x")
    assert folder.exists() is written


def test_an_empty_folder_of_the_user_stays(tmp_path):
    with files.held(tmp_path):
        pass
    assert tmp_path.is_dir()
