"""Levels, SNR and the mixing of speech and noise: pure functions of arrays.

Conventions:
    Waveforms are ``[samples]``, full scale 1 (0 dBFS is an RMS of 1). Sums are taken by
    ``np.sum`` in float64, never by a BLAS product: its result changes with the number of
    threads, and with it the bytes of a data set.
"""

from dataclasses import dataclass

import numpy as np

FULL_SCALE = 32768  # of 16-bit audio
HEADROOM = 0.99  # largest peak that is written
ACTIVE_RANGE_DB = 35  # frames this far below the loudest one count as pauses
FRAME_SECONDS = 0.02


def power(x: np.ndarray) -> float:
    """Mean square of a signal."""
    return float(np.sum(np.square(x, dtype=np.float64)) / max(1, x.size))


def decibel(ratio: float) -> float:
    """10 log10 of a ratio of powers; -inf for zero, inf for infinity."""
    if ratio == 0:
        return -np.inf
    return float(10 * np.log10(ratio))


def level_db(x: np.ndarray) -> float:
    """RMS level in dBFS over the whole signal."""
    return decibel(power(x))


def active_level_db(x: np.ndarray, rate: int) -> float:
    """RMS level in dBFS over the frames with speech in them; -inf for silence.

    A frame of 20 ms is active when it is less than 35 dB below the loudest frame.
    """
    length = max(1, round(FRAME_SECONDS * rate))
    count = -(-len(x) // length)
    frames = np.zeros(count * length)
    frames[: len(x)] = x
    powers = np.sum(np.square(frames.reshape(count, length)), axis=1) / length
    active = powers > powers.max() * 10 ** (-ACTIVE_RANGE_DB / 10)
    return decibel(float(np.sum(powers[active]) / max(1, np.sum(active))))


def snr_db(clean: np.ndarray, noise: np.ndarray) -> float:
    """10 log10(Σ clean² / Σ noise²) over the whole signals."""
    below = power(noise)
    return np.inf if below == 0 else decibel(power(clean) / below)


def snr_grid(lower: float, upper: float, levels: int) -> list[float]:
    """The SNRs from lower to upper, both included, as they are written in file names."""
    return [round(float(v), 2) + 0.0 for v in np.linspace(lower, upper, levels)]


@dataclass(frozen=True)
class Mixture:
    """Three int16 arrays [samples] with noisy = clean + noise exactly, and how they were made."""

    clean: np.ndarray
    noise: np.ndarray
    noisy: np.ndarray
    clean_gain: float
    noise_gain: float


def mix(
    clean: np.ndarray, noise: np.ndarray, snr: float, speech_level_db: float, rate: int
) -> Mixture:
    """Mix speech and noise at an SNR over the whole clip, the speech at a level.

    If one of the three would exceed 0.99 of full scale, all are scaled together: the SNR stands.

    Args:
        clean: [samples], not silent.
        noise: [samples], not silent.
        snr: in dB.
        speech_level_db: level of the active speech in dBFS.
        rate: in Hz.
    """
    clean_gain = 10 ** ((speech_level_db - active_level_db(clean, rate)) / 20)
    noise_gain = clean_gain * np.sqrt(power(clean) / power(noise)) * 10 ** (-snr / 20)
    clean64, noise64 = clean.astype(np.float64), noise.astype(np.float64)
    scaled = (clean64 * clean_gain, noise64 * noise_gain)
    peak = max(np.abs(x).max() for x in (*scaled, scaled[0] + scaled[1]))
    scale = min(1.0, HEADROOM / peak)
    return apply_gains(clean, noise, float(clean_gain * scale), float(noise_gain * scale))


def apply_gains(
    clean: np.ndarray, noise: np.ndarray, clean_gain: float, noise_gain: float
) -> Mixture:
    """Scale, round to 16 bits, and only then add: the sum is exact."""
    clean16 = to_int16(clean.astype(np.float64) * clean_gain)
    noise16 = to_int16(noise.astype(np.float64) * noise_gain)
    return Mixture(clean16, noise16, clean16 + noise16, clean_gain, noise_gain)


def to_int16(x: np.ndarray) -> np.ndarray:
    """Round full scale 1 to int16."""
    return np.round(x * FULL_SCALE).astype(np.int16)
