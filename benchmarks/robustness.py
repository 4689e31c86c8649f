"""Break Specmask on purpose, and see that nothing is lost: the table of docs/robustness.md.

    python benchmarks/robustness.py [ATTACK ...] [--seed 0] [--scale 1.0]

Attacks: kills, full_disk, ini, sound, read_only, together, clock, paths, forged; without a name
all. Each works on audio that it makes itself, in folders of its own. What counts as harm: a
traceback, an exit code that is not documented, a half file under a final name, or another result at
the end than an undisturbed chain has. --scale makes fewer attempts. Exit code 1 if harm was done.

full_disk and read_only mount small file systems: they need Linux and root, and are skipped without.
"""

import argparse
import hashlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import project  # noqa: E402

from specmask import audio, checkpoint, config, sources  # noqa: E402
from specmask.errors import UserError  # noqa: E402

STAGES = ("data/data_prep.py", "stft.py", "train.py", "enhance.py")
OPTIONS = (
    "model.network=band_lstm", "train.epochs=3", "data.total_training_files=40",
    "train.checkpoint_minutes=0.001", "train.listen_files=0", "train.metric_files=1",
)  # fmt: skip
CODES = {0, 2}  # done, or refused in a line
TYPICAL = {"kills": 50, "full_disk": 12, "ini": 10_000, "sound": 2_000, "together": 4, "clock": 4}


class Harm(Exception):
    """What should never happen, in a line."""


# ---------------------------------------------------------------- the chain


def command(stage: str, ini: Path) -> list[str]:
    words = [w for option in OPTIONS for w in ("--set", option)]
    return project.command(stage, "--config", ini, *words)


def start(stage: str, ini: Path) -> subprocess.Popen:
    """Start a stage in a process group of its own."""
    return subprocess.Popen(
        command(stage, ini), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, cwd=ini.parent, env=project.environment(),
    )  # fmt: skip


def finish(process: subprocess.Popen, allowed: set[int] = CODES) -> tuple[int, str]:
    """Wait for a stage; its exit code has to be an allowed one, without a traceback."""
    text, _ = process.communicate(timeout=900)
    if "Traceback" in text or process.returncode not in allowed:
        raise Harm(f"{process.args[1]} ended with {process.returncode}: {text[-600:]}")
    return process.returncode, text


def chain(ini: Path) -> None:
    for stage in STAGES:
        finish(start(stage, ini), {0})


def results(folder: Path) -> dict[str, str]:
    """Return a digest of everything that a chain has made and that may not differ."""
    found = {}
    for top in ("data", "enhanced"):
        for path in sorted((folder / top).rglob("*")):
            kept = path.suffix in (".wav", ".csv", ".npy", ".flac")
            if path.is_file() and kept and ".specmask" not in path.parts:
                found[path.relative_to(folder).as_posix()] = digest(path.read_bytes())
    for path in sorted((folder / "cp").rglob("best.npz")):
        for name, array in checkpoint.read(path)[0].items():
            found[f"best/{name}"] = digest(array.tobytes())
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def new(folder: Path, name: str) -> Path:
    """Make the recordings of a project anew and return its INI file."""
    (folder / name).mkdir(parents=True)
    return project.make(folder / name)


def undisturbed(folder: Path) -> dict[str, str]:
    """Return the results of a chain that nothing disturbs."""
    ini = new(folder, "whole")
    chain(ini)
    return results(ini.parent)


def same(folder: Path, expected: dict[str, str]) -> None:
    found = results(folder)
    if found != expected:
        wrong = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
        raise Harm(f"{len(wrong)} results differ, the first: {wrong[0]}")


def no_half_files(folder: Path) -> None:
    """Every sound file that bears a final name has to be whole."""
    for path in folder.rglob("*.wav"):
        if path.name.startswith(audio.TEMPORARY) or ".specmask" in path.parts:
            continue
        try:
            declared = sf.info(path).frames * 2 + 44
        except sf.LibsndfileError:
            declared = -1
        if path.stat().st_size != declared and "Speech_" in path.as_posix():
            raise Harm(f"{path}: half written under its final name")


