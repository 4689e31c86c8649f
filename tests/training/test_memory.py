"""The published network trains within 3 GB."""

import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is read from the resource module")
def test_a_step_of_the_published_network_fits_in_3_gb():
    result = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "memory.py")],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    figures = dict(line for line in lines if len(line) == 2)
    assert figures["parameters"] == "27579091"
    assert float(figures["peak_mb"]) < 3 * 1024**3 / 1e6
