"""300 hostile files among 20 good ones: the run ends, each is named, and the totals are reached."""

import csv
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import PROJECT_RATE, call_script, make_project, voice, write_audio

from specmask.audio import io as audio_io

POSIX = os.name == "posix"
EACH = 15  # of 20 kinds
RATE = PROJECT_RATE
VOICE = voice(np.random.default_rng(1), 1.0)
REASONS = {  # by the name's beginning; None: strange, but to be used
    "header": "not readable as audio",
    "random": "not readable as audio",
    "text": "not readable as audio",
    "empty": "empty file",
    "cutwav": "truncated",
    "cutflac": "damaged",
    "cutogg": "truncated: the last page",
    "claims": "truncated",
    "single": "too short",
    "none": "no samples",
    "nan": "NaN or infinite",
    "inf": "NaN or infinite",
    "silence": "silent: peak",
    "dc": "silent: a constant",
    "loop": "not readable",
    "names": "silent: peak",
    "channels": None,
    "192k": None,
    "4k": None,
    "square": None,
}
NAMES = (
    "a b", "quote'", 'double"', "comma,", "semi;colon", "new\nline", "carriage\rreturn", "tab\t",
    "äöü 語 🎧", "-dash", "#hash", "100%", "back\\slash", "*?", "$(x)`y`",
)  # fmt: skip


def content(kind: str, k: int, rng: np.random.Generator, path: Path) -> Path:
    """Write hostile file k of a kind and return its path."""
    x = np.roll(VOICE, 211 * k) + rng.normal(0, 1e-3, RATE)
    if kind in ("header", "random", "text", "empty"):
        path.write_bytes(
            {
                "header": b"RIFF" + rng.bytes(4) + b"WAVEfmt " + rng.bytes(2000),
                "random": rng.bytes(3000 + k),
                "text": b"this is no audio\n" * (10 + k),
                "empty": b"",
            }[kind]
        )
    elif kind in ("cutwav", "cutflac", "cutogg"):
        path = path.with_suffix(f".{kind.removeprefix('cut')}")
        write_audio(path, x, RATE)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * (0.5 + 0.03 * k))])
    elif kind == "claims":
        write_audio(path, x, RATE)
        whole = bytearray(path.read_bytes())
        at = whole.index(b"data") + 4
        whole[at : at + 4] = struct.pack("<I", 0x7FFFEFFF - k)
        path.write_bytes(whole)
    elif kind == "loop":
        path.symlink_to(path.name) if k % 2 else path.symlink_to(f"gone{k}.wav")
    elif kind == "names":
        path = path.with_name(f"names{NAMES[k]}.wav")
        write_audio(path, np.zeros(RATE), RATE)
    else:
        signal, rate = {
            "single": (x[:1], RATE),
            "none": (x[:0], RATE),
            "nan": (np.where(np.arange(RATE) == 50 * k, np.nan, x), RATE),
            "inf": (np.where(np.arange(RATE) == 50 * k, -np.inf, x), RATE),
            "silence": (np.zeros(RATE), RATE),
            "dc": (np.full(RATE, (k + 1) / 20), RATE),
            "channels": (np.stack([x] * 8, 1) * (k + 1) / 20, RATE),
            "192k": (np.repeat(x, 12), 192_000),
            "4k": (x[: RATE // 2], 4000),
            "square": (np.sign(np.sin(np.arange(RATE) / (3 + k))), RATE),
        }[kind]
        write_audio(path, signal, rate, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A project with ten good files of speech and of noise, and 150 hostile ones beside each."""
    root = tmp_path_factory.mktemp("hostile")
    make_project(root)
    rng = np.random.default_rng(99)
    for name in ("speech", "noise"):
        for old in (root / name).rglob("*.wav"):
            old.unlink()
        for k in range(10):
            write_audio(root / name / f"good{k % 5}/{k}.wav", voice(rng, 1.5), RATE)
    kinds = [kind for kind in REASONS if POSIX or kind not in ("loop", "names")]
    for n, kind in enumerate(kinds):
        for k in range(EACH):
            where = root / ("speech", "noise")[(n + k) % 2] / f"good{k % 5}"
            content(kind, k, rng, where / f"{kind}{k}.wav")
    if POSIX:  # on top of the 300
        (root / "speech/good0/circle").symlink_to(root / "speech", target_is_directory=True)
        os.mkfifo(root / "speech/good0/pipe.wav")  # reading it would wait for ever
        odd = write_audio(root / "speech/good1/odd.wav", np.zeros(9), RATE)
        odd.rename(odd.with_name(os.fsdecode(b"\xff.wav")))
    (root / "noise/good0/folder.wav").mkdir()
    return root


def rejected(folder: Path) -> dict[str, str]:
    path = folder / "data/training_rejected.csv"
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.skipif(not POSIX, reason="names, links and pipes of POSIX systems")
def test_the_run_ends_and_names_them_all(folder, tmp_path):
    strange = [p for p in folder.rglob("*") if p.name.startswith(tuple(REASONS))]
    assert len(strange) == 300
    done = call_script("data_prep.py", "--config", folder / "config.ini", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = rejected(folder)
    for path in strange:
        reason = next(r for kind, r in REASONS.items() if path.name.startswith(kind))
        said = found.pop(str(path.relative_to(folder)), None)
        assert (said is None) == (reason is None), (path.name, said)
        assert reason is None or reason in said or "same content" in said, (path.name, said)
    assert found.pop("speech/good0/pipe.wav") == "not readable: not a regular file"
    assert "too short" in found.pop(os.fsdecode(b"speech/good1/\xff.wav"))
    assert found == {}
    for split, total in (("training", 12), ("validation", 4), ("testing", 4)):
        made = list((folder / f"data/NoisySpeech_{split}").glob("*.wav"))
        assert len(made) == total
        for path in made:
            x, rate = sf.read(path, dtype="int16")
            assert len(x) == RATE // 2 and rate == RATE and np.abs(x.astype(int)).max() < 32600
    ini = ("--config", folder / "config.ini")
    again = call_script("data_prep.py", "--verify", *ini, cwd=tmp_path)
    assert again.returncode == 0, again.stdout


@pytest.mark.skipif(not POSIX, reason="names, links and pipes of POSIX systems")
def test_the_doctor_ends_as_well(folder, tmp_path):
    options = ("--config", folder / "config.ini", "--set", f"data.data_path={tmp_path}")
    done = call_script("data_prep.py", "--check", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "check.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as f:
        rows = list(csv.DictReader(f))
    named = {(r["folder"], r["path"]) for r in rows if r["plan"] == "set aside"}
    assert len(named) >= 250
    problems = {Path(r["path"]).name: r["problem"] for r in rows}
    assert problems["square3.wav"] == "clipped"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_files_that_may_not_be_read(tmp_path):
    ini = make_project(tmp_path)
    for path in (tmp_path / "speech/a").iterdir():
        path.chmod(0)
    done = call_script("data_prep.py", "--config", ini, cwd=tmp_path)
    assert done.returncode == 0
    assert all("ermission denied" in reason for reason in rejected(tmp_path).values())
    assert len(rejected(tmp_path)) == 2


def test_lists_with_line_breaks_in_names(tmp_path):
    names = ["a\rb", "a\nb", 'a"b', "a,b", "a b"]
    path = audio_io.write_rejected(tmp_path / "x.csv", [audio_io.Rejected(n, "bad") for n in names])
    text = path.read_bytes().decode()
    assert text.startswith('path,reason\n"a\rb",bad\n"a\nb",bad\n') and text.endswith("a b,bad\n")
    with path.open(encoding="utf-8", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == names
