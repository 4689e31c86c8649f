"""Loudness of programmes in LUFS (LKFS).

References:
    [1] ITU-R BS.1770-5: Algorithms to measure audio programme loudness and true-peak audio level.
        2023.
    [2] Its filters at any sampling rate: the analog prototypes of libebur128, by the bilinear
        transform.
"""

import math

import numpy as np
from scipy.signal import lfilter

from specmask.evaluation.metrics.checks import MetricError

BLOCK_SECONDS, HOP_SECONDS = 0.4, 0.1
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
OFFSET_DB = -0.691  # a sine of 997 Hz at full scale has -3.01 LUFS


def loudness(enhanced: np.ndarray, rate: int) -> float:
    """Gated loudness of a mono recording in LUFS [1].

    -0.691 + 10 log10(mean power of the blocks above both gates) after K-weighting; blocks of
    400 ms every 100 ms, gates at -70 LUFS and at 10 LU below the mean above the first gate.

    Args:
        enhanced: [samples], at least 0.4 s.
        rate: in Hz.

    Raises:
        MetricError: if it is shorter, not finite, or below -70 LUFS throughout.

    >>> t = np.arange(48000) / 48000
    >>> round(loudness(np.sin(2 * np.pi * 997 * t), 48000), 2)
    -3.01
    """
    x = np.asarray(enhanced, np.float64)
    block, hop = round(BLOCK_SECONDS * rate), round(HOP_SECONDS * rate)
    if not np.isfinite(x).all():
        raise MetricError("enhanced holds NaN or infinite samples")
    if len(x) < block:
        raise MetricError(f"too short for loudness: {len(x) / rate:.2f} s, expected at least 0.4 s")
    for numerator, denominator in k_weighting(rate):
        x = lfilter(numerator, denominator, x)
    energies = np.cumsum(np.r_[0, np.square(x)])
    starts = np.arange(0, len(x) - block + 1, hop)
    powers = np.maximum((energies[starts + block] - energies[starts]) / block, 1e-20)
    levels = OFFSET_DB + 10 * np.log10(powers)
    audible = levels > ABSOLUTE_GATE_LUFS
    if not audible.any():
        raise MetricError("enhanced is below -70 LUFS")
    gate = OFFSET_DB + 10 * math.log10(powers[audible].mean()) + RELATIVE_GATE_LU
    return OFFSET_DB + 10 * math.log10(powers[audible & (levels > gate)].mean())


def k_weighting(rate: int) -> list[tuple[list[float], list[float]]]:
    """Return numerator and denominator of the two filters of K-weighting [1], [2]."""
    k, q = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + k / q + k * k
    shelf = [(high + band * k / q + k * k) / scale, 2 * (k * k - high) / scale]
    shelf.append((high - band * k / q + k * k) / scale)
    shelf_poles = [1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1 + k / q + k * k
    poles = [1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale]
    return [(shelf, shelf_poles), ([1.0, -2.0, 1.0], poles)]
