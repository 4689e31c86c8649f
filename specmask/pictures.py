"""Pictures of spectrograms and masks as PNG bytes; made in worker processes, without TensorFlow."""

import io

import numpy as np
from PIL import Image

from specmask import spectral
from specmask.spectral import Stft

RANGE_DB = 70
# Corners of two colour maps, interpolated linearly: dark to bright, and blue to white to red.
LEVELS = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)])
SIGNED = np.array([(33, 102, 172), (247, 247, 247), (178, 24, 43)])


def spectrograms(waves: list[np.ndarray], stft: Stft) -> bytes:
    """Draw spectrograms of signals [samples] below each other, low frequencies at the bottom.

    All have the scale of the loudest one, down to 70 dB below it.
    """
    levels = [20 * np.log10(np.abs(spectral.forward(x, stft)).T + 1e-5) for x in waves]
    top = max(level.max() for level in levels)
    return png([(level - top) / RANGE_DB + 1 for level in levels], LEVELS)


def mask(values: np.ndarray, bound: float) -> bytes:
    """Draw the real part of a mask [frames, bins, 2] over its imaginary part: −bound to bound."""
    return png([(values[..., k].T / bound + 1) / 2 for k in (0, 1)], SIGNED)


def png(planes: list[np.ndarray], colours: np.ndarray) -> bytes:
    """Draw planes [rows, columns] of values from 0 to 1, the first row at the bottom."""
    gap = np.full((4, planes[0].shape[1]), 1.0)
    stacked = np.concatenate([part for p in planes for part in (p[::-1], gap)][:-1])
    places = np.linspace(0, 1, len(colours))
    channels = [np.interp(stacked, places, colours[:, c]) for c in range(3)]
    out = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
