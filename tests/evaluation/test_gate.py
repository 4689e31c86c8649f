"""The gate on enhancers with known faults, alone and in evaluate.py."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from helpers import PROJECT_RATE, make_voices, voice, write_audio
from numpy.testing import assert_allclose

import evaluate as script
from specmask.config.inference import Evaluate
from specmask.config.schema import Config
from specmask.enhancement import array, enhancer
from specmask.evaluation import gate

RATE = 8000


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return make_voices(tmp_path_factory.mktemp("speech"), PROJECT_RATE, 1.5)


def noisy_by(level: float):
    rng = np.random.default_rng(0)
    return lambda x, rate: x + (level * rng.standard_normal(x.shape)).astype(np.float32)


def test_an_enhancer_that_does_nothing(speech):
    rows = gate.measure(lambda x, rate: x, speech, [], RATE)
    found = gate.means(rows)
    assert [(m["files"], m["left_out"]) for m in found.values()] == [(2, 1), (1, 0), (2, 0)]
    assert found[gate.SPEECH]["si_sdr"] == 100 and found[gate.MUSIC]["level_change"] == 0
    assert_allclose(found[gate.SILENCE]["highest_level"], gate.FAINT_DBFS, atol=0.1)
    assert min(row["level"] for row in rows if not row["reason"]) == gate.LOWEST_DB
    assert gate.violations(rows, 3.0, Config()) == []
    assert "clean speech     2     100.00      0.00          0.00" in gate.table(rows)
    assert "left out: 2.wav: not readable as audio" in gate.table(rows)


def test_faults_are_measured(speech):
    rows = gate.measure(lambda x, rate: 0.5 * x, speech, speech[:1], RATE)
    found = gate.means(rows)
    assert_allclose([found[k]["level_change"] for k in (gate.SPEECH, gate.MUSIC)], -6.02, atol=0.01)
    assert found[gate.SPEECH]["si_sdr"] == 100
    loud = gate.means(gate.measure(noisy_by(0.01), speech, [], RATE))
    assert_allclose(loud[gate.SILENCE]["highest_level"], -40, atol=0.1)
    quiet = gate.means(gate.measure(lambda x, rate: 0 * x, speech, [], RATE))
    assert quiet[gate.SPEECH]["si_sdr"] is None


@pytest.mark.parametrize(
    ("enhance", "improvement", "words"),
    [
        (lambda x, rate: 0.5 * x, 1.0, "level change of clean speech: 6.02 dB, expected at most 1"),
        (noisy_by(0.1), 1.0, "SI-SDR of clean speech: "),
        (noisy_by(0.001), 1.0, "level of silence: -59.9"),
        (lambda x, rate: 1.2 * x, 1.0, "gain of music: 1.58 dB, expected at most 1"),
        (lambda x, rate: 0 * x, 1.0, "clean speech: the output is silent for 2 files"),
        (lambda x, rate: x, -0.5, "SI-SDR improvement: -0.50 dB, expected at least 0"),
    ],
)
def test_violated_bounds_are_named(speech, enhance, improvement, words):
    rows = gate.measure(enhance, speech, [], RATE)
    assert any(line.startswith(words) for line in gate.violations(rows, improvement, Config()))


def test_gains_that_cancel_out_are_a_level_change(speech):
    gains = iter([2, 0.5, 2, 0.5])
    rows = gate.measure(lambda x, rate: next(gains, 1) * x, speech[:2], speech[:2], RATE)
    found = gate.means(rows)
    for kind in (gate.SPEECH, gate.MUSIC):
        assert_allclose(found[kind]["level_change"], 0, atol=1e-4)
        assert_allclose([found[kind]["level_error"], found[kind]["highest_gain"]], 6.02, atol=0.01)
    lines = gate.violations(rows, 1.0, Config())
    assert [line.split(":")[0] for line in lines] == [
        "level change of clean speech",
        "gain of music",
    ]


def test_one_muted_file_among_many_is_reported(speech):
    levels = iter([1, 0])
    rows = gate.measure(lambda x, rate: next(levels, 1) * x, speech[:2], [], RATE)
    assert "clean speech: the output is silent for 1 files" in gate.violations(rows, 1.0, Config())


def test_nan_is_a_violation_and_no_silence(speech):
    """Of speech, music and silence; the other files count as before."""
    bad = iter([False, True, True, True])
    rows = gate.measure(lambda x, rate: x * (np.nan if next(bad, 0) else 1), speech[:2], [], RATE)
    lines = gate.violations(rows, 1.0, Config())
    said = "the output holds NaN or infinite samples for 1 of"
    expected = [f"clean speech: {said} 2 files", f"music: {said} 1 files", f"silence: {said} 2"]
    assert lines[:2] == expected[:2] and lines[2].startswith(expected[2])
    found = gate.means(rows)
    assert found[gate.SPEECH]["si_sdr"] == 100 and found[gate.SPEECH]["left_out"] == 1
    assert f"left out: 1.wav: {gate.NOT_FINITE}" in gate.table(rows)


def test_nothing_to_measure_is_a_violation(speech):
    rows = gate.measure(lambda x, rate: x, speech[2:], speech[2:], RATE)
    lines = gate.violations(rows, 1.0, Config())
    assert lines == ["clean speech: no usable file", "music: no usable file"]
    assert (
        gate.violations(gate.measure(lambda x, rate: x, [], [], RATE), 1.0, Config()) == lines[:1]
    )


def test_a_silent_channel_costs_no_score(tmp_path):
    x = voice(np.random.default_rng(0), 1)
    write_audio(tmp_path / "s.wav", np.stack([x, 0 * x], axis=1), PROJECT_RATE)
    row = gate.measure(noisy_by(0.01), [tmp_path / "s.wav"], [], RATE)[0]
    assert 10 < row["si_sdr"] < 40


def test_long_music_is_heard_in_pieces(tmp_path):
    x = np.tile(voice(np.random.default_rng(0), 1), 35)
    write_audio(tmp_path / "long.wav", x, PROJECT_RATE)
    heard = []

    def enhance(samples, rate):
        heard.append(samples)
        return samples

    rows = gate.measure(enhance, [], [tmp_path / "long.wav"], RATE)
    names = [row["file"] for row in rows if row["kind"] == gate.MUSIC]
    assert names == ["long.wav", "long.wav from 10 s", "long.wav from 20 s"]
    read = sf.read(tmp_path / "long.wav", dtype="float32")[0]
    assert np.array_equal(heard[2][:, 0], read[20 * RATE : 30 * RATE])
    few = gate.measure(enhance, [], [tmp_path / "long.wav"], RATE, count=2)
    assert [r["file"] for r in few][:2] == ["long.wav", "long.wav from 20 s"]


def test_chosen_files_are_evenly_spaced():
    assert gate.evenly_spaced("abcde", 3) == ["a", "c", "e"]
    assert gate.evenly_spaced("abc", 5) == ["a", "b", "c"] and gate.evenly_spaced("abc", 1) == ["a"]


def test_words_before_and_after(speech):
    pytest.importorskip("jiwer", reason="extra asr is not installed")
    known = [(speech[0], "ONE TWO"), (speech[1], "THREE"), (speech[2], "FOUR")]

    def recogniser(x, rate):
        return "one two" if np.abs(x).max() > 0.4 else "one"

    heard = gate.words(lambda x, rate: 0.5 * x, known, recogniser)
    # before: right; one substituted and one inserted; the damaged file loses its word
    # after: one deleted; one substituted; lost
    assert (heard["before"].wer, heard["after"].wer) == (3 / 4, 3 / 4)
    assert heard["before"].failed == heard["after"].failed == 1
    heard = gate.words(lambda x, rate: 0.5 * x, known[:1], recogniser)
    assert (heard["before"].wer, heard["after"].wer) == (0, 1 / 2)
    rows = gate.measure(lambda x, rate: x, speech, [], RATE)
    line = "rise of word errors on clean speech: 50.00 points, expected at most 10"
    assert gate.violations(rows, 1.0, Config(), heard) == [line]
    assert "0.0 % before, 50.0 % after (2 words in 1 files)" in gate.table(rows, heard)
    assert gate.words(lambda x, rate: x, [], recogniser) is None


def test_bounds_come_from_the_config(speech):
    rows = gate.measure(lambda x, rate: 0.5 * x, speech, [], RATE)
    bounds = Config(evaluate=Evaluate(gate_speech_level=7))
    assert gate.violations(rows, None, bounds) == []


@pytest.fixture
def model(monkeypatch):
    """Replace the enhancer by one that does nothing but the gain of its settings."""

    def load(path, channels, highband, knobs, runtime):
        return SimpleNamespace(rate=RATE, knobs=knobs)

    monkeypatch.setattr(enhancer, "find", lambda config: config.train.checkpoint_path)
    monkeypatch.setattr(enhancer, "load", load)
    monkeypatch.setattr(array, "enhance", lambda x, rate, model: np.float32(model.knobs.gain) * x)


def test_the_gate(tmp_path, speech, model, capsys):
    for folder in ("CleanSpeech_testing", "NoisySpeech_testing", "enhanced"):
        for path in speech[:2]:
            x = voice(np.random.default_rng(int(path.stem)), 1.5)
            gain = {"C": 0, "N": 0.1, "e": 0.05}[folder[0]]
            hiss = gain * np.random.default_rng(9).standard_normal(len(x))
            write_audio(tmp_path / folder / path.name, 0.5 * x + hiss, PROJECT_RATE)
    ini = tmp_path / "config.ini"
    settings = "[enhance]\npost_gain_db = -6.0206\n[compute]\nworkers = 1\n"
    ini.write_text(f"[data]\ndata_path = .\n{settings}")
    arguments = ["--config", str(ini), "--gate"]
    assert script.main(arguments) == 1
    printed = capsys.readouterr()
    assert f"gate: measures {tmp_path / 'cp'} with the settings of [enhance]" in printed.out
    assert "clean speech     2     100.00     -6.02         -6.02" in printed.out
    assert "pitch x 1.5          2     100.00     -6.02     100.00" in printed.out
    lines = printed.err.splitlines()
    assert lines[0] == "gate: level change of clean speech: 6.02 dB, expected at most 1.5"
    wanted = "gate: dropped frames of clean speech, as it is: 100.00 %, expected at most 2"
    assert wanted in lines
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["harm"]["music"]["files"] == 1
    assert summary["probes"]["20 dB softer"]["dropped"] == 1
    assert "Clean speech of any pitch" in (tmp_path / "report" / "index.html").read_text()
    bounds = ["gate_speech_level=7", "gate_voice_level=7", "gate_voice_dropped=100"]
    options = [part for bound in bounds for part in ("--set", f"evaluate.{bound}")]
    assert script.main([*arguments, *options]) == 0
    assert "gate: all bounds hold" in capsys.readouterr().out
    muted = tmp_path / "enhanced" / "1.wav"
    sound = muted.read_bytes()
    write_audio(muted, np.zeros(12000), PROJECT_RATE)
    assert script.main([*arguments, *options]) == 1
    printed = capsys.readouterr()
    line = "enhanced files: 1 of 2 are silent and their clean ones are not, the first 1"
    assert printed.err.splitlines() == [f"gate: {line}"]
    assert "warning: enhanced: 1 of 2 files are silent and their clean ones are not (1)" in (
        printed.out
    )
    muted.write_bytes(sound)
    folders = [str(tmp_path / "CleanSpeech_testing"), str(tmp_path / "enhanced")]
    assert script.main([*folders, *arguments]) == 1
    assert "no SI-SDR improvement to check" in capsys.readouterr().out
    assert script.main(arguments[:2]) == 0  # without --gate nothing is held
    empty = [*arguments, "--set", f"evaluate.music_path={tmp_path / 'none'}"]
    assert script.main(empty) == 2
    assert "none: no audio files; correct the path" in capsys.readouterr().err
