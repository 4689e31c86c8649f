"""Ready-made pairs read as mixtures."""

from pathlib import Path

import numpy as np
import scipy.signal

from specmask.audio import io as audio_io
from specmask.audio.levels import FULL_SCALE, to_int16
from specmask.data.corpus.pairs import LARGEST
from specmask.data.mixtures.mixing import Mixture

FRAME_SECONDS = 0.032
LARGEST_SPEECH_SHARE = 0.1  # of the noise, for a sum


# ---------------------------------------------------------------- reading


def read(
    root: Path,
    clean: str,
    noisy: str,
    samples: int,
    rate: int,
    resampler: str,
    gain: float | None = None,
) -> Mixture:
    """Read a pair and return it in 16 bits; noise is noisy - clean, sample by sample.

    Levels stay as they are, unless one of the three would exceed full scale: then all are scaled
    together.

    Args:
        root: folder that the paths of both files are relative to.
        clean, noisy: paths of the files.
        samples: length at ``rate``.
        rate: in Hz.
        resampler: see :func:`specmask.audio.io.resample`.
        gain: as it stands in the manifest; None: 1, or what the levels need.

    Raises:
        audio.AudioError: if a file cannot be read.
    """
    x, y = (
        audio_io.read_piece(root / path, 0, samples, rate, resampler).astype(np.float64)
        for path in (clean, noisy)
    )
    if gain is None:
        # −1 is a sample of 16-bit audio, +1 is none; two steps for the rounding of a difference
        peaks = (*(max(v.max(), -v.min() * LARGEST) for v in (x, y)),
                 np.abs(y - x).max() + 2 / FULL_SCALE)  # fmt: skip
        gain = float(min(1.0, LARGEST / max(peaks)))
    clean16, noisy16 = to_int16(x * gain), to_int16(y * gain)
    return Mixture(clean16, noisy16 - clean16, noisy16, gain, gain)


def is_sum(clean: np.ndarray, noise: np.ndarray, rate: int) -> bool:
    """Tell whether a noise has nothing to do with the speech: see :func:`speech_share`."""
    return speech_share(clean, noise, rate) <= LARGEST_SPEECH_SHARE


def speech_share(clean: np.ndarray, noise: np.ndarray, rate: int) -> float:
    """Share of a noise's power that a filter of the clean speech explains, from 0 to 1.

    Σ_f |S_cn|² / S_cc over Σ_f S_nn with Welch's spectra, less what chance gives in a signal of
    this length. Reverberation, codecs, another level or an offset of the clean speech in noisy
    bring it near 1, an added noise leaves it near 0.

    Args:
        clean, noise: [samples].
        rate: in Hz.
    """
    length = min(len(clean), round(FRAME_SECONDS * rate))
    options = {"fs": rate, "nperseg": length, "detrend": False}
    c, n = clean.astype(np.float64), noise.astype(np.float64)
    _, cross = scipy.signal.csd(c, n, **options)
    _, own = scipy.signal.welch(c, **options)
    _, noise_power = scipy.signal.welch(n, **options)
    total = float(np.sum(noise_power))
    if total == 0:
        return 0.0
    explained = np.abs(cross) ** 2 / np.maximum(own, 1e-12 * own.max() + 1e-300)
    share = float(np.sum(np.minimum(explained, noise_power))) / total
    chance = min(0.9, _chance(c, length))
    return max(0.0, (share - chance) / (1 - chance))


def _chance(clean: np.ndarray, length: int) -> float:
    """1 / effective number of independent frames: loud frames count, pauses do not."""
    frames = clean[: len(clean) // length * length].reshape(-1, length)
    powers = np.sum(frames**2, axis=1)
    total = np.sum(powers)
    return float(np.sum(powers**2) / total**2) if total else 1.0
