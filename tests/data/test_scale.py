"""Data sets that are large, spread over processes and machines, and interrupted at any moment."""

import csv
import heapq
import json
import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import (
    assert_error_line,
    assert_user_error,
    call_script,
    data_config,
    data_overrides,
    make_project,
    run_script,
    settings_args,
    snapshot,
    start_script,
)
from hypothesis import given
from hypothesis import strategies as st

from specmask import files
from specmask.config.schema import Config
from specmask.data.mixtures import build, manifest, preflight, render
from specmask.data.mixtures.plan import make_plans
from specmask.errors import UserError

TOTALS = {
    "data__total_training_files": 40,
    "data__total_validation_files": 4,
    "data__total_testing_files": 4,
}


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory) -> dict[str, bytes]:
    """The files that one worker makes."""
    folder = tmp_path_factory.mktemp("expected")
    make(data_config(corpus, folder, **TOTALS))
    return snapshot(folder)


def make(config: Config) -> list[build.Made]:
    """Make all splits of a data set."""
    return [build.make(plan) for plan in make_plans(config)[0]]


def rows(path: Path) -> list[dict[str, str]]:
    """Read a manifest without the package."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- shards


def test_subfolders_from_end_to_end(tmp_path):
    """Data, cache, training, enhancement and scores of files in numbered subfolders."""
    ini = make_project(tmp_path)
    plain = ("--config", ini, "--set", "data.data_path=plain")
    sharded = ("--config", ini, "--set", "data.data_path=sharded")
    sharded += ("--set", "data.files_per_folder=3", "--set", "train.epochs=1")
    for arguments in (plain, sharded):
        assert call_script("data_prep.py", *arguments, cwd=tmp_path).returncode == 0
    names = {p.name for p in (tmp_path / "sharded/NoisySpeech_training").iterdir()}
    assert names == {"00000", "00001", "00002", "00003"}
    flat = {
        (Path(name).parts[0], Path(name).name): content
        for name, content in snapshot(tmp_path / "sharded").items()
        if name.endswith(".wav")
    }
    assert flat == {
        Path(name).parts: content
        for name, content in snapshot(tmp_path / "plain").items()
        if name.endswith(".wav")
    }
    found = rows(tmp_path / "sharded/manifest_training.csv")
    assert [r["clean_file"] for r in found[2:4]] == ["00000/clnsp3.wav", "00001/clnsp4.wav"]

    for script in ("stft.py", "train.py", "enhance.py", "evaluate.py"):
        done = call_script(script, *sharded, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "enhanced").rglob("0000?/noisy*.wav"))) == 4
    scored = rows(tmp_path / "report/scores.csv")
    assert len([r for r in scored if r["system"] == "enhanced" and r["noise_type"] == "hiss"]) == 4

    (tmp_path / "sharded/Noise_training/00001" / Path(found[4]["noise_file"]).name).unlink()
    before = snapshot(tmp_path / "sharded")
    again = call_script("data_prep.py", *sharded, cwd=tmp_path)
    assert "training: 12 files, 0.00 h, 1 new" in again.stdout
    assert len(snapshot(tmp_path / "sharded")) == len(before) + 1
    done = call_script("data_prep.py", *sharded[:4], cwd=tmp_path)
    assert_error_line(done, "files_per_folder was 3, is 0", "--overwrite")
    done = call_script("data_prep.py", *sharded[:4], "--overwrite", cwd=tmp_path)
    assert done.returncode == 0
    now = snapshot(tmp_path / "sharded")
    assert {k: v for k, v in now.items() if k.endswith(".wav")} == {
        k: v for k, v in snapshot(tmp_path / "plain").items() if k.endswith(".wav")
    }
    assert not any(p.name == "00000" for p in (tmp_path / "sharded").rglob("*"))


# ---------------------------------------------------------------- interruptions


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_kills_at_any_moment_lose_nothing(corpus, tmp_path):
    """Five kills at random moments of a run; the last one finishes what is then the same set."""
    totals = {"data__total_training_files": 120, "compute__workers": 2}
    args = settings_args(data_overrides(corpus, tmp_path / "out", **totals))
    rng, noisy = random.Random(3), "out/NoisySpeech_training/noisy*"
    for _ in range(5):
        wanted = len(list(tmp_path.glob(noisy))) + rng.randint(1, 20)
        with start_script("data_prep.py", *args, cwd=tmp_path, start_new_session=True) as process:
            while process.poll() is None and len(list(tmp_path.glob(noisy))) < wanted:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.03))
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
    done = run_script("data_prep.py", *args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    make(data_config(corpus, tmp_path / "expected", **totals | {"compute__workers": 1}))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "expected")
    assert {p.name for p in (tmp_path / "out/.specmask").iterdir()} <= {"lock", "scan.sqlite"}


def test_what_a_kill_has_left_of_a_manifest_is_removed(corpus, tmp_path, expected):
    (tmp_path / f"{files.TEMPORARY}1e3a.csv").write_text("index,clean_f")
    make(data_config(corpus, tmp_path, **TOTALS))
    assert snapshot(tmp_path) == expected


@pytest.mark.parametrize("state", ["kept", "partial", "both", "overlap", "cut", "shuffled"])
def test_rows_of_several_files_make_one_manifest(corpus, tmp_path, expected, state):
    """Whatever a kill has left of the three files of rows, nothing is rendered twice."""
    config = data_config(corpus, tmp_path, **TOTALS)
    make(config)
    path = manifest.path_of(config, "training")
    kept, partial = path.with_suffix(".csv.kept"), path.with_suffix(".csv.partial")
    all_rows = manifest.read(config, "training")
    done = {
        "kept": (all_rows, []),
        "partial": ([], all_rows),
        "both": (all_rows[::2], all_rows[1::2]),
        "overlap": (all_rows[:30], all_rows[10:]),
        "cut": (all_rows[:5], all_rows[5:]),
        "shuffled": (all_rows[:20], all_rows[:19:-1]),
    }[state]
    for file, some in zip((kept, partial), done, strict=True):
        manifest.write(file, some)
    if state == "cut":
        partial.write_bytes(partial.read_bytes()[:-9])
    path.unlink()
    made = build.make(make_plans(config)[0][0])
    assert made.new == {"cut": 1, "shuffled": 19}.get(state, 0)
    assert snapshot(tmp_path) == expected


def test_two_runs_in_one_folder(corpus, tmp_path):
    args = settings_args(data_overrides(corpus, tmp_path, **TOTALS))
    config = data_config(corpus, tmp_path, **TOTALS)
    with build.alone(config):
        done = run_script("data_prep.py", *args, cwd=tmp_path)
        assert_user_error(done, str(tmp_path), "another run", str(os.getpid()), "wait")
        assert not list(tmp_path.rglob("*.wav"))
    assert make(config)[0].new == 40


# ---------------------------------------------------------------- the manifest


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(CELL, CELL), max_size=6), st.integers(0, 40))
def test_rows_come_back_whatever_they_hold_and_a_cut_costs_the_last(tmp_path_factory, cells, cut):
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    written = [
        dict.fromkeys(render.COLUMNS, "7") | {"index": str(i), "speaker": a, "noise": b}
        for i, (a, b) in enumerate(cells)
    ]
    assert manifest.write(path, written) == len(written)
    assert list(manifest.rows(path)) == written
    assert rows(path) == written  # any CSV reader gets the same
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    found = list(manifest.rows(path))
    assert found == written[: len(found)]
    assert len(found) == len(written) or cut


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("samples", "many"),
        ("samples", "9" * 400),
        ("snr_db", "{}"),
        ("index", "-1"),
        ("peak", "1,"),
        ("measured_active_snr_db", ""),
    ],
)
def test_a_damaged_row_is_told_and_its_file_made_again(corpus, tmp_path, column, value):
    config = data_config(corpus, tmp_path)
    make(config)
    before, path = snapshot(tmp_path), manifest.path_of(config, "training")
    found = rows(path)
    found[3][column] = value
    manifest.write(path, found)
    with pytest.raises(UserError, match="row 3 is missing or damaged; run python data/data_prep"):
        list(manifest.stream(config, "training"))
    assert make(config)[0].new == 1
    assert snapshot(tmp_path) == before


def test_settings_and_a_scan_cache_without_an_end(corpus, tmp_path):
    config, nested = data_config(corpus, tmp_path), "[" * 100_000
    make(config)
    (tmp_path / "manifest_training.json").write_text(nested)
    with pytest.raises(UserError, match="made with other settings"):
        manifest.stream(config, "training")
    (tmp_path / ".specmask/scan.sqlite").write_text(nested)
    assert len(make_plans(config)[0]) == 3


def test_names_of_columns_that_are_damaged(corpus, tmp_path):
    config = data_config(corpus, tmp_path)
    make(config)
    before, path = snapshot(tmp_path), manifest.path_of(config, "training")
    path.write_bytes(path.read_bytes().replace(b",samples", b"\rsamples", 1))
    with pytest.raises(UserError, match="holds no rows"):
        manifest.stream(config, "training")
    assert make(config)[0].new == 20
    assert snapshot(tmp_path) == before


def test_a_cell_without_an_end(corpus, tmp_path):
    config = data_config(corpus, tmp_path)
    make(config)
    before, path = snapshot(tmp_path), manifest.path_of(config, "training")
    lines = path.read_text().splitlines(keepends=True)
    lines.insert(3, '"' + "x" * 140_000 + "\n")  # csv allows a cell 128 KiB
    path.write_text("".join(lines))
    assert len(list(manifest.rows(path))) == 2
    assert make(config)[0].new == 18
    assert snapshot(tmp_path) == before


@given(st.lists(st.sets(st.integers(0, 30)), max_size=3))
def test_merging(tmp_path_factory, sets):
    paths = [tmp_path_factory.getbasetemp() / f"merge{k}.csv" for k in range(len(sets))]
    for path, indices in zip(paths, sets, strict=True):
        manifest.write(path, [dict.fromkeys(render.COLUMNS, str(i)) for i in sorted(indices)])
    found = [manifest.index_of(row) for row in manifest.merged(*paths)]
    assert found == sorted(set().union(*sets))
    assert len(list(heapq.merge(*map(manifest.rows, paths), key=manifest.index_of))) >= len(found)


def test_a_survey_holds_no_rows(corpus, tmp_path, expected):
    """What is known of a file afterwards is one bit or byte."""
    config = data_config(corpus, tmp_path, **TOTALS)
    make(config)
    found = build.survey(make_plans(config)[0][0])
    assert (found.complete, found.missing, found.there.nbytes) == (True, [], 40)


# ---------------------------------------------------------------- before the run


def disk(monkeypatch, free: int) -> None:
    """Let every disk have so many free bytes."""
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - free, free))


def test_the_plan_is_told_before_the_first_file(corpus, tmp_path):
    args = settings_args(data_overrides(corpus, tmp_path / "out", **TOTALS))
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    lines = done.stdout.splitlines()
    first = next(x for x in lines if not x.startswith("warning") and "layout: " not in x)
    assert first.startswith("plan: 48 files, 0.01 h, 48 to be made: 0.00")
    assert re.search(r" GB of [\d.]+ GB free, about \d+ s with 1 worker$", first)
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert "plan: 48 files, 0.01 h, all are there" in done.stdout


@pytest.mark.parametrize(
    ("seconds", "workers", "words"),
    [(2, 1, "96 s with 1 worker"), (60, 4, "12 min with 4 workers"), (3600, 8, "6 h with 8")],
)
def test_the_time_is_that_of_a_file_over_the_workers(
    corpus, tmp_path, monkeypatch, seconds, workers, words
):
    monkeypatch.setattr(preflight, "_seconds_a_file", lambda survey: seconds)
    plans = make_plans(data_config(corpus, tmp_path, compute__workers=workers, **TOTALS))[0]
    assert f"about {words}" in preflight.plan_line([build.survey(plan) for plan in plans])


def test_the_time_of_a_file_is_the_mean_of_some(corpus, tmp_path, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.1 * next(clock))
    plan = make_plans(data_config(corpus, tmp_path, **TOTALS))[0][0]
    with build.alone(plan.config):
        assert preflight._seconds_a_file(build.survey(plan)) == pytest.approx(0.1)
    assert next(clock) == 16  # before and after each of eight files


def test_a_disk_that_is_too_small_is_refused(corpus, tmp_path, monkeypatch):
    needed = 48 * (3 * 4 * 4096) + 48 * 2 * 2048  # 16,044 bytes are four blocks
    args = settings_args(data_overrides(corpus, tmp_path / "out", **TOTALS))
    disk(monkeypatch, needed - 1)
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert_error_line(done, str(tmp_path / "out"), "0.003 GB are needed", "free some space")
    assert not list(tmp_path.rglob("*.wav"))
    disk(monkeypatch, needed)
    assert call_script("data_prep.py", *args, cwd=tmp_path).returncode == 0


def test_what_is_there_needs_no_space(corpus, tmp_path, monkeypatch):
    """Neither files that are done, nor those that are to be replaced."""
    config = data_config(corpus, tmp_path, **TOTALS)
    make(config)
    (tmp_path / "Noise_testing" / manifest.read(config, "testing")[0]["noise_file"]).unlink()
    plans = make_plans(config)[0]
    disk(monkeypatch, 4 * 4096 + 3 * 4 * 4096 + 48 * 2 * 2048)
    with build.alone(config):
        assert "48 files, 0.01 h, 1 to be made" in preflight.plan_line(
            [build.survey(plan) for plan in plans]
        )
        replaced = preflight.plan_line([build.survey(plan, overwrite=True) for plan in plans])
        assert "48 to be made" in replaced
    disk(monkeypatch, 3 * 4 * 4096)
    with pytest.raises(UserError, match="are needed"), build.alone(config):
        preflight.plan_line([build.survey(plan) for plan in plans])


def test_the_trial_leaves_nothing_behind(corpus, tmp_path):
    config = data_config(corpus, tmp_path, **TOTALS)
    plan = make_plans(config)[0][0]
    with build.alone(config):
        preflight.plan_line([build.survey(plan)])
    assert snapshot(tmp_path) == {}
    assert {p.name for p in config.work_path.iterdir()} <= {*files.LOCK_FILES, "scan.sqlite"}


def test_settings_beside_the_manifest_name_the_subfolders(corpus, tmp_path):
    config = data_config(corpus, tmp_path, data__files_per_folder=7)
    make(config)
    settings = json.loads((tmp_path / "manifest_training.json").read_text())
    assert settings["files_per_folder"] == 7
