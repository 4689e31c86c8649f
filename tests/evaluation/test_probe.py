"""Probes on enhancers with known faults, in memory and from a folder."""

import shutil
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile as sf
from helpers import RATE, make_voices, voice, write_audio
from numpy.testing import assert_allclose

import evaluate as script
from specmask.config.inference import Evaluate
from specmask.config.schema import Config
from specmask.enhancement import array, enhancer
from specmask.errors import UserError
from specmask.evaluation import gate, probe


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return make_voices(tmp_path_factory.mktemp("speech"), RATE, 2)


def nothing(x: np.ndarray, rate: int) -> np.ndarray:
    return x


def test_an_enhancer_that_does_nothing(speech):
    rows = probe.measure(nothing, probe.make(speech, RATE))
    found = probe.means(rows)
    assert list(found) == list(probe.PROBES)
    for name, m in found.items():
        files = 1 if name in probe.WITHOUT_SPEECH else 2
        assert (m["files"], m["left_out"]) == (files, 1)
        if name == "silence":
            assert m["si_sdr"] is None and m["level"] == gate.LOWEST_DB
            continue
        assert abs(m["gain"]) < 2e-3 and m["dropped"] == 0
        assert_allclose(m["si_sdr"], 20 if name == "hum of 50 Hz" else 100, atol=0.5, rtol=0.5)
    of_gate = [row for row in rows if row["probe"] in probe.GATE]
    assert probe.violations(of_gate, Config()) == []
    assert "left out: 2.wav: not readable as audio" in probe.table(rows)


def test_probes_are_what_their_names_say(speech):
    made = {p.name: p for p in probe.make(speech[:2], RATE) if p.file in ("0.wav", "")}
    plain = made["as it is"].input
    for factor in (0.7, 0.8, 1.25, 1.5):
        assert_allclose(len(plain) / len(made[f"pitch x {factor}"].input), factor, rtol=1e-3)
    assert_allclose(made["20 dB softer"].input, 0.1 * plain, atol=1e-6)
    assert_allclose(made["offset 0.05"].input - made["offset 0.05"].reference, 0.05, atol=1e-6)
    assert_allclose(np.abs(made["peak -50 dBFS"].input).max(), 10 ** (-50 / 20), rtol=1e-4)
    for name, low, high in (("up to 4000 Hz", 0, 4500), ("300 to 3400 Hz", 150, 3700)):
        power = np.abs(np.fft.rfft(made[name].input)) ** 2
        hertz = np.fft.rfftfreq(len(made[name].input), 1 / RATE)
        assert power[(hertz < low) | (hertz > high)].sum() < 1e-4 * power.sum()
    before = round(probe.BUMP_SECONDS * RATE)
    bump, after = np.split(made["after a bump"].input, [before])
    assert_allclose(after, made["after a bump"].reference, atol=1e-6)
    assert np.abs(bump).max() > 5 * np.abs(after).max()
    clipped = made["clipped"].input
    assert_allclose(np.mean(np.abs(clipped) >= np.abs(clipped).max() * 0.9999), 0.02, atol=0.005)
    assert len(made["after a pause"].input) == 2 * len(plain) + 10 * RATE
    assert not made["silence"].input.any()


def test_a_soft_output_is_a_gain_and_lost_frames_are_dropped():
    x = voice(np.random.default_rng(0), 2, RATE)
    soft = probe.compare(x, 0.5 * x, RATE)
    assert_allclose(soft["gain"], -6.02, atol=0.01)
    assert soft["dropped"] == 1 and soft["si_sdr"] == 100
    holes = np.where(np.arange(len(x)) % 4000 < 2000, x, 0)
    assert 0.3 < probe.compare(x, holes, RATE)["dropped"] < 0.7
    assert probe.compare(x, 0 * x, RATE)["si_sdr"] == probe.SILENT_SI_SDR


def test_noise_beside_the_speech_is_no_gain():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(8000)
    row = probe.compare(x, x + 10 ** (-10 / 20) * rng.standard_normal(8000), RATE)
    assert_allclose([row["si_sdr"], row["gain"]], [10, 0], atol=0.3)


@pytest.mark.parametrize(
    ("enhance", "words"),
    [
        (lambda x, rate: 0.7 * x, "level error of clean speech, pitch x 0.7: 3.10 dB"),
        (lambda x, rate: 0.4 * x, "dropped frames of clean speech, 20 dB softer: 100.00 %"),
        (lambda x, rate: 0 * x, "SI-SDR of clean speech, as it is"),
    ],
)
def test_violated_bounds_are_named(speech, enhance, words):
    rows = probe.measure(enhance, probe.make(speech[:1], RATE, names=probe.GATE))
    assert any(line.startswith(words) for line in probe.violations(rows, Config()))


def test_bounds_come_from_the_config(speech):
    rows = probe.measure(nothing, probe.make(speech, RATE, names=probe.GATE))
    strict = probe.violations(rows, Config(evaluate=Evaluate(gate_voice_si_sdr=30)))
    assert len(strict) == 1 and strict[0].startswith("SI-SDR of clean speech, hum of 50 Hz: 20.")
    rows = probe.measure(nothing, probe.make(speech[2:], RATE, names=probe.GATE))
    expected = [f"clean speech, {name}: no usable file" for name in probe.GATE]
    assert probe.violations(rows, Config()) == expected


