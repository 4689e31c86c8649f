"""The do-no-harm check on enhancers whose harm is known, and the gate of evaluate.py."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import project
import pytest
from numpy.testing import assert_allclose
from test_evaluation import script

import specmask
from specmask import cli, harm
from specmask.config import Config, Evaluate

RATE = 8000


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two voices and a damaged file."""
    folder = tmp_path_factory.mktemp("speech")
    paths = [folder / f"{k}.wav" for k in range(3)]
    for k, path in enumerate(paths[:2]):
        project.write(path, project.voice(np.random.default_rng(k), 1.5))
    paths[2].write_text("no audio")
    return paths


def noisy_by(level: float):
    rng = np.random.default_rng(0)
    return lambda x, rate: x + (level * rng.standard_normal(x.shape)).astype(np.float32)


def test_an_enhancer_that_does_nothing(speech):
    rows = harm.check(lambda x, rate: x, speech, [], RATE)
    found = harm.means(rows)
    assert [m["files"] for m in found.values()] == [2, 1, 2]
    assert found[harm.SPEECH]["si_sdr"] == 100 and found[harm.MUSIC]["level_change"] == 0
    assert_allclose(found[harm.SILENCE]["highest_level"], harm.FAINT_DBFS, atol=0.1)
    assert min(row["level"] for row in rows) == harm.LOWEST_DB
    assert harm.broken(rows, 3.0, Config()) == []
    assert "clean speech     2     100.00      0.00" in harm.table(rows)


def test_harm_is_measured(speech):
    rows = harm.check(lambda x, rate: 0.5 * x, speech, speech[:1], RATE)
    found = harm.means(rows)
    assert_allclose([found[k]["level_change"] for k in (harm.SPEECH, harm.MUSIC)], -6.02, atol=0.01)
    assert found[harm.SPEECH]["si_sdr"] == 100
    loud = harm.means(harm.check(noisy_by(0.01), speech, [], RATE))
    assert_allclose(loud[harm.SILENCE]["highest_level"], -40, atol=0.1)
    quiet = harm.means(harm.check(lambda x, rate: 0 * x, speech, [], RATE))
    assert quiet[harm.SPEECH]["si_sdr"] is None


@pytest.mark.parametrize(
    ("enhance", "improvement", "words"),
    [
        (lambda x, rate: 0.5 * x, 1.0, "level change of clean speech: 6.02 dB, expected at most 1"),
        (noisy_by(0.1), 1.0, "SI-SDR of clean speech: "),
        (noisy_by(0.001), 1.0, "level of silence: -59.9"),
        (lambda x, rate: 1.2 * x, 1.0, "gain of music: 1.58 dB, expected at most 1"),
        (lambda x, rate: 0 * x, 1.0, "SI-SDR of clean speech: nothing comes out"),
        (lambda x, rate: x, -0.5, "SI-SDR improvement: -0.50 dB, expected at least 0"),
    ],
)
def test_broken_bounds_are_named(speech, enhance, improvement, words):
    rows = harm.check(enhance, speech, [], RATE)
    assert any(line.startswith(words) for line in harm.broken(rows, improvement, Config()))


def test_bounds_come_from_the_config(speech):
    rows = harm.check(lambda x, rate: 0.5 * x, speech, [], RATE)
    bounds = Config(evaluate=Evaluate(gate_speech_level=7))
    assert harm.broken(rows, None, bounds) == []


@pytest.fixture
def model(monkeypatch):
    """Put an enhancer that halves the level in the place of the one with TensorFlow."""
    stub = SimpleNamespace(
        find=lambda config: config.train.checkpoint_path,
        load=lambda run, channels: SimpleNamespace(rate=RATE),
        enhance=lambda x, rate, model: 0.5 * x,
    )
    monkeypatch.setitem(sys.modules, "specmask.enhancer", stub)
    monkeypatch.setattr(specmask, "enhancer", stub, raising=False)
    monkeypatch.setattr(cli, "import_tensorflow", lambda: None)


def test_the_gate(tmp_path, speech, model, capsys):
    for folder in ("CleanSpeech_testing", "NoisySpeech_testing", "enhanced"):
        for path in speech[:2]:
            x = project.voice(np.random.default_rng(int(path.stem)), 1.5)
            gain = {"C": 0, "N": 0.1, "e": 0.05}[folder[0]]
            hiss = gain * np.random.default_rng(9).standard_normal(len(x))
            project.write(tmp_path / folder / path.name, 0.5 * x + hiss)
    ini = tmp_path / "config.ini"
    ini.write_text("[data]\ndata_path = .\n[compute]\nworkers = 1\n")
    arguments = ["--config", str(ini), "--gate"]
    assert script().main(arguments) == 1
    printed = capsys.readouterr()
    assert "clean speech     2     100.00     -6.02" in printed.out
    assert printed.err == "gate: level change of clean speech: 6.02 dB, expected at most 1.5\n"
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["harm"]["music"]["files"] == 1
    assert script().main([*arguments, "--set", "evaluate.gate_speech_level=7"]) == 0
    assert script().main(arguments[:2]) == 0  # without --gate nothing is held
