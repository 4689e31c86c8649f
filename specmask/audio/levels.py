"""Levels of signals: power, RMS, active speech level (ITU-T P.56), SNR.

The mean of a signal, the offset of a microphone, does not count. It is removed only where it
matters: the levels of ordinary recordings, and with them the bytes of the data sets made of these,
are the same to the last bit as if it were never removed.
"""

import numpy as np
import scipy  # loads scipy.signal (0.5 s) and scipy.ndimage when they are used

FULL_SCALE = 32768  # of 16-bit audio
OFFSET_SHARE = 0.01  # of the power, from where on a mean is an offset; below it is 0.044 dB
OFFSET_DB = 0.05  # of an active level, from where on the change by a mean counts
ACTIVE_RANGE_DB = 35  # frames this far below the loudest one count as pauses
FRAME_SECONDS = 0.02

# ITU-T P.56, method B
P56_TIME_SECONDS = 0.03
P56_HANGOVER_SECONDS = 0.2
P56_BLOCK_SECONDS = 0.001
P56_MARGIN_DB = 15.9


def mean_square(x: np.ndarray) -> float:
    """Return the mean square of a signal, its mean included."""
    return float(np.sum(np.square(x, dtype=np.float64)) / max(1, x.size))


def offset(x: np.ndarray) -> float:
    """Return the mean of a signal where it has more than 1 % of the power, and else 0.

    >>> offset(np.array([0.5, 0.7, 0.5, 0.7])), offset(np.array([0.5, -0.5, 0.5, -0.49]))
    (0.6, 0.0)
    """
    mean = float(np.sum(x, dtype=np.float64) / max(1, x.size))
    return mean if mean**2 > OFFSET_SHARE * mean_square(x) else 0.0


def power(x: np.ndarray) -> float:
    """Return the mean square of a signal without its offset.

    >>> power(np.array([3.0, -3.0])), power(np.array([4.0, -2.0]))
    (9.0, 9.0)
    """
    mean = offset(x)
    return mean_square(x - mean) if mean else mean_square(x)


def decibel(ratio: float) -> float:
    """10 log10 of a ratio of powers; -inf for zero, inf for infinity."""
    if ratio == 0:
        return -np.inf
    return float(10 * np.log10(ratio))


def level_db(x: np.ndarray) -> float:
    """RMS level in dBFS over the whole signal.

    >>> round(level_db(np.tile([0.5, -0.5], 50)), 2)
    -6.02
    """
    return decibel(power(x))


def active_level_db(x: np.ndarray, rate: int) -> float:
    """RMS level in dBFS over the frames with speech in them; -inf for silence.

    A frame of 20 ms is active when it is less than 35 dB below the loudest frame. The mean is
    removed where a pause would be active by it alone.
    """
    level_db, threshold = _active_level(x, rate)
    mean = np.sum(x, dtype=np.float64) / max(1, len(x))
    if mean**2 <= threshold:
        return level_db
    return _unless_equal(level_db, _active_level(x - mean, rate)[0])


def _active_level(x: np.ndarray, rate: int) -> tuple[float, float]:
    """Return the active level in dBFS, the mean included, and the power from where it counts."""
    length = max(1, round(FRAME_SECONDS * rate))
    count = -(-len(x) // length)
    frames = np.zeros(count * length)
    frames[: len(x)] = x
    powers = np.sum(np.square(frames.reshape(count, length)), axis=1) / length
    threshold = powers.max() * 10 ** (-ACTIVE_RANGE_DB / 10)
    active = powers > threshold
    return decibel(float(np.sum(powers[active]) / max(1, np.sum(active)))), threshold


def _unless_equal(level_db: float, without_mean_db: float) -> float:
    """Return the level without the mean, unless the one with it is the same to 0.05 dB."""
    return level_db if abs(level_db - without_mean_db) <= OFFSET_DB else without_mean_db


def snr_db(clean: np.ndarray, noise: np.ndarray) -> float:
    """10 log10(Σ clean² / Σ noise²) over the whole signals, offsets removed.

    >>> snr_db(np.tile([0.5, -0.5], 50), np.tile([0.25, -0.25], 50))
    6.020599913279624
    """
    noise_power = power(noise)
    return np.inf if noise_power == 0 else decibel(power(clean) / noise_power)


def p56_level_db(x: np.ndarray, rate: int) -> float:
    """Active speech level in dBFS after ITU-T P.56, method B; -inf for silence.

    The envelope q is |x| smoothed twice with 30 ms. Speech is active at a threshold c from where
    q reaches c until 0.2 s after. The level over the active time A(c) is the result where it is
    15.9 dB above c.

    Differs from the recommendation: the envelope is that of means of |x| over 1 ms. The
    thresholds, in steps of 2, are relative to the largest q and not to full scale, so that the
    result is exactly as many dB higher as the signal is; between two of them A − c is
    interpolated in dB. Where A − c is more than 15.9 dB at all of them (clicks), the highest
    one counts.
    """
    without_mean_db = _p56_level_db(x - np.mean(x, dtype=np.float64), rate)
    return _unless_equal(_p56_level_db(x, rate), without_mean_db)


def _p56_level_db(x: np.ndarray, rate: int) -> float:
    energy = float(np.sum(np.square(x, dtype=np.float64)))
    if energy == 0:
        return -np.inf
    block = max(1, round(P56_BLOCK_SECONDS * rate))
    padded = np.zeros(-(-len(x) // block) * block)
    np.abs(x, out=padded[: len(x)], dtype=np.float64)
    q = np.sum(padded.reshape(-1, block), axis=1) / block
    g = np.exp(-block / (P56_TIME_SECONDS * rate))
    for _ in range(2):
        q = scipy.signal.lfilter([1 - g], [1, -g], q)
    hangover = int(np.ceil(P56_HANGOVER_SECONDS * rate / block))
    # the largest of q and of its values up to the hangover before
    held = scipy.ndimage.maximum_filter1d(
        q, hangover + 1, origin=hangover // 2, mode="constant", cval=0.0
    )
    thresholds = q.max() * 2.0 ** np.arange(-24, 1)
    blocks = len(q) - np.searchsorted(np.sort(held), thresholds)
    levels_db = 10 * np.log10(energy / np.minimum(blocks * block, len(x)))
    margins_db = levels_db - 20 * np.log10(thresholds)
    below = np.flatnonzero(margins_db <= P56_MARGIN_DB)
    if not len(below):
        return float(levels_db[-1])
    k = slice(max(0, below[0] - 1), below[0] + 1)
    return float(np.interp(P56_MARGIN_DB, margins_db[k][::-1], levels_db[k][::-1]))


def active_snr_db(clean: np.ndarray, noise: np.ndarray, rate: int) -> float:
    """Level of the active speech (P.56) above that of the noise over the whole signal, in dB."""
    noise_power = power(noise)
    return np.inf if noise_power == 0 else p56_level_db(clean, rate) - decibel(noise_power)


def to_int16(x: np.ndarray) -> np.ndarray:
    """Convert float to int16: full scale 1 becomes 32768, rounded."""
    return np.round(x * FULL_SCALE).astype(np.int16)
