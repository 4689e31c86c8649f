"""The examples: a WAV through an export, and errors of one line."""

import subprocess
import sys

import pytest
import soundfile as sf
from helpers import ROOT, tone, write_audio


@pytest.fixture(params=["onnx", "tflite"])
def run(request, tmp_path):
    """A function that runs an example on the default model, from a folder with two WAVs."""
    pytest.importorskip({"onnx": "onnxruntime", "tflite": "ai_edge_litert"}[request.param])
    write_audio(tmp_path / "noisy.wav", tone(440, 0.3))
    write_audio(tmp_path / "other_rate.wav", tone(440, 0.3, 8000), 8000)
    name = {"onnx": "onnx_wav.py", "tflite": "litert_wav.py"}[request.param]
    model = ROOT / f"pretrained/default.{request.param}"

    def run(source: str, target: str, model=model) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "examples" / name), str(model), source, target]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_an_example_enhances_a_wav(run, tmp_path):
    assert run("noisy.wav", "out.wav").returncode == 0
    assert sf.info(tmp_path / "out.wav").frames == sf.info(tmp_path / "noisy.wav").frames


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("other_rate.wav", "out.wav", "8000 Hz, expected 16000 Hz"),
        ("gone.wav", "out.wav", "gone.wav"),
        ("noisy.wav", "gone/out.wav", "gone/out.wav"),
    ],
)
def test_errors_of_an_example_are_one_line(run, source, target, words):
    done = run(source, target)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]  # LiteRT's
    assert done.returncode == 1 and len(lines) == 1
    assert lines[0].startswith("error: ") and words in lines[0]
