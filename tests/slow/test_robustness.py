"""The chain under attack: nothing is lost and the same commands reach the same results.

Kills, full and read-only disks, two runs at once, wrong clocks, strange paths. Harm is a traceback,
an exit code that is not documented, a half file under a final name, or another result at the end
than an undisturbed chain has.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import chain
import pytest
from chain import STAGES, Undisturbed
from helpers import make_project

pytestmark = pytest.mark.slow
YEAR_SECONDS = 31_557_600
NAMES = (
    "two words", "quote'd", "ünï 語 🎧", "100%", "a;b&c", "{x}$(y)", "-dash", 'double"d',
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A chain that nothing disturbs."""
    return chain.undisturbed(tmp_path_factory.mktemp("chain"))


def test_kill_9_at_random_moments(undisturbed, tmp_path, attempts, rng):
    ini, count, killed = chain.new_project(tmp_path / "killed"), attempts(50), 0
    for number, stage in enumerate(STAGES):
        for _ in range(count // 4 + (number < count % 4)):
            moment = rng.uniform(0.1, 1.1) * undisturbed.seconds[stage]
            killed += chain.kill_after(chain.start(stage, ini), moment)
            chain.assert_no_half_files(ini.parent)
        chain.finish(chain.start(stage, ini), {0})
    chain.assert_results(ini.parent, undisturbed.results)
    assert killed


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Put a small file system at a folder; gives a function that mounts it anew with options."""
    if not sys.platform.startswith("linux") or os.geteuid():
        pytest.skip("mounting needs Linux and root")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", str(folder)], check=True
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def size(folder: Path) -> int:
    """Return the bytes of all files."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_the_disk_runs_full_and_there_is_room_again(undisturbed, tmp_path, attempts, rng):
    for k in range(attempts(12)):
        place = tmp_path / f"full{k}"
        with mounted(place, "100m") as remount:
            ini = make_project(place)
            room = 1.3 * size(place) + rng.random() * size(undisturbed.folder)
            remount(f"size={round(room) // 1024}k")
            for stage in STAGES:
                code, _ = chain.finish(chain.start(stage, ini))
                if code:
                    chain.assert_no_half_files(place)
                    break
            remount("size=200m")
            chain.run(ini)
            chain.assert_results(place, undisturbed.results)


@pytest.mark.parametrize("number", range(len(STAGES)), ids=STAGES)
def test_a_read_only_disk_is_refused_in_one_line(number, tmp_path):
    place = tmp_path / "read_only"
    with mounted(place, "100m") as remount:
        ini = make_project(place)
        for stage in STAGES[:number]:
            chain.finish(chain.start(stage, ini), {0})
        before = chain.results(place)
        remount("ro")
        _, text = chain.finish(chain.start(STAGES[number], ini), {2})
        assert text.count("error: ") == 1, text[-300:]
        chain.assert_results(place, before)


def test_every_stage_twice_at_the_same_time(undisturbed, tmp_path, attempts, rng):
    for k in range(attempts(4)):
        ini = chain.new_project(tmp_path / f"together{k}")
        for stage in STAGES:
            first = chain.start(stage, ini)
            time.sleep(rng.random() * 3)
            second = chain.start(stage, ini)
            chain.finish(first)
            chain.finish(second)
            chain.finish(chain.start(stage, ini), {0})
        chain.assert_results(ini.parent, undisturbed.results)


def test_files_of_any_year_and_kills_between(undisturbed, tmp_path, attempts, rng):
    for k in range(attempts(4)):
        ini = chain.new_project(tmp_path / f"clock{k}")
        for stage in STAGES:
            moment = rng.uniform(0.1, 1) * undisturbed.seconds[stage]
            chain.kill_after(chain.start(stage, ini), moment)
            for path in ini.parent.rglob("*"):
                if path.is_file():
                    seconds = (rng.choice([1971, 1999, 2026, 2037, 2100]) - 1970) * YEAR_SECONDS
                    os.utime(path, (seconds, seconds))
            chain.finish(chain.start(stage, ini), {0})
        chain.assert_results(ini.parent, undisturbed.results)


def test_dots_links_and_strange_names(undisturbed, tmp_path, attempts):
    up = chain.new_project(tmp_path / "up/inner")
    text = up.read_text(encoding="utf-8")
    up.write_text(text.replace("= speech", "= ../inner/../inner/speech"), encoding="utf-8")
    linked, away = chain.new_project(tmp_path / "links"), tmp_path / "away"
    shutil.move(linked.parent / "noise", away)
    (linked.parent / "noise").symlink_to(away, target_is_directory=True)
    names = NAMES[:6] if os.name == "nt" else NAMES
    named = [chain.new_project(tmp_path / "named" / name) for name in names]
    for ini in [named[2], up, linked, *named][: max(3, attempts(11))]:
        chain.run(ini)
        chain.assert_results(ini.parent, undisturbed.results)
