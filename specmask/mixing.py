"""Levels, SNR and the mixing of speech and noise: pure functions of arrays.

Conventions:
    Waveforms are ``[samples]``, full scale 1 (0 dBFS is an RMS of 1). Sums are taken by
    ``np.sum`` in float64, never by a BLAS product: its result changes with the number of
    threads, and with it the bytes of a data set.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal

FULL_SCALE = 32768  # of 16-bit audio
HEADROOM = 0.99  # largest peak that is written
ACTIVE_RANGE_DB = 35  # frames this far below the loudest one count as pauses
FRAME_SECONDS = 0.02

# ITU-T P.56, method B
P56_TIME_SECONDS = 0.03
P56_HANGOVER_SECONDS = 0.2
P56_BLOCK_SECONDS = 0.001
P56_MARGIN_DB = 15.9


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


def p56_level_db(x: np.ndarray, rate: int) -> float:
    """Active speech level in dBFS after ITU-T P.56, method B; -inf for silence.

    The envelope q is |x| smoothed twice with 30 ms. Speech is active at a threshold c from where
    q reaches c until 0.2 s after. The level over the active time A(c) is the result where it lies
    15.9 dB above c.

    Differs from the recommendation: the envelope is that of means of |x| over 1 ms. The
    thresholds, steps of 2, lie relative to the largest q and not to full scale, so that the
    result is exactly as many dB higher as the signal is; between two of them A − c is
    interpolated in dB. Where A − c is more than 15.9 dB at all of them (clicks), the highest
    one counts.
    """
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
    below = power(noise)
    return np.inf if below == 0 else p56_level_db(clean, rate) - decibel(below)


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


def to_int16(x: np.ndarray) -> np.ndarray:
    """Round full scale 1 to int16."""
    return np.round(x * FULL_SCALE).astype(np.int16)
