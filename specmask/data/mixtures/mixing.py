"""Mixing of speech and noise at an SNR: pure functions of arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from specmask.audio.levels import active_level_db, p56_level_db, power, to_int16

HEADROOM = 0.99  # largest peak that is written


def snr_grid(lower: float, upper: float, levels: int) -> list[float]:
    """The SNRs from lower to upper, both included, as they are written in file names."""
    return [round(float(v), 2) + 0.0 for v in np.linspace(lower, upper, levels)]


@dataclass(frozen=True)
class Mixture:
    """Three int16 arrays [samples] with noisy = clean + noise exactly, and how they were made.

    Attributes:
        additive: whether the noise was there before the mixture; if not, it is noisy − clean.
        clean_gain, noise_gain: what speech and noise were multiplied by before they were mixed.
        scale: what all three were multiplied by at the end, so that they fit into 16 bits.
    """

    clean: np.ndarray
    noise: np.ndarray
    noisy: np.ndarray
    clean_gain: float
    noise_gain: float
    additive: bool = True
    scale: float = 1.0


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
    gains = level_gains(clean, clean, noise, snr, speech_level_db, rate)
    return apply_gains(clean, noise, *fitting_gains(clean, clean, noise, *gains))


def level_gains(
    target: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    snr: float,
    target_level_db: float,
    rate: int,
    reference: str = "whole",
) -> tuple[float, float]:
    """Return the gains of speech and noise that give a level and an SNR.

    Args:
        target: [samples], what becomes the clean file and has the level.
        speech: [samples], what is heard in the mixture and has the SNR.
        noise: [samples].
        snr: in dB.
        target_level_db: level of the active speech in dBFS.
        rate: in Hz.
        reference: whole: SNR over the whole clip; active: level of the active speech after P.56
            over the noise.

    Returns:
        finite gains, also where a signal has become silent: 1 for such speech, 0 for such noise.
    """
    heard, below = power(speech), power(noise)
    if heard == 0 or power(target) == 0:
        return 1.0, 0.0 if below == 0 else 1.0
    clean_gain = 10 ** ((target_level_db - active_level_db(target, rate)) / 20)
    if below == 0:
        return float(clean_gain), 0.0
    if reference == "active":
        ratio = 10 ** (p56_level_db(speech, rate) / 10) / below
    else:
        ratio = heard / below
    return float(clean_gain), float(clean_gain * np.sqrt(ratio) * 10 ** (-snr / 20))


def fitting_gains(
    target: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    clean_gain: float,
    noise_gain: float,
) -> tuple[float, float]:
    """Lower both gains by one factor where a part or the sum would exceed 0.99 of full scale."""
    heard, other = speech.astype(np.float64) * clean_gain, noise.astype(np.float64) * noise_gain
    peak = max(np.abs(x).max() for x in (heard, other, heard + other))
    if target is not speech:
        peak = max(peak, np.abs(target).max() * clean_gain)
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
    target: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    clean_gain: float,
    noise_gain: float,
    channel: Callable[[np.ndarray], np.ndarray],
) -> Mixture:
    """Mix what is more than a sum: the noise of the result is noisy − clean by definition.

    Args:
        target: [samples], what becomes the clean file.
        speech: [samples], what is heard in the mixture.
        noise: [samples].
        clean_gain: of target and speech.
        noise_gain: of the noise.
        channel: what the mixture goes through, float64 [samples] at full scale 1.
    """
    clean = target.astype(np.float64) * clean_gain
    noisy = channel(speech.astype(np.float64) * clean_gain + noise.astype(np.float64) * noise_gain)
    peak = max(np.abs(x).max() for x in (clean, noisy, noisy - clean))
    scale = float(min(1.0, HEADROOM / peak)) if peak else 1.0
    clean16, noisy16 = to_int16(clean * scale), to_int16(noisy * scale)
    return Mixture(clean16, noisy16 - clean16, noisy16, clean_gain, noise_gain, False, scale)
