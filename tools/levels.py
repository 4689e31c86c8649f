"""Quality of one model over the level of its input: recordings scaled, enhanced, scored.

    python tools/levels.py cp/run NOISY CLEAN [--levels -50 -40 -30 -20 -12 -6]

The level is the RMS of the noisy recording in dBFS. Nothing is clipped: samples are floats.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.cli import console
from specmask.enhancement import array, enhancer
from specmask.evaluation.metrics import table
from specmask.export import check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("noisy", type=Path)
    parser.add_argument("clean", type=Path)
    parser.add_argument("--levels", type=float, nargs="+", default=[-50, -40, -30, -20, -12, -6])
    parser.add_argument("--files", type=int, default=10**6)
    args = parser.parse_args()
    console.import_tensorflow()
    model = enhancer.load(args.checkpoint)
    pairs = [
        [audio_io.to_mono(audio_io.read(path)[0]) for path in pair]
        for pair in check.find_pairs(args.noisy, args.clean, args.files)
    ]
    names = ["si_sdr", "pesq", "stoi"]
    print(f"{len(pairs)} recordings\n level dBFS   " + "".join(f"{n:>9s}" for n in names))
    for level in args.levels:
        rows = []
        for noisy, clean in pairs:
            gain = np.float32(10 ** ((level - levels.level_db(noisy)) / 20))
            y = array.enhance(gain * noisy, model.rate, model)
            rows.append(table.score(clean, None, y / gain, model.rate, names)[0])
        means = [np.mean([row[name] for row in rows]) for name in names]
        print(f"{level:11.0f}   " + "".join(f"{m:9.4f}" for m in means), flush=True)


if __name__ == "__main__":
    main()
