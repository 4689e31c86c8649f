"""Enhance a recording of hours in one process and print frames and memory as JSON.

python tests/slow/long_recording.py FOLDER HOURS {tensorflow,onnx}

FOLDER holds a run; see test_long_recording.py. Memory is the largest resident set so far, in MB
(10^6 bytes), as the operating system counts the process.
"""

import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import soundfile as sf

from specmask.enhancement import enhancer
from specmask.enhancement.file import enhance_file

RATE = 8000


def peak_mb() -> float:
    """Return the largest memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(folder: Path, hours: float, runtime: str) -> None:
    """Write the recording block by block, enhance it, and print what it took."""
    minute = (0.1 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
    with sf.SoundFile(folder / "long.wav", "w", RATE, 1) as file:
        for _ in range(round(60 * hours)):
            file.write(minute)
    model = enhancer.load(folder, runtime=runtime)
    enhance_file(folder / "long.wav", folder / "out.wav", model, 10)
    frames = sf.info(folder / "out.wav").frames
    print(json.dumps({"frames": frames, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
