"""Damaged and forged files: INI, sound, manifests, caches, checkpoints. Refused, or read."""

import contextlib
import io
import random
import re
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import chain
import numpy as np
import pytest
import soundfile as sf
from helpers import PROJECT_RATE, call_script, voice

from specmask.audio import io as audio_io
from specmask.config import ini as configuration
from specmask.data.corpus import recordings
from specmask.errors import UserError
from specmask.training import checkpoint, runs

pytestmark = pytest.mark.slow
LONGEST_SECONDS = 60  # that reading a damaged file may take
NUMBER = rb"[\w.+-]+"
WORDS = (
    b"", b"0", b"-1", b"1e9", b"nan", b"inf", b"9" * 20, b"9" * 400, b"null", b"[]", b"{}", b'"x"',
    b"[[1]]", b"[" * 5000, b"../../x", b"true", b"yes", b"1.5", b"-", b"\xff",
)  # fmt: skip


def assert_reason(error: Exception) -> None:
    assert str(error).strip(), "an error without a word"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> chain.Undisturbed:
    """A chain that nothing disturbs."""
    return chain.undisturbed(tmp_path_factory.mktemp("chain"))


def test_a_config_changed_at_random_is_accepted_or_refused(tmp_path, attempts, rng):
    from specmask import models

    path = chain.new_project(tmp_path / "ini")
    text = configuration.render(configuration.load(path))
    lines = text.splitlines()
    places = [k for k, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    numbers = [k for k in places if re.search(r"= -?[\d.]+$", lines[k])]
    words = (
        "", "0", "-1", "1e9", "nan", "inf", "yes", "no", "none", "0x10", "1,2", "ä", "../..",
        "%(x)s", "${y}", "[", "2.5", "all", "3e-4", "\\", "a = b", "--", "\u202e", "9" * 400,
    )  # fmt: skip
    accepted = 0
    for k in range(attempts(10_000)):
        changed = list(lines)
        if k % 2:  # half of them are likely to be accepted
            at = rng.choice(numbers)
            key, _, value = changed[at].partition("= ")
            changed[at] = f"{key}= {float(value) * rng.choice([0.5, 0.9, 1, 1.1, 2]):g}"
        else:
            for _ in range(rng.randint(1, 3)):
                at = rng.randrange(len(changed))
                kind = rng.randrange(5)
                if kind == 0:
                    changed[at] = changed[at].partition("=")[0] + "= " + rng.choice(words)
                elif kind == 1:
                    changed[at] = changed[at][: rng.randrange(len(changed[at]) + 1)]
                elif kind == 2:
                    changed.insert(at, rng.choice(changed))
                elif kind == 3:
                    changed[at] = "".join(rng.sample(changed[at], len(changed[at])))
                else:
                    changed[at] = rng.choice(words)
        path.write_text("\n".join(changed), encoding="utf-8")
        try:
            cfg = configuration.load(path)
        except UserError as error:
            assert_reason(error)
            continue
        accepted += 1
        if accepted % 100 == 1:
            try:
                models.build(cfg)
            except UserError as error:
                assert_reason(error)


def test_sound_files_changed_at_random_are_read_or_set_aside(tmp_path, attempts, rng):
    x = voice(np.random.default_rng(0), 0.4)
    originals = []
    for kind, subtype in (
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_24"), ("OGG", "OPUS"),
    ):  # fmt: skip
        memory = io.BytesIO()
        sf.write(memory, np.stack([x, x], 1), PROJECT_RATE, subtype, format=kind)
        originals.append((kind.lower(), memory.getvalue()))
    place = tmp_path / "sound"
    place.mkdir()
    for k in range(attempts(2_000)):
        kind, content = rng.choice(originals)
        changed = bytearray(content)
        for _ in range(rng.choice([1, 2, 8, 64])):
            # headers are worth more attention than samples
            at = rng.randrange(min(len(changed), 64 if rng.random() < 0.5 else len(changed)))
            changed[at] = rng.randrange(256)
        if rng.random() < 0.3:
            del changed[rng.randrange(len(changed)) :]
        path = place / f"{k}.{kind}"
        path.write_bytes(changed)
        try:
            samples, rate = audio_io.read(path)
            assert samples.ndim == 2 and rate > 0
        except audio_io.AudioError as error:
            assert_reason(error)
        recordings.inspect(path)
        path.unlink()


def test_own_files_changed_at_random_are_read_or_refused(undisturbed, tmp_path, attempts, rng):
    from specmask.training.state import read

    good, place = undisturbed.folder, tmp_path / "damaged"
    newest = runs.newest_first(good / "cp/run")[0].relative_to(good)
    scan = next((good / "data/.specmask").glob("scan*")).relative_to(good)
    verify, render = ("data_prep.py", "--verify"), ("data_prep.py", "--render", "training", "1")
    readers = {
        "data/manifest_training.csv": (verify, (*render, "--output", "again"), ("stft.py",)),
        "data/manifest_training.json": (("stft.py",), ("data_prep.py",)),
        scan.as_posix(): (("data_prep.py",),),
        "data/Training_STFT/cache.json": (("stft.py",),),
        newest.as_posix(): (("train.py", "--list"),),
    }
    for _ in range(attempts(1_000)):
        name = rng.choice(list(readers))
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        path = place / name
        if path.suffix == ".npz" and rng.random() < 0.5:  # the archive is whole, its state is not
            arrays, _ = checkpoint.read(path)
            with zipfile.ZipFile(path) as file:
                state = np.load(io.BytesIO(file.read("state.npy")))
            text = broken(str(state).encode(), rng).decode(errors="replace")
            np.savez(path, state=np.array(text), **arrays)
        else:
            path.write_bytes(broken(path.read_bytes(), rng))
        if path.suffix == ".npz":
            try:
                read(path)
            except (UserError, ValueError) as error:
                assert_reason(error)
        for script, *words in readers[name]:
            with at_most(LONGEST_SECONDS):
                done = call_script(
                    script, "--config", place / "config.ini", *chain.ARGUMENTS, *words, cwd=place
                )
            assert "Traceback" not in done.stderr, f"{name}: {script} {words}: {done}"
            assert done.returncode in (0, 1, 2), f"{name}: {script} {words}: {done}"


def broken(content: bytes, rng: random.Random) -> bytes:
    """Replace words or bytes, or cut the end off."""
    changed, kind = bytearray(content or b"\n"), rng.random()
    if kind < 0.5:
        for _ in range(rng.choice([1, 1, 2, 4])):
            if places := [m.span() for m in re.finditer(NUMBER, changed)]:
                first, last = rng.choice(places)
                changed[first:last] = rng.choice(WORDS)
    elif kind < 0.9:
        for _ in range(rng.choice([1, 2, 8, 64])):
            # the beginning and the end tell what lies between
            ends = rng.choice([range(len(changed))[:600], range(len(changed))[-600:]])
            changed[rng.choice(ends)] = rng.randrange(256)
    else:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Interrupt what takes longer, where the system can."""

    def stop(number: int, frame: object) -> None:
        pytest.fail(f"not done after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_forged_checkpoints_caches_and_manifests_are_refused(undisturbed, tmp_path):
    place, sprung = tmp_path / "forged", tmp_path / "sprung"
    shutil.copytree(undisturbed.folder, place)
    path = place / "config.ini"
    best, cache = place / "cp/run/best.npz", place / "data/Training_STFT/clean.npy"
    trap = io.BytesIO()
    np.save(trap, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    bad = trap.getvalue(), claims(10**13)  # a pickle, a huge shape
    shutil.rmtree(place / "enhanced")
    good = best.read_bytes()
    for content in (*bad, claims(10**7) + bytes(4 * 10**7)):
        best.write_bytes(first_replaced(good, content))
        chain.finish(chain.start("enhance.py", path), {2})
    best.write_bytes(good)
    manifest = place / "data/manifest_training.csv"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(",noisy1_", ",../../stolen/noisy1_", 1), encoding="utf-8")
    words = ("--render", "training", "0", "--output", tmp_path / "out/again")
    chain.finish(chain.start("data_prep.py", path, *words), {2})
    manifest.write_text(text, encoding="utf-8")
    shutil.rmtree(place / "cp")
    for content in bad:
        cache.write_bytes(content)
        chain.finish(chain.start("train.py", path), {2})
    assert not sprung.exists(), "a pickle was opened"
    assert not (tmp_path / "stolen").exists(), "a file was written where a manifest wanted it"


def claims(count: int) -> bytes:
    """Return the head of an .npy file of so many float32."""
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % count
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + head.ljust(117) + b"\n"


def first_replaced(archive: bytes, content: bytes) -> bytes:
    """Return a compressed copy of a .npz file with another first array."""
    memory = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as changed,
    ):
        for number, entry in enumerate(old.namelist()):
            changed.writestr(entry, old.read(entry) if number else content)
    return memory.getvalue()
