"""compare.py end to end with tiny networks: same data, resumed, refused, and counted by hand."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from helpers import (
    PROJECT_INI,
    ScriptResult,
    assert_error_line,
    call_script,
    make_project,
    white_noise,
    write_audio,
)

from specmask.cli import console
from specmask.cli.compare import recipes, runner
from specmask.cli.compare.recipes import Budget
from specmask.config import ini
from specmask.errors import UserError
from specmask.files import digest
from specmask.training import checkpoint

SMALL = PROJECT_INI.replace("network = conv_lstm", "network = band_lstm")
INIS = {
    "a": SMALL,
    "b": SMALL.replace("n_fft = 256", "n_fft = 300").replace("files = 12", "files = 9"),
    "faster": SMALL.replace("sample_rate = 8000", "sample_rate = 10000"),
    "twice": SMALL.replace("sample_rate = 8000", "sample_rate = 16000").replace("256", "512"),
    "broken": SMALL.replace("batch_size = 4", "batch_size = 99"),
}


class Scripts:
    """Runs train.py in this process, where TensorFlow is loaded already, and counts."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.commands: list[str] = []
        self.said = ""
        patch.setattr(runner, "execute", self.execute)

    def execute(self, command: list[str], capture: bool = False) -> subprocess.CompletedProcess:
        assert command[:5] == [sys.executable, "-m", "specmask", "train", "--config"]
        self.commands.append(Path(command[5]).stem)
        done = call_script("train.py", *command[4:], cwd=Path(command[5]).parent)
        self.said += done.stdout
        if done.returncode == console.EXIT_TERMINATED:
            raise console.Terminated
        return subprocess.CompletedProcess(command, done.returncode, done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Recordings and recipes."""
    folder = tmp_path_factory.mktemp("recipes")
    make_project(folder)
    for name, text in INIS.items():
        (folder / f"{name}.ini").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def scripts(monkeypatch) -> Scripts:
    return Scripts(monkeypatch)


def compare(home: Path, *arguments: object) -> ScriptResult:
    return call_script("compare.py", *arguments, cwd=home)


ARGUMENTS = "a.ini", "b.ini", "--seeds", 2, "--budget", "5 steps", "--out"


@pytest.fixture(scope="module")
def stopped(home) -> tuple[Scripts, dict[str, int]]:
    """A comparison stopped in its second training: its commands so far, and its files."""
    from specmask.training import trainer

    record = trainer.Trainer._record

    def stop(self, result, batch):
        record(self, result, batch)
        if (self.folder.name, self.progress.total_steps) == ("b_seed0", 3):
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "_record", stop)
        scripts = Scripts(patch)
        assert compare(home, *ARGUMENTS, "made").returncode == console.EXIT_TERMINATED
    return scripts, state(home / "made")


@pytest.fixture(scope="module")
def resumed(home, stopped) -> Scripts:
    """The same command again, to its end."""
    with pytest.MonkeyPatch.context() as patch:
        scripts = Scripts(patch)
        result = compare(home, *ARGUMENTS, "made")
    assert result.returncode == 0, result.stderr
    return scripts


@pytest.fixture(scope="module")
def made(home, resumed) -> Path:
    """The folder of a finished comparison; not to be changed."""
    return home / "made"


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def state(out: Path) -> dict[str, int]:
    """When each file of the trainings and the enhanced files was written."""
    return {
        str(p): p.stat().st_mtime_ns
        for folder in ("cp", "enhanced", "stft")
        for p in (out / folder).rglob("*")
        if p.is_file()
    }


# ---------------------------------------------------------------- the report


def test_means_and_tests_are_those_of_the_rows(made):
    summary = json.loads((made / "summary.json").read_text())
    assert list(summary["systems"]) == ["noisy", "a", "b"]
    rows = rows_of(made)
    files = sorted({r["file"] for r in rows})
    assert len(files) == 4 and len(rows) == 5 * 4
    score = {(r["system"], r["file"]): float(r["si_sdr"]) for r in rows}
    by_recipe = {
        label: np.array([[score[f"{label}_seed{k}", f] for f in files] for k in range(2)])
        for label in "ab"
    }
    for label, table in by_recipe.items():
        found = summary["systems"][label]["metrics"]["si_sdr"]
        assert found["mean"] == pytest.approx(table.mean())
        assert table.min() <= found["low"] <= table.mean() <= found["high"] <= table.max()
    entry = next(e for e in summary["comparisons"] if (e["other"], e["metric"]) == ("b", "si_sdr"))
    difference = (by_recipe["a"] - by_recipe["b"]).mean(axis=0)
    assert entry["mean"] == pytest.approx(difference.mean())
    assert entry["p"] == pytest.approx(scipy.stats.wilcoxon(difference).pvalue)
    over_noisy = by_recipe["a"].mean(axis=0) - [score["noisy", f] for f in files]
    entry = next(e for e in summary["comparisons"] if e["other"] == "noisy")
    assert entry["mean"] == pytest.approx(over_noisy.mean())


def test_costs_of_a_recipe(made):
    summary = json.loads((made / "summary.json").read_text())
    for label, found in summary["recipes"].items():
        assert [t["seed"] for t in found["trainings"]] == [0, 1]
        for training in found["trainings"]:
            run = made / "cp" / f"{label}_seed{training['seed']}"
            with (run / "history.csv").open() as file:
                history = list(csv.DictReader(file))
            assert training["steps"] == found["steps"] == int(history[-1]["step"]) == 5
            assert training["first_loss"] == float(history[0]["validation_loss"])
            assert training["last_loss"] == float(history[-1]["validation_loss"])
            assert training["weights"] == digest(run / "best.npz")
            weights = checkpoint.read(run / "best.npz")[0]
            assert found["parameters"] == sum(w.size for w in weights.values())
        assert found["latency_ms"] == pytest.approx(25) and found["causal"]
        assert found["multiply_adds_a_second"] > 1e5
    text = (made / "table.md").read_text()
    assert "| a | 0, 1 | " in text and "its own: [data] total_training_files was 9, is 12" in text
    for name in ("scores.png", "tradeoff.png"):
        assert (made / name).read_bytes().startswith(b"\x89PNG")


def test_all_parts_have_the_same_data(made):
    cfgs = [ini.load(p) for p in sorted((made / "settings").glob("*_seed?.ini"))]
    assert len(cfgs) == 4
    assert len({c.data.model_dump_json() for c in cfgs}) == 1
    assert len({c.stft.folder("NoisySpeech", "training") for c in cfgs}) == 1
    assert len({c.stft.training_stft_dir for c in cfgs}) == 2  # b has another transform
    facts = [json.loads((c.stft.training_stft_dir / "cache.json").read_text()) for c in cfgs]
    assert len({f["manifest"] for f in facts}) == 1
    assert {f["n_fft"] for f in facts} == {256, 300}


def test_finished_work_is_not_repeated(made, home, scripts):
    before, rows = state(made), rows_of(made)
    result = compare(home, *ARGUMENTS, "made")
    assert result.returncode == 0, result.stderr
    assert scripts.commands == [] and result.stdout.count("trained already") == 4
    assert state(made) == before and rows_of(made) == rows


# ---------------------------------------------------------------- stopped, failed, changed


def test_a_stopped_training_is_resumed(made, stopped, resumed):
    scripts, files = stopped
    assert scripts.commands == ["a_seed0", "b_seed0"]
    assert "stopped and saved at epoch 3" in scripts.said
    assert resumed.commands == ["b_seed0", "a_seed1", "b_seed1"]
    assert resumed.said.count("resumed from ckpt-00000003") == 1
    finished = {k: v for k, v in files.items() if "a_seed0" in k}
    assert finished and finished.items() <= state(made).items()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--budget", "6 steps"], ["--budget changed", '"steps": 5', "--out"]),
        (["--set", "train.learning_rate=1e-4"], ["learning_rate was 0.002, is 0.0001", "a_seed0"]),
        (["--set", "model.recurrent_units=7"], ["recurrent_units was 6, is 7"]),
        (["--test", "test_speech", "test_speech"], ["the test files changed"]),
    ],
)
def test_changed_settings_are_refused(made, home, scripts, changed, words):
    before = state(made)
    assert_error_line(compare(home, *ARGUMENTS, "made", *changed), *words)
    assert scripts.commands == [] and state(made) == before


def test_a_failed_training_is_left_out_and_another_rate_has_the_same_recordings(home, scripts):
    arguments = "faster.ini", "broken.ini", "--config", "a.ini", "--seeds", 1, "--budget", "1 step"
    result = compare(home, *arguments, "--out", "rates")
    assert_error_line(result, "1 of 2 trainings failed (broken_seed0)")
    assert scripts.commands == ["faster_seed0", "broken_seed0"]
    summary = json.loads((home / "rates/summary.json").read_text())
    assert list(summary["systems"]) == ["noisy", "faster"]
    cfg = ini.load(home / "rates/settings/faster_seed0.ini")
    assert cfg.data.sample_rate == 10000 and cfg.data.data_path == home / "rates/data/10000_0.5"
    tables = []
    for folder in (home / "data", cfg.data.data_path):
        with (folder / "manifest_training.csv").open() as file:
            rows = list(csv.DictReader(file))
        pieces = [json.loads(r["speech"]) + json.loads(r["noise"]) for r in rows]
        tables.append([[piece["digest"] for piece in found] for found in pieces])
    assert tables[0] == tables[1]
    scored = [r for r in rows_of(home / "rates") if r["system"] == "faster_seed0"]
    assert len(scored) == 4 and all(np.isfinite(float(r["si_sdr"])) for r in scored)


def test_another_rate_may_need_another_transform(home):
    """At 16 kHz the window has 400 samples, more than the first recipe's n_fft of 256."""
    names = ["a.ini", "twice.ini", "twice.ini@stft.n_fft=600"]
    parsed = recipes.parse([str(home / name) for name in names])
    found = runner.Comparison(home / "never", parsed, 1, Budget.parse("1 step"))
    made = list(found.settings.values())
    assert [(c.data.sample_rate, c.stft.n_fft) for c in made] == [
        (8000, 256), (16000, 512), (16000, 600)
    ]  # fmt: skip
    assert len({c.data.data_path for c in made}) == 2  # mixtures are shared, caches are not
    assert len({c.stft.cache("training") for c in made}) == 3


def test_a_budget_in_time_becomes_steps(home, scripts, monkeypatch):
    from specmask.training import step_time

    monkeypatch.setattr(step_time, "SECONDS", 0)
    monkeypatch.setattr(step_time, "LEAST", 1)
    out = home / "timed"
    whole = runner.Comparison(out, recipes.parse([str(home / "a.ini")]), 1, Budget(0, 9))
    (made,) = whole.recipes
    measured = whole.plan.setdefault("seconds_a_step", {})
    whole._make_data()
    assert whole._step_seconds(made) == whole._step_seconds(made) > 0 and scripts.commands == ["a"]
    assert json.loads((out / "plan.json").read_text())["seconds_a_step"] == measured
    assert not (out / "cp").exists()
    measured["a"] = 0.25  # 36 steps: six epochs of six leave none over, five of seven would
    train = whole._training(made, 3).config.train
    assert (train.epochs, train.epoch_steps, train.seed) == (6, 6, 3)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.ini"], ["gone.ini: no such recipe"]),
        (["a.ini", "--budget", "20 bananas"], ["--budget 20 bananas", "20 minutes"]),
        (["a.ini", "--budget", "1.5 steps"], ["--budget 1.5 steps"]),
        (["a.ini", "--budget", "0 s"], ["--budget 0 s"]),
        (["a.ini", "--seeds", "0"], ["--seeds 0: expected 1 or more"]),
        (["a.ini@model.unit=3"], ["unknown option", "unit"]),
        (["a.ini", "--vary", "model.recurrent_units"], ["--vary", "SECTION.KEY=VALUE"]),
        (["a.ini", "--vary", "train.seed=1,2"], ["train.seed=1", "--seeds"]),
        (["a.ini", "--vary", "data.snr_lower=1,2"], ["the same for all", "--set"]),
        (["a.ini", "--set", "train.epochs=3"], ["train.epochs=3", "--budget"]),
        (["a.ini", "a.ini"], ["a: named twice"]),
        (["a.ini", "--set", "data.total_testing_files=0"], ["no files to score on", "--test"]),
        (["a.ini", "--test", "gone", "speech"], ["gone: no such folder"]),
        (["a.ini", "--by", "x.json"], ["--by x.json", "--test"]),
        (["a.ini", "--out", "speech"], ["speech", "not of a comparison", "--out"]),
    ],
)
def test_wrong_input_is_one_line(home, scripts, arguments, words):
    before = sorted(home.rglob("*"))
    assert_error_line(compare(home, "--out", "none", *arguments), *words)
    assert scripts.commands == [] and sorted(home.rglob("*")) == before


