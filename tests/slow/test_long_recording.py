"""Hours in one piece are enhanced in bounded memory, and every sample comes out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import make_run, script_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="the peak is read from the resource module"),
]
BOUND_MB = 100  # that stays above what a minute takes
NETWORK = (
    "stft.n_fft=512", "stft.window_length=0.064", "stft.hop_size=0.032", "model.conv_channels=1",
    "model.squeeze_channels=1", "model.recurrent_units=4", "model.dense_units=4",
)  # fmt: skip


def measure(folder: Path, hours: float, engine: str) -> dict:
    script = Path(__file__).with_name("long_recording.py")
    command = [sys.executable, str(script), str(folder), str(hours), engine]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("engine", ["tensorflow", "onnx"])
def test_memory_does_not_grow(engine, tmp_path, attempts):
    run, hours = make_run(tmp_path, *NETWORK), attempts(10)
    if engine == "onnx":
        command = ["--checkpoint", run, "--format", "onnx", "--noisy", tmp_path / "test_speech"]
        subprocess.run(script_command("export.py", *command), check=True, cwd=tmp_path)
    minute = measure(run, 1 / 60, engine)
    found = measure(run, hours, engine)
    assert minute["frames"] == 60 * 8000
    assert found["frames"] == hours * 3600 * 8000
    assert found["peak_mb"] - minute["peak_mb"] <= BOUND_MB
