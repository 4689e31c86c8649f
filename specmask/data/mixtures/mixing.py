"""Mixing of speech and noise at an SNR: pure functions of arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from specmask.audio.levels import active_level_db, p56_level_db, power, to_int16

HEADROOM = 0.99  # largest peak that is written


def snr_grid(lower: float, upper: float, levels: int) -> list[float]:
    """Return the SNRs from lower to upper, both included, as they are written in file names.

    >>> snr_grid(-5, 10, 4)
    [-5.0, 0.0, 5.0, 10.0]
    """
    return [round(float(v), 2) + 0.0 for v in np.linspace(lower, upper, levels)]


@dataclass(frozen=True)
class Mixture:
    """Three int16 arrays [samples] with noisy = clean + noise exactly, and how they were made.

    Attributes:
        additive: whether the noise was there before the mixture; if not, it is noisy − clean.
        clean_gain, noise_gain: factors of speech and noise before they were mixed.
        scale: last factor of all three, so that they fit into 16 bits.
    """

    clean: np.ndarray
    noise: np.ndarray
    noisy: np.ndarray
    clean_gain: float
    noise_gain: float
    additive: bool = True
    scale: float = 1.0


def level_gains(
    clean: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    snr: float,
    level_db: float,
    rate: int,
    reference: str = "whole",
) -> tuple[float, float]:
    """Return the gains of speech and noise that give a level and an SNR.

    Args:
        clean: [samples], speech of the clean file, which has the level.
        speech: [samples], speech of the mixture, which has the SNR.
        noise: [samples].
        snr: in dB.
        level_db: level of the active speech in dBFS.
        rate: in Hz.
        reference: whole: SNR over the whole clip; active: level of the active speech after P.56
            over the noise.

    Returns:
        finite gains, also where a signal has become silent: 1 for such speech, 0 for such noise.
    """
    speech_power, noise_power = power(speech), power(noise)
    if speech_power == 0 or power(clean) == 0:
        return 1.0, 0.0 if noise_power == 0 else 1.0
    clean_gain = 10 ** ((level_db - active_level_db(clean, rate)) / 20)
    if noise_power == 0:
        return float(clean_gain), 0.0
    if reference == "active":
        speech_power = 10 ** (p56_level_db(speech, rate) / 10)
    ratio = speech_power / noise_power
    return float(clean_gain), float(clean_gain * np.sqrt(ratio) * 10 ** (-snr / 20))


def fitting_gains(
    clean: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    clean_gain: float,
    noise_gain: float,
) -> tuple[float, float]:
    """Lower both gains by one factor where a part or the sum would exceed 0.99 of full scale."""
    x, n = speech.astype(np.float64) * clean_gain, noise.astype(np.float64) * noise_gain
    peak = max(np.abs(part).max() for part in (x, n, x + n))
    if clean is not speech:
        peak = max(peak, np.abs(clean).max() * clean_gain)
    scale = min(1.0, HEADROOM / peak) if peak else 1.0
    return float(clean_gain * scale), float(noise_gain * scale)


def apply_gains(
    clean: np.ndarray, noise: np.ndarray, clean_gain: float, noise_gain: float
) -> Mixture:
    """Scale, round to 16 bits, and only then add: the sum is exact."""
    clean16 = to_int16(clean.astype(np.float64) * clean_gain)
    noise16 = to_int16(noise.astype(np.float64) * noise_gain)
    return Mixture(clean16, noise16, clean16 + noise16, clean_gain, noise_gain)


def apply_channel(
    clean: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    clean_gain: float,
    noise_gain: float,
    channel: Callable[[np.ndarray], np.ndarray],
) -> Mixture:
    """Mix with an effect on the sum: the noise of the result is noisy − clean by definition.

    Args:
        clean: [samples], speech of the clean file.
        speech: [samples], speech of the mixture.
        noise: [samples].
        clean_gain: of clean and speech.
        noise_gain: of the noise.
        channel: effect on the mixture, float64 [samples] at full scale 1.
    """
    clean = clean.astype(np.float64) * clean_gain
    noisy = channel(speech.astype(np.float64) * clean_gain + noise.astype(np.float64) * noise_gain)
    peak = max(np.abs(x).max() for x in (clean, noisy, noisy - clean))
    scale = float(min(1.0, HEADROOM / peak)) if peak else 1.0
    clean16, noisy16 = to_int16(clean * scale), to_int16(noisy * scale)
    return Mixture(clean16, noisy16 - clean16, noisy16, clean_gain, noise_gain, False, scale)