def test_a_set_for_another_program(speech, tmp_path, capsys):
    """Another program that halves the level, names files its own way, and loses 10 ms."""
    clean = str(speech[0].parent)
    options = ["--config", str(tmp_path / "c.ini"), "--probe-set", str(tmp_path / "set")]
    (tmp_path / "c.ini").write_text("[data]\nsample_rate = 16000\n")
    assert script.main([*options, clean]) == 0
    inputs = sorted((tmp_path / "set" / "input").iterdir())
    assert f"{len(inputs)} probes -> " in capsys.readouterr().out
    for path in inputs:
        x, rate = sf.read(path)
        write_audio(tmp_path / "out" / f"{path.stem}_tool.wav", 0.5 * x[:-160], rate)
    assert script.main([*options, "--probe", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1 + len(probe.PROBES)
    line = next(line for line in out.splitlines() if line.startswith("as it is"))
    assert " -6.0" in line and " 100.00 " in line
    write_audio(tmp_path / "out" / "0000_tool.wav", np.ones(5), RATE)
    assert script.main([*options, "--probe", str(tmp_path / "out")]) == 0
    assert "left out: 0.wav: 5 samples at 16000 Hz, expected 32000" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"probes\.json: not readable .* write a set"):
        probe.measure_folder(tmp_path, tmp_path / "out")


def test_a_set_of_fewer_files_replaces_one_of_more(speech, tmp_path):
    """Files with other names stay; a file that the set does not list is reported."""
    for names in (("as it is", "offset 0.05", "clipped"), ("as it is",)):
        probe.write_set(tmp_path, probe.make(speech[:1], RATE, names=names))
        write_audio(tmp_path / "input" / "notes.wav", np.zeros(9))
    assert sorted(p.name for p in (tmp_path / "input").iterdir()) == ["0000.wav", "notes.wav"]
    assert [row["si_sdr"] for row in probe.measure_folder(tmp_path, tmp_path / "reference")] == [
        100
    ]
    shutil.copy(tmp_path / "reference" / "0000.wav", tmp_path / "reference" / "0007.wav")
    with pytest.raises(UserError, match=r"0007\.wav: not in .*probes\.json; remove it"):
        probe.measure_folder(tmp_path, tmp_path / "reference")


def test_a_set_replaces_no_files_of_the_user(speech, tmp_path, monkeypatch):
    """A set whose writing was killed is written again."""
    paths = [tmp_path / "input" / "0000.wav", tmp_path / "reference" / "0500.wav"]
    for path in paths:
        write_audio(path, np.ones(9), RATE)
    before = [path.read_bytes() for path in paths]
    probes = list(probe.make(speech[:1], RATE, names=("as it is",)))
    with pytest.raises(UserError, match=r"0000\.wav: of no set of probes .* another folder"):
        probe.write_set(tmp_path, probes)
    assert [path.read_bytes() for path in paths] == before
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        stop = Mock(side_effect=[np.zeros(9), KeyboardInterrupt])
        patched.setattr(probe.levels, "to_int16", stop)
        probe.write_set(tmp_path / "set", probes)
    assert (tmp_path / "set" / "input" / "0000.wav").is_file()
    assert probe.write_set(tmp_path / "set", probes) == 1


def test_nan_is_a_reason_and_a_violation(speech, tmp_path):
    """Of a model, and of a file that another program made."""
    bad = iter([True])
    rows = probe.measure(
        lambda x, rate: x * (np.nan if next(bad, 0) else 1),
        probe.make(speech[:1], RATE, names=probe.GATE[:2]),
    )
    assert [row["reason"] for row in rows] == ["the output holds NaN or infinite samples", ""]
    line = "clean speech, as it is: the output holds NaN or infinite samples for 1 of 1 files"
    assert probe.violations(rows, Config())[0] == line
    probe.write_set(tmp_path, probe.make(speech[:1], RATE, names=probe.GATE[:2]))
    for path in sorted((tmp_path / "input").iterdir()):
        x = sf.read(path, dtype="float32")[0]
        x[100] = np.nan if path.stem == "0000" else x[100]
        write_audio(tmp_path / "out" / path.name, x, RATE, subtype="FLOAT")
    rows = probe.measure_folder(tmp_path, tmp_path / "out")
    assert [row["reason"] for row in rows] == ["the output holds NaN or infinite samples", ""]


def test_a_first_channel_without_sound_is_left_out(speech, tmp_path):
    """Probes are made of the first channel alone: silent, or a constant."""
    x = sf.read(speech[0])[0]
    for name, first in (("silent", 0 * x), ("constant", 0 * x + 0.1)):
        write_audio(tmp_path / f"{name}.wav", np.stack([first, x], axis=1))
    write_audio(tmp_path / "usable.wav", np.stack([x, 0 * x], axis=1))
    rows = probe.measure(nothing, probe.make(sorted(tmp_path.iterdir()), RATE, names=probe.GATE))
    reasons = {row["file"]: row["reason"] for row in rows}
    assert reasons == {"silent.wav": "silent", "constant.wav": "silent", "usable.wav": ""}
    assert probe.violations(rows, Config()) == []


def test_probes_of_a_model(speech, tmp_path, monkeypatch, capsys):
    """The model is used with the settings of [enhance]."""

    def load(path, channels, highband, knobs, runtime):
        assert (path, channels, highband, runtime) == ("m.onnx", "mid", "drop", "onnx")
        return SimpleNamespace(rate=RATE, knobs=knobs)

    monkeypatch.setattr(enhancer, "load", load)
    monkeypatch.setattr(array, "enhance", lambda x, rate, model: np.float32(model.knobs.gain) * x)
    settings = "post_gain_db = -3\nchannels = mid\nhighband = drop\nruntime = onnx\n"
    (tmp_path / "c.ini").write_text(f"[enhance]\n{settings}")
    arguments = ["--config", str(tmp_path / "c.ini"), "--probe", "m.onnx", str(speech[0].parent)]
    assert script.main(arguments) == 0
    assert "pitch x 1.5          2     100.00     -3.00       0.00" in capsys.readouterr().out
