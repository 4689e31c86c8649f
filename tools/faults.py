"""Faults of enhanced files, in measures of what one would hear: the worst files first.

    python tools/faults.py CLEAN NOISY ENHANCED [--by MANIFEST] [--worst 10]

The same STFT (25 ms / 10 ms) of all three. With S clean, Y noisy, E enhanced and N = Y − S, bins
belong to speech where |S| > |N|, to noise where |N| > |S|, and frames without speech (40 dB below
the loudest) are pauses. In dB, over all such bins of a file:

    speech    Σ|E|² / Σ|S|² over bins of speech: below 0, speech was removed
    treble    the same above 3 kHz
    level     level of the active speech of E over that of S, by projection on S
    noise     Σ|E|² / Σ|Y|² over bins of noise: what is left of it
    pauses    the same over pauses alone
    musical   the kurtosis of |E|² over that of |Y|² in pauses, as a logarithm: above 0, what is
              left twitters more than the noise did (Uemura et al. 2008, IWAENC)
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from specmask.audio import io as audio_io  # noqa: E402
from specmask.audio.stft import Stft, forward  # noqa: E402
from specmask.evaluation import pairing  # noqa: E402
from specmask.evaluation.metrics import distortion  # noqa: E402

TREBLE_HZ = 3000
PAUSE_DB = -40
FLOOR = 1e-12
COLUMNS = ("SI-SDR", "gain", "speech", "treble", "level", "noise", "pauses", "musical")


def faults(clean: np.ndarray, noisy: np.ndarray, enhanced: np.ndarray, rate: int) -> list[float]:
    """Return a figure per column; NaN where a file has no such bins."""
    stft = Stft.hann(round(0.025 * rate), round(0.01 * rate))
    s, y, e = (np.abs(forward(x, stft)) ** 2 + FLOOR for x in (clean, noisy, enhanced))
    n = np.abs(forward(noisy - clean, stft)) ** 2 + FLOOR
    frames = s.sum(axis=1)
    pauses = frames < frames.max() * 10 ** (PAUSE_DB / 10)
    speech, treble = s > n, np.arange(stft.bins) * rate / stft.n_fft >= TREBLE_HZ
    projection = abs(np.dot(clean, enhanced)) / np.dot(clean, clean)
    return [
        distortion.si_sdr(clean, enhanced),
        distortion.si_sdr_improvement(clean, noisy, enhanced),
        ratio_db(e[speech], s[speech]),
        ratio_db(e[:, treble][speech[:, treble]], s[:, treble][speech[:, treble]]),
        float(20 * np.log10(projection)),
        ratio_db(e[~speech], y[~speech]),
        ratio_db(e[pauses], y[pauses]),
        float(np.log(kurtosis(e[pauses]) / kurtosis(y[pauses]))) if pauses.any() else np.nan,
    ]


def ratio_db(above: np.ndarray, below: np.ndarray) -> float:
    return float(10 * np.log10(above.sum() / below.sum())) if below.size else np.nan


def kurtosis(power: np.ndarray) -> float:
    """Mean over bins of the fourth moment over the squared second one, over time."""
    return float(np.mean(np.mean(power**4, axis=0) / np.mean(power**2, axis=0) ** 2))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("clean", "noisy", "enhanced"):
        p.add_argument(name, type=Path)
    p.add_argument("--by", type=Path)
    p.add_argument("--worst", type=int, default=10)
    args = p.parse_args()
    rows = []
    for task in pairing.items(args.clean, {"enhanced": args.enhanced}, args.noisy, by=args.by):
        if task.system == "noisy":
            continue
        paths = task.clean, task.noisy, task.enhanced
        waves = [audio_io.read(path) for path in paths]
        signals = [audio_io.to_mono(x).astype(np.float64) for x, _ in waves]
        rows.append((task, faults(*signals, waves[0][1])))
    print(f"{'file':24s}{'noise':>16s}{'dB':>5s}" + "".join(f"{c:>9s}" for c in COLUMNS))
    rows.sort(key=lambda row: row[1][0])
    for task, figures in rows[: args.worst]:
        print(
            line(task.clean.stem, task.condition.noise_type, f"{task.condition.snr_db:g}", figures)
        )
    means = np.nanmean([figures for _, figures in rows], axis=0)
    print(line(f"mean of {len(rows)}", "", "", means))


def line(name: str, noise: str, snr: str, figures: list[float]) -> str:
    return f"{name:24s}{noise:>16s}{snr:>5s}" + "".join(f"{v:9.2f}" for v in figures)


if __name__ == "__main__":
    main()
