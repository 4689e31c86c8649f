"""Mixtures from ready-made pairs of clean and noisy recordings.

The noise of a pair is defined as noisy − clean. Whether noisy is a sum of speech and an unrelated
noise is measured: it is not one where a filter of the clean speech explains part of the noise.
"""

from pathlib import Path
from typing import Any

import numpy as np
import scipy  # loads scipy.signal (0.5 s) when it is used

from specmask.audio.io import read_piece
from specmask.audio.levels import FULL_SCALE, to_int16
from specmask.data.mixtures.mixing import Mixture

FRAME_SECONDS = 0.032
LARGEST_SAMPLE = 32767 / FULL_SCALE  # of 16-bit audio
LARGEST_SPEECH_SHARE = 0.1  # of the power of the noise, for a sum


def read(
    root: Path,
    clean: str,
    noisy: str,
    samples: int,
    rate: int,
    resampler: str,
    gain: float | None = None,
) -> Mixture:
    """Read a pair and return it in 16 bits; noise is noisy − clean, sample by sample.

    Levels stay as they are, unless one of the three would exceed full scale: then all are scaled
    together.

    Args:
        root: folder that the paths of both files are relative to.
        clean, noisy: paths of the files.
        samples: length at ``rate``.
        rate: in Hz.
        resampler: see :func:`specmask.audio.io.resample`.
        gain: that of the manifest; None: 1, or lower where the levels need it.

    Raises:
        AudioError: if a file cannot be read.
    """
    x, y = (
        read_piece(root / path, 0, samples, rate, resampler).astype(np.float64)
        for path in (clean, noisy)
    )
    if gain is None:
        # −1 is a sample of 16-bit audio, +1 is none; two steps for the rounding of a difference
        peaks = (*(max(v.max(), -v.min() * LARGEST_SAMPLE) for v in (x, y)),
                 np.abs(y - x).max() + 2 / FULL_SCALE)  # fmt: skip
        gain = float(min(1.0, LARGEST_SAMPLE / max(peaks)))
    clean16, noisy16 = to_int16(x * gain), to_int16(y * gain)
    return Mixture(clean16, noisy16 - clean16, noisy16, gain, gain)


def is_sum(clean: np.ndarray, noise: np.ndarray, rate: int) -> bool:
    """Return whether a noise is unrelated to the speech: see :func:`speech_share`."""
    return speech_share(clean, noise, rate) <= LARGEST_SPEECH_SHARE


def speech_share(clean: np.ndarray, noise: np.ndarray, rate: int) -> float:
    """Return the share of a noise's power that a filter of the clean speech explains, 0 to 1.

    Σ_f |S_cn|² / S_cc over Σ_f S_nn with Welch's spectra, less the share that is expected by chance
    in a signal of this length. Reverberation, codecs, and another level or delay of the clean
    speech in noisy bring it near 1, an added noise leaves it near 0.

    Args:
        clean, noise: [samples].
        rate: in Hz.

    >>> rng = np.random.default_rng(0)
    >>> speech, hiss = rng.standard_normal((2, 64000))
    >>> is_sum(speech, hiss, 16000), is_sum(speech, 0.5 * speech + hiss, 16000)
    (True, False)
    """
    length = min(len(clean), round(FRAME_SECONDS * rate))
    options: dict[str, Any] = {"fs": rate, "nperseg": length, "detrend": False}
    c, n = clean.astype(np.float64), noise.astype(np.float64)
    _, cross = scipy.signal.csd(c, n, **options)
    _, clean_power = scipy.signal.welch(c, **options)
    _, noise_power = scipy.signal.welch(n, **options)
    total = float(np.sum(noise_power))
    if total == 0:
        return 0.0
    explained = np.abs(cross) ** 2 / np.maximum(clean_power, 1e-12 * clean_power.max() + 1e-300)
    share = float(np.sum(np.minimum(explained, noise_power))) / total
    chance = min(0.9, _chance(c, length))
    return max(0.0, (share - chance) / (1 - chance))


def _chance(clean: np.ndarray, length: int) -> float:
    """Return 1 / effective number of independent frames: loud frames count, pauses do not."""
    frames = clean[: len(clean) // length * length].reshape(-1, length)
    powers = np.sum(frames**2, axis=1)
    total = np.sum(powers)
    return float(np.sum(powers**2) / total**2) if total else 1.0
