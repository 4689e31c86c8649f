"""Processor time of the C example and the LADSPA plugin, beside LiteRT and ONNX Runtime.

    python benchmarks/native.py --seconds 15

On noise, with the default model; needs a C compiler, make, and Debian's ladspa-sdk. The runs
alternate and the smallest of each counts: they share the machine with whatever else runs.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import soundfile as sf

from specmask.enhancement import array, enhancer, runtimes
from specmask.export import c_source, program

ROUNDS = 3


def own_seconds(function: Callable) -> float:
    """Processor time of a function in this process."""
    started = time.process_time()
    function()
    return time.process_time() - started


def child_seconds(command: list, folder: Path) -> float:
    """Processor time of a command, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*map(str, command)], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=15, help="of noise")
    seconds = parser.parse_args().seconds
    step = enhancer.PRETRAINED / "default.onnx"
    made, description = program.from_onnx(step), runtimes.load(step).description
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in c_source.FORMATS:
            c_source.write(name, made, description, folder)
        build = "cc -O2 -o specmask main.c specmask.c model.c"
        subprocess.run(build.split(), cwd=folder / "c", check=True)
        subprocess.run(["make", "-s"], cwd=folder / "ladspa", check=True)
        for rate in (16000, 48000):
            x = (0.1 * rng.standard_normal(rate * seconds)).astype(np.float32)
            sf.write(folder / f"{rate}.wav", x, rate)
        x = sf.read(folder / "16000.wav", dtype="float32")[0]
        litert, onnx = (
            enhancer.load(enhancer.PRETRAINED / f"default{suffix}")
            for suffix in (".tflite", ".onnx")
        )
        plugin = ["out.wav", "./ladspa/specmask.so", "specmask", 1, 200, 0, 0]
        jobs = {
            "LiteRT": lambda: own_seconds(lambda: array.enhance(x, 16000, litert)),
            "ONNX Runtime": lambda: own_seconds(lambda: array.enhance(x, 16000, onnx)),
            "C": lambda: child_seconds(["c/specmask", "16000.wav", "out.wav"], folder),
            "plugin": lambda: child_seconds(["applyplugin", "16000.wav", *plugin], folder),
            "plugin, 48 kHz": lambda: child_seconds(["applyplugin", "48000.wav", *plugin], folder),
        }
        taken: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(ROUNDS):
            for name, job in jobs.items():
                taken[name].append(job())
    print("| | real-time factor |\n|---|---|")
    for name, times in taken.items():
        print(f"| {name} | {min(times) / seconds:.4f} |")


if __name__ == "__main__":
    main()
