"""Break Specmask on purpose, and see that nothing is lost: the table of docs/robustness.md.

    python benchmarks/robustness.py [ATTACK ...] [--seed 0] [--scale 1.0]

Attacks: kills, full_disk, read_only, together, clock, paths (on the running chain), ini, sound,
damaged, forged (on what it reads); without a name all. Each works on audio that it makes itself, in
folders of its own. What counts as harm: a traceback, an exit code that is not documented, a half
file under a final name, or another result at the end than an undisturbed chain has. --scale makes
fewer attempts. Exit code 1 if harm was done.

full_disk and read_only mount small file systems: they need Linux and root, and are skipped without.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import chain
import hostile
import project
from chain import STAGES, Harm, Unavailable

YEAR_SECONDS = 31_557_600
NAMES = (
    "two words", "quote'd", "ünï 語 🎧", "100%", "a;b&c", "{x}$(y)", "-dash", 'double"d',
)  # fmt: skip
TYPICAL = {
    "kills": 50, "full_disk": 12, "read_only": 4, "together": 4, "clock": 4, "paths": 10,
    "ini": 10_000, "sound": 2_000, "damaged": 1_000, "forged": 1,
}  # fmt: skip


def kills(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """kill -9 at random moments over the four stages, then the same command again."""
    whole, ini = chain.whole(folder.parent), chain.new(folder / "killed")
    hits: Counter = Counter()
    for number, stage in enumerate(STAGES):
        for _ in range(count // 4 + (number < count % 4)):
            moment = rng.uniform(0.1, 1.1) * whole.seconds[stage]
            if chain.kill_after(chain.start(stage, ini), moment):
                hits[f"killed in {Path(stage).stem}"] += 1
            chain.no_half_files(ini.parent)
        chain.finish(chain.start(stage, ini), {0})
    chain.same(ini.parent, whole.results)
    return dict(hits)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Put a small file system at a folder; gives a function that mounts it anew with options."""
    if not sys.platform.startswith("linux") or os.geteuid():
        raise Unavailable("mounting needs Linux and root")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise Unavailable("mounting is not allowed here")
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", str(folder)], check=True
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def size(folder: Path) -> int:
    """Return the bytes of all files."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def full_disk(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Let the disk run full at random sizes; then make room and go on."""
    hits: Counter = Counter()
    for k in range(count):
        place = folder / f"full{k}"
        with mounted(place, "100m") as remount:
            whole, ini = chain.whole(folder.parent), project.make(place)
            room = 1.3 * size(place) + rng.random() * size(whole.folder)
            remount(f"size={round(room) // 1024}k")
            for stage in STAGES:
                code, _ = chain.finish(chain.start(stage, ini))
                if code:
                    hits[f"full in {Path(stage).stem}"] += 1
                    chain.no_half_files(place)
                    break
            else:
                hits["large enough"] += 1
            remount("size=200m")
            chain.run(ini)
            chain.same(place, whole.results)
    return dict(hits)


def read_only(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Run every stage where nothing can be written."""
    hits: Counter = Counter()
    for done in range(min(count, len(STAGES))):
        place = folder / f"read_only{done}"
        with mounted(place, "100m") as remount:
            ini = project.make(place)
            for stage in STAGES[:done]:
                chain.finish(chain.start(stage, ini), {0})
            before = chain.results(place)
            remount("ro")
            _, text = chain.finish(chain.start(STAGES[done], ini), {2})
            if text.count("error: ") != 1:
                raise Harm(f"{STAGES[done]}: {text[-300:]}")
            chain.same(place, before)
            hits["refused"] += 1
    return dict(hits)


def together(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Start every stage twice at the same time on the same folders."""
    whole = chain.whole(folder.parent)
    hits: Counter = Counter()
    for k in range(count):
        ini = chain.new(folder / f"together{k}")
        for stage in STAGES:
            pair = [chain.start(stage, ini)]
            time.sleep(rng.random() * 3)
            pair.append(chain.start(stage, ini))
            codes = sorted(chain.finish(p)[0] for p in pair)
            hits["both done" if codes == [0, 0] else "one refused"] += 1
            chain.finish(chain.start(stage, ini), {0})
        chain.same(ini.parent, whole.results)
    return dict(hits)


def clock(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Let files be of any year, also of the future, between the stages and within them."""
    whole = chain.whole(folder.parent)
    hits: Counter = Counter()
    for k in range(count):
        ini = chain.new(folder / f"clock{k}")
        for stage in STAGES:
            chain.kill_after(chain.start(stage, ini), rng.uniform(0.1, 1) * whole.seconds[stage])
            for path in ini.parent.rglob("*"):
                if path.is_file():
                    seconds = (rng.choice([1971, 1999, 2026, 2037, 2100]) - 1970) * YEAR_SECONDS
                    os.utime(path, (seconds, seconds))
                    hits["times changed"] += 1
            chain.finish(chain.start(stage, ini), {0})
        chain.same(ini.parent, whole.results)
    return dict(hits)


def paths(folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Work through .., through links out of the tree, and in folders with strange names."""
    whole = chain.whole(folder.parent)
    up = chain.new(folder / "up/inner")
    text = up.read_text(encoding="utf-8")
    up.write_text(text.replace("= speech", "= ../inner/../inner/speech"), encoding="utf-8")
    linked, away = chain.new(folder / "links"), folder / "away"
    shutil.move(linked.parent / "noise", away)
    (linked.parent / "noise").symlink_to(away, target_is_directory=True)
    names = NAMES[:6] if os.name == "nt" else NAMES
    named = [chain.new(folder / "named" / name) for name in names]
    tried = [up, linked, *named][:count]
    for ini in tried:
        chain.run(ini)
        chain.same(ini.parent, whole.results)
    return {"folders": len(tried)}


ATTACKS = {
    f.__name__: f
    for f in (
        kills, full_disk, read_only, together, clock, paths,
        hostile.ini, hostile.sound, hostile.damaged, hostile.forged,
    )
}  # fmt: skip


def main() -> int:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("attack", nargs="*", default=list(ATTACKS), help=", ".join(ATTACKS))
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--scale", type=float, default=1.0)
    args = p.parse_args()
    harmed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.attack:
            count = max(1, round(TYPICAL[name] * args.scale))
            folder = Path(temporary) / name
            folder.mkdir()
            try:
                hits = ATTACKS[name](folder, count, random.Random(args.seed))
                text = ", ".join(f"{n:,} {what}" for what, n in hits.items())
            except Unavailable as error:
                text = f"skipped: {error}"
            except Exception as error:
                harmed, text = harmed + 1, f"HARM: {error!r}"
            print(f"| {name} | {text} |", flush=True)
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