def test_test_files_that_cannot_be_read_are_refused_before_the_first_training(home, scripts):
    """Its result would be missing, and no training could be scored."""
    for kind in ("clean", "noisy"):
        for name in ("a.wav", "b.wav"):
            write_audio(home / "pairs" / kind / name, white_noise(900), 8000)
    runner.TestSet(home / "pairs/clean", home / "pairs/noisy").describe()
    (home / "pairs/noisy/b.wav").write_bytes(b"no sound")
    done = compare(home, "a.ini", "--out", "none", "--test", "pairs/clean", "pairs/noisy")
    assert_error_line(done, str(Path("pairs/noisy/b.wav")), "not readable as audio", "remove it")
    assert scripts.commands == [] and not (home / "none").exists()


def test_recipes_that_come_with_specmask_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (recipe,) = recipes.parse(["recipes/default.ini@model.dropout=0.5"])
    assert recipe.path.is_file() and recipe.label == "default dropout=0.5"


def test_recipes_and_their_options(home):
    path = str(home / "a.ini")
    one, two = recipes.parse([f"{path}@model.dropout=0.5"], ["model.recurrent_units=3, 4"])
    assert one.options == ("model.dropout=0.5", "model.recurrent_units=3")
    assert two.label == "a dropout=0.5 recurrent_units=4"
    assert two.slug == "a-dropout-0.5-recurrent-units-4"
    many = "@train.learning_rate=0.001@train.schedule=cosine@train.batch_size=6@train.ema=0.99"
    many += "@train.warmup_steps=100@model.dropout=0."
    long = recipes.parse([f"{home / 'a.ini'}{many}{n}" for n in (1, 2)])
    assert len({r.slug for r in long}) == 2 and {len(r.slug) for r in long} == {80}
    found = recipes.parse([path], ["model.band_channels=3,4;5", "model.levels=1,2"])
    assert [r.options for r in found][1:3] == [
        ("model.band_channels=3,4", "model.levels=2"),
        ("model.band_channels=5", "model.levels=1"),
    ]


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [
        ("1500 steps", 1500, 0),
        ("1 step", 1, 0),
        ("20 minutes", 0, 1200),
        ("20min", 0, 1200),
        ("90 s", 0, 90),
        ("0.5 Hours", 0, 1800),
    ],
)
def test_budgets(text, steps, seconds):
    assert Budget.parse(text) == Budget(steps, seconds)


