"""Files that somebody has damaged or forged, as robustness.py reads them; no benchmark itself.

Every attack works in a folder of its own, makes ``count`` attempts from a generator, and returns
how often what happened.
"""

import contextlib
import io
import random
import re
import shutil
import signal
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chain
import numpy as np
import project
import soundfile as sf
from chain import Harm

from specmask.audio import io as audio_io
from specmask.config import ini as configuration
from specmask.data.corpus import recordings
from specmask.errors import UserError
from specmask.training import checkpoint, runs

LONGEST_SECONDS = 60  # that reading a damaged file may take
NUMBER = rb"[\w.+-]+"
WORDS = (
    b"", b"0", b"-1", b"1e9", b"nan", b"inf", b"9" * 20, b"9" * 400, b"null", b"[]", b"{}", b'"x"',
    b"[[1]]", b"[" * 5000, b"../../x", b"true", b"yes", b"1.5", b"-", b"\xff",
)  # fmt: skip


def one_line(error: Exception) -> None:
    if not str(error).strip():
        raise Harm("an error without a word")


def ini(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Change config.ini at random; what is accepted is planned and built."""
    from specmask import models

    path = chain.new(folder / "ini")
    text = configuration.render(configuration.load(path))
    lines = text.splitlines()
    places = [k for k, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    numbers = [k for k in places if re.search(r"= -?[\d.]+$", lines[k])]
    words = (
        "", "0", "-1", "1e9", "nan", "inf", "yes", "no", "none", "0x10", "1,2", "ä", "../..",
        "%(x)s", "${y}", "[", "2.5", "all", "3e-4", "\\", "a = b", "--", "\u202e", "9" * 400,
    )  # fmt: skip
    hits: Counter = Counter()
    for k in range(count):
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
            one_line(error)
            hits["refused"] += 1
            continue
        hits["accepted"] += 1
        if hits["accepted"] % 100 == 1:
            try:
                models.build(cfg)
                hits["network built"] += 1
            except UserError as error:
                one_line(error)
    return dict(hits)


def sound(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Change bytes of sound files at random; scan them and enhance some."""
    x = project.voice(np.random.default_rng(0), 0.4)
    originals = []
    for kind, subtype in (
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_24"), ("OGG", "OPUS"),
    ):  # fmt: skip
        memory = io.BytesIO()
        sf.write(memory, np.stack([x, x], 1), project.RATE, subtype, format=kind)
        originals.append((kind.lower(), memory.getvalue()))
    place = folder / "sound"
    place.mkdir()
    hits: Counter = Counter()
    for k in range(count):
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
            hits["read"] += 1
        except audio_io.AudioError as error:
            one_line(error)
            hits["refused"] += 1
        found = recordings.inspect(path)
        hits["scanned" if isinstance(found, dict) else "set aside by the scan"] += 1
        path.unlink()
    return dict(hits)


def damaged(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Change what the project itself has written at random, and run what reads it."""
    from specmask.training.state import restored

    good, place = chain.whole(folder.parent).folder, folder / "damaged"
    newest = runs.newest_first(good / "cp/run")[0].relative_to(good)
    verify, render = ("data_prep.py", "--verify"), ("data_prep.py", "--render", "training", "1")
    readers = {
        "data/manifest_training.csv": (verify, (*render, "--output", "again"), ("stft.py",)),
        "data/manifest_training.json": (("stft.py",), ("data_prep.py",)),
        "data/.specmask/scan.jsonl": (("data_prep.py",),),
        "data/Training_STFT/cache.json": (("stft.py",),),
        newest.as_posix(): (("train.py", "--list"),),
    }
    hits: Counter = Counter()
    for _ in range(count):
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
                restored(checkpoint.read(path)[1])
                hits["read"] += 1
            except (UserError, ValueError) as error:
                one_line(error)
                hits["refused"] += 1
        for script, *words in readers[name]:
            with at_most(LONGEST_SECONDS):
                done = project.call(
                    script, "--config", place / "config.ini", *chain.WORDS, *words, cwd=place
                )
            if "Traceback" in done.stderr or done.returncode not in (0, 1, 2):
                raise Harm(f"{name}: {script} {words}: {done}")
            hits["read" if done.returncode == 0 else "refused"] += 1
    return dict(hits)


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
        raise Harm(f"not done after {seconds} s")

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


def forged(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Put a checkpoint, a cache and a manifest in place that a hostile person has made."""
    place, sprung = folder / "forged", folder / "sprung"
    shutil.copytree(chain.whole(folder.parent).folder, place)
    path = place / "config.ini"
    best, cache = place / "cp/run/best.npz", place / "data/Training_STFT/clean.npy"
    trap = io.BytesIO()
    np.save(trap, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    bad = {"a pickle": trap.getvalue(), "a huge shape": claims(10**13)}
    hits: Counter = Counter()
    shutil.rmtree(place / "enhanced")
    good = best.read_bytes()
    for name, content in (bad | {"a bomb": claims(10**7) + bytes(4 * 10**7)}).items():
        best.write_bytes(first_replaced(good, content))
        chain.finish(chain.start("enhance.py", path), {2})
        hits[f"checkpoint with {name} refused"] += 1
    best.write_bytes(good)
    manifest = place / "data/manifest_training.csv"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(",noisy1_", ",../../stolen/noisy1_", 1), encoding="utf-8")
    words = ("--render", "training", "0", "--output", folder / "out/again")
    chain.finish(chain.start("data_prep.py", path, *words), {2})
    hits["manifest that leads out of the folder refused"] += 1
    manifest.write_text(text, encoding="utf-8")
    shutil.rmtree(place / "cp")
    for name, content in bad.items():
        cache.write_bytes(content)
        chain.finish(chain.start("train.py", path), {2})
        hits[f"cache with {name} refused"] += 1
    if sprung.exists() or (folder / "stolen").exists():
        raise Harm("a pickle was opened, or a file written where a manifest wanted it")
    return dict(hits)


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