# ---------------------------------------------------------------- attacks


def kills(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """kill -9 at random moments over the four stages, then the same command again."""
    ini = new(folder, "whole")
    seconds = {}
    for stage in STAGES:
        begun = time.monotonic()
        finish(start(stage, ini), {0})
        seconds[stage] = time.monotonic() - begun
    expected, ini = results(ini.parent), new(folder, "killed")
    hits: Counter = Counter()
    for number, stage in enumerate(STAGES):
        for _ in range(count // 4 + (number < count % 4)):
            process = start(stage, ini)
            try:
                process.wait(rng.uniform(0.1, 1.1) * seconds[stage])
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                hits[f"killed in {Path(stage).stem}"] += 1
            process.communicate()
            no_half_files(ini.parent)
        finish(start(stage, ini), {0})
    same(ini.parent, expected)
    return dict(hits)


@contextmanager
def mounted(folder: Path, size: str):
    """Put a small file system of its own at a folder."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("mounting is not allowed here")
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", str(folder)], check=True
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Let the disk run full at random sizes; then make room and go on."""
    expected = undisturbed(folder)
    needed = sum(p.stat().st_size for p in (folder / "whole").rglob("*") if p.is_file())
    hits: Counter = Counter()
    for k in range(count):
        place = folder / f"full{k}"
        with mounted(place, "100m") as remount:
            ini = project.make(place)
            used = sum(p.stat().st_size for p in place.rglob("*") if p.is_file())
            remount(f"size={int(used * 1.3 + rng.random() * needed) // 1024}k")
            for stage in STAGES:
                code, _ = finish(start(stage, ini))
                if code:
                    hits[f"full in {Path(stage).stem}"] += 1
                    no_half_files(place)
                    break
            remount("size=200m")
            chain(ini)
            same(place, expected)
    return dict(hits)


def ini(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Change config.ini at random; what is accepted is planned and built."""
    from specmask import models  # imports TensorFlow

    path = new(folder, "ini")
    text = config.render(config.load(path))
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
            cfg = config.load(path)
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


def one_line(error: Exception) -> None:
    if not str(error).strip():
        raise Harm("an error without a word")


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
        broken = bytearray(content)
        for _ in range(rng.choice([1, 2, 8, 64])):
            # headers are worth more attention than samples
            at = rng.randrange(min(len(broken), 64 if rng.random() < 0.5 else len(broken)))
            broken[at] = rng.randrange(256)
        if rng.random() < 0.3:
            del broken[rng.randrange(len(broken)) :]
        path = place / f"{k}.{kind}"
        path.write_bytes(broken)
        try:
            samples, rate = audio.read(path)
            assert samples.ndim == 2 and rate > 0
            hits["read"] += 1
        except audio.AudioError as error:
            one_line(error)
            hits["refused"] += 1
        found = sources.inspect(path)
        hits["scanned" if isinstance(found, dict) else "set aside by the scan"] += 1
        path.unlink()
    return dict(hits)


def read_only(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Run every stage where nothing can be written."""
    hits: Counter = Counter()
    for done in range(len(STAGES)):
        place = folder / f"read_only{done}"
        with mounted(place, "100m") as remount:
            ini_path = project.make(place)
            for stage in STAGES[:done]:
                finish(start(stage, ini_path), {0})
            before = results(place)
            remount("ro")
            _, text = finish(start(STAGES[done], ini_path), {2})
            if text.count("error: ") != 1:
                raise Harm(f"{STAGES[done]}: {text[-300:]}")
            same(place, before)
            hits["refused"] += 1
    return dict(hits)


def together(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Start every stage twice at the same time on the same folders."""
    expected = undisturbed(folder)
    hits: Counter = Counter()
    for k in range(count):
        path = new(folder, f"together{k}")
        for stage in STAGES:
            pair = [start(stage, path)]
            time.sleep(rng.random() * 3)
            pair.append(start(stage, path))
            codes = sorted(finish(p)[0] for p in pair)
            hits["both done" if codes == [0, 0] else "one refused"] += 1
            finish(start(stage, path), {0})
        same(path.parent, expected)
    return dict(hits)


def clock(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Let files be of any year, also of the future, between the stages and within them."""
    expected = undisturbed(folder)
    hits: Counter = Counter()
    for k in range(count):
        path = new(folder, f"clock{k}")
        for stage in STAGES:
            process = start(stage, path)
            try:
                process.wait(rng.uniform(0.5, 4))
                process.communicate()
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            for file in path.parent.rglob("*"):
                year = rng.choice([1971, 1999, 2026, 2037, 2100])
                with_time = (year - 1970) * 31_557_600
                if file.is_file():
                    os.utime(file, (with_time, with_time))
                    hits["times changed"] += 1
            finish(start(stage, path), {0})
        same(path.parent, expected)
    return dict(hits)


def paths(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Work in folders with strange names, through .. and through links out of the tree."""
    expected = undisturbed(folder)
    names = ["two words", "quote'd", 'double"d', "ünï 語 🎧", "-dash", "100%", "a;b&c", "{x}$(y)"]
    for name in names:
        path = new(folder, f"named/{name}")
        chain(path)
        same(path.parent, expected)
    path = new(folder, "up/inner")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("= speech", "= ../inner/../inner/speech"), encoding="utf-8")
    chain(path)
    same(path.parent, expected)
    path = new(folder, "links")
    away = folder / "away"
    shutil.move(path.parent / "noise", away)
    (path.parent / "noise").symlink_to(away, target_is_directory=True)
    chain(path)
    same(path.parent, expected)
    return {"folders": len(names) + 2}


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def forged(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Put checkpoints, caches and manifests in place that a hostile person has made."""
    path = new(folder, "forged")
    chain(path)
    best = next((path.parent / "cp").rglob("best.npz"))
    good, sprung = best.read_bytes(), folder / "sprung"
    shutil.rmtree(path.parent / "enhanced")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }"
    huge = header % 10**13
    huge = b"\x93NUMPY\x01\x00" + (128 - 10).to_bytes(2, "little") + huge.ljust(117) + b"\n"
    trap = io.BytesIO()
    np.save(trap, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    hits: Counter = Counter()
    for name, content in {"a pickle": trap.getvalue(), "a huge shape": huge}.items():
        memory = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(good)) as old,
            zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as changed,
        ):
            for number, entry in enumerate(old.namelist()):
                changed.writestr(entry, old.read(entry) if number else content)
        best.write_bytes(memory.getvalue())
        finish(start("enhance.py", path), {2})
        hits[f"checkpoint with {name} refused"] += 1
    best.write_bytes(good)
    for cache in sorted(path.parent.rglob("clean.npy")):
        for name, content in {"a pickle": trap.getvalue(), "a huge shape": huge}.items():
            kept = cache.read_bytes()
            cache.write_bytes(content)
            shutil.rmtree(path.parent / "cp")
            finish(start("train.py", path), {2})
            cache.write_bytes(kept)
            hits[f"cache with {name} refused"] += 1
            (path.parent / "cp").mkdir(exist_ok=True)
        break
    if sprung.exists():
        raise Harm("a pickle was opened")
    return dict(hits)


ATTACKS = {
    f.__name__: f for f in (kills, full_disk, ini, sound, read_only, together, clock, paths, forged)
}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("attack", nargs="*", default=list(ATTACKS), help=", ".join(ATTACKS))
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--scale", type=float, default=1.0)
    args = p.parse_args()
    harmed = 0
    for name in args.attack:
        count = max(1, round(TYPICAL.get(name, 1) * args.scale))
        with tempfile.TemporaryDirectory() as temporary:
            try:
                hits = ATTACKS[name](Path(temporary), count, random.Random(args.seed))
                text = ", ".join(f"{n:,} {what}" for what, n in hits.items())
            except PermissionError as error:
                text = f"skipped: {error}"
            except Exception as error:
                harmed, text = harmed + 1, f"HARM: {error!r}"
        print(f"| {name} | {text} |", flush=True)
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