@pytest.mark.parametrize("text", ["", "20", "steps", "-3 s", "3 days", "1e3 s", "inf s", "nan h"])
def test_wrong_budgets(text):
    with pytest.raises(UserError, match="--budget"):
        Budget.parse(text)


# ---------------------------------------------------------------- the process of a training


def test_commands_run_apart():
    done = runner.execute([sys.executable, "-c", "print('x'); raise SystemExit(7)"], capture=True)
    assert (done.returncode, done.stdout) == (7, "x\n")
    for code, error in ((130, KeyboardInterrupt), (143, console.Terminated)):
        with pytest.raises(error):
            runner.execute([sys.executable, "-c", f"raise SystemExit({code})"])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_training_may_save_when_the_comparison_is_stopped(tmp_path):
    program = (
        "import pathlib, signal, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "def stop(*_): (folder / 'saved').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "(folder / 'begun').touch()\n"
        "time.sleep(60)\n"
    )

    def kill():
        while not (tmp_path / "begun").exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, console._terminate)
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(console.Terminated):
            runner.execute([sys.executable, "-c", program, str(tmp_path)])
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "saved").exists()


def test_the_command_of_a_training_is_one_for_a_shell(made):
    done = runner.execute(runner.train_command(made / "settings" / "a_seed0.ini", "--list"), True)
    assert done.returncode == 0 and "a_seed0  " in done.stdout


def test_a_training_that_began_with_another_runtime_may_resume(tmp_path):
    """Files are enhanced in TensorFlow whatever [enhance] runtime says."""
    path = tmp_path / "a.ini"
    for runtime, level in (("tensorflow", 0), ("auto", 0), ("auto", 3)):
        options = [f"enhance.runtime={runtime}", f"enhance.post_gain_db={level}"]
        training = runner.Training(None, ini.load(None, options), path)
        if level:
            with pytest.raises(UserError, match=r"other settings .*post_gain_db was 0, is 3"):
                runner._write_ini(training)
        else:
            runner._write_ini(training)
    assert ini.load(path).enhance.runtime == "auto"
