"""The checks that take too long for the tests: make test-slow.

    python benchmarks/slow.py [CHECK ...]

    robustness    kills, full disk, read-only, two at once, clock, paths, fuzzed and forged files
    training      kills of a training, every other one while a checkpoint is being written
    data          kills of the data set's making; Dask makes the same bytes
    hours         an hour in one piece through TensorFlow and ONNX Runtime, in bounded memory

The benchmarks of the same subjects, with fewer attempts. Ends with a table; exit code 1 if a check
failed. What needs root or another system is skipped with its reason.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import project  # noqa: E402

BOUND_MB = 100  # that an hour may take above the imports
DATA = ["--files", "120", "--kills", "6", "--engines", "dask"]
CHECKS: dict[str, list[list[str]]] = {
    "robustness": [["robustness.py", "--scale", "0.1"]],
    "training": [["kills.py", "--kills", "6"]],
    "data": [["data_prep_kills.py", "speech", "noise", *DATA]],
    "hours": [
        ["day.py", "--hours", "1", "--bound-mb", str(BOUND_MB), "--runtime", runtime]
        for runtime in ("tensorflow", "onnx")
    ],
}
POSIX_ONLY = ("training", "data", "hours")  # process groups, and the memory of a process


def run(check: str, folder: Path) -> str:
    """Run a check in a folder with a small project; return what came of it."""
    if check in POSIX_ONLY and os.name != "posix":
        return "skipped: needs Linux or macOS"
    for script, *words in CHECKS[check]:
        command = [sys.executable, str(ROOT / "benchmarks" / script), *words]
        print(f"$ python benchmarks/{script} {' '.join(words)}", flush=True)
        if code := subprocess.run(command, cwd=folder).returncode:
            return f"FAILED: {script} ended with {code}"
    return "passed"


def main() -> int:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("check", nargs="*", default=list(CHECKS), help=", ".join(CHECKS))
    results = []
    for check in p.parse_args().check:
        with tempfile.TemporaryDirectory() as temporary:
            project.make(Path(temporary))
            begun = time.monotonic()
            text = run(check, Path(temporary))
            results.append((check, text, (time.monotonic() - begun) / 60))
    print("\n".join(f"{check:12}{minutes:6.1f} min  {text}" for check, text, minutes in results))
    return int(any("FAILED" in text for _, text, _ in results))


if __name__ == "__main__":
    sys.exit(main())
