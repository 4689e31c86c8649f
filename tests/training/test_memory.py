"""The published network trains within 3 GB."""

import json
import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the peak is read from the resource module")
def test_a_step_of_the_published_network_fits_in_3_gb():
    command = [sys.executable, str(ROOT / "benchmarks" / "train.py"), "--network", "published"]
    command += ["--loop", "ours", "--steps", "2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout.splitlines()[-1])
    assert figures["parameters"] == 27_579_091
    assert figures["peak_mb"] < 3 * 1024**3 / 1e6
