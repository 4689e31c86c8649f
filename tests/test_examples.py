"""The examples: a WAV through an export, and errors of one line."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile as sf
from helpers import ROOT, call_script, make_project, tone, write_audio


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


def test_the_notebook_runs(tmp_path, monkeypatch):
    """Every cell but the making of the demo's speech, on a small project."""
    shown = []
    sound = SimpleNamespace(Audio=lambda samples, rate: (samples, rate), display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=sound))
    monkeypatch.setitem(sys.modules, "IPython.display", sound)
    monkeypatch.chdir(ROOT / "examples")
    names: dict = {}
    cells = json.loads(Path("first_model.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        tags = cell["metadata"].get("tags", [])
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "synthesis" in tags:
            continue
        if "parameters" in tags:
            source = f"CONFIG = {str(make_project(tmp_path))!r}"
        if source.startswith("!"):
            for line in source.splitlines():
                command = shlex.split(line.removeprefix("!").format(**names))
                result = call_script(*command[1:], cwd=ROOT)
                assert result.returncode == 0, result.stderr
        else:
            exec(compile(source, "first_model.ipynb", "exec"), names)
    assert len(shown) == 6 and all(len(samples) > 1000 for samples, _ in shown)
    assert names["own"].runtime.name == "LiteRT"
    assert not [cell for cell in cells if cell.get("outputs")]
