"""The disturbance that PESQ measures, as a loss: wideband PESQ [1, 2] as a differentiable function.

Conventions:
    Waveforms are float32 [batch, samples] at 16 kHz, powers [batch, frames, bands]. Frames have
    32 ms and a hop of 16 ms, bands are 49 on the Bark scale. A power of 1e7 is what speech is
    levelled to; the constants below are those of the recommendation for that level.

References:
    [1] ITU-T Recommendation P.862 (02/2001): the perceptual model, section 10.2.
    [2] ITU-T Recommendation P.862.2 (11/2007): its wideband extension.
    [3] Martín-Doñas et al. 2018, A deep learning loss function based on the perceptual evaluation
        of the speech quality, IEEE Signal Processing Letters 25(11): PESQ as a loss.
"""

import functools
from typing import Any

import numpy as np
from keras import ops

from specmask.audio.stft import Stft
from specmask.config.types import PESQ_RATE_HZ
from specmask.models import features
from specmask.models.stft import forward

WINDOW, HOP = 512, 256  # samples
PADDING = 5120  # samples of silence that the recommendation appends
LEVEL = 1e7  # power of the speech band of both signals
SPEECH_BAND_HZ = 350, 3250
# The wideband input filter [2], a high-pass: numerator and denominator.
FILTER = (2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794)
POWER_SCALE, LOUDNESS_SCALE = 6.910853e-6, 0.1866055  # Sp and Sl of [1] at 16 kHz
ZWICKER_POWER = 0.23
SILENT_POWER = 1e7  # audible power of the clean signal below which a frame has no weight in means
SYMMETRIC_WEIGHT, ASYMMETRIC_WEIGHT = 0.1, 0.0309
LARGEST_DISTURBANCE = 45.0
HALF_SYLLABLE = 10  # frames: half of the intervals that disturbances are averaged over
GAIN_TAPS = 8  # of the smoothing of gains, 0.8 Σ 0.2^k r[t−k]; the ninth would be 2e-6
FAINT = 1e-6  # power in the speech band (full scale: 1) below which a clip counts less
TINY = 1e-12

# Of the 49 bands at 16 kHz [1]: bins, width in Bark, correction of the power density, and the
# power of the threshold of hearing.
BAND_BINS = (
    *(1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4),
    *(3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20),
)
BAND_WIDTH_BARK = (
    *(0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114),
    *(0.354897, 0.359729, 0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989),
    *(0.400236, 0.405538, 0.410894, 0.416306, 0.421773, 0.427297, 0.432877, 0.438514, 0.444209),
    *(0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621, 0.485736, 0.491912, 0.498151),
    *(0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390, 0.557220),
    *(0.564119, 0.571085, 0.578125, 0.585232),
)
BAND_CORRECTION = (
    *(100, 100, 100, 100, 100, 100, 100, 100, 50, 100, 100, 100, 100, 100, 53.047077, 110.000046),
    *(117.991989, 65, 68.760147, 69.999931, 71.428818, 75.000038, 76.843384, 80.968781),
    *(88.646126, 63.864388, 68.155350, 72.547775, 75.584831, 58.379192, 80.950836, 64.135651),
    *(54.384785, 73.821884, 64.437073, 59.176456, 65.521278, 61.399822, 58.144047, 57.004543),
    *(64.126297, 54.311001, 61.114979, 55.077751, 56.849335, 55.628868, 53.137054, 54.985844),
    79.546974,
)
HEARING_THRESHOLD = (
    *(51286152, 2454709.5, 70794.59375, 4897.788574, 1174.897705, 389.045166, 104.71286),
    *(45.70882, 17.782795, 9.772372, 4.897789, 3.090296, 1.905461, 1.258925, 0.977237, 0.724436),
    *(0.562341, 0.457088, 0.389045, 0.331131, 0.295121, 0.269153, 0.25704, 0.251189, 0.251189),
    *(0.251189, 0.251189, 0.263027, 0.288403, 0.30903, 0.338844, 0.371535, 0.398107, 0.436516),
    *(0.467735, 0.489779, 0.501187, 0.501187, 0.512861, 0.524807, 0.524807, 0.524807, 0.512861),
    *(0.47863, 0.42658, 0.371535, 0.363078, 0.416869, 0.537032),
)


def pesq(clean: Any, enhanced: Any) -> Any:
    """0.1 D + 0.0309 D_A: how many points of its raw score the disturbances take away [1].

    PESQ's raw score is 4.5 minus this value. Both signals are brought to the same level in the
    speech band, so that the level itself costs nothing: to be used beside a loss that sees it.

    Differs from the recommendation: no alignment in time, neither before nor in bad intervals;
    the input filter and the band of the level are applied to spectra; clips whose clean signal is
    fainter than −60 dBFS in the speech band count less, silent ones not at all.
    Differs from [3]: disturbances are averaged over time as in the recommendation (L6 within
    0.32 s, then L2), not by a plain mean.

    Args:
        clean, enhanced: float32 [batch, samples] at 16 kHz.

    Returns:
        float32 [batch].
    """
    frames = (clean.shape[-1] or ops.shape(clean)[-1]) // HOP
    reference, active = _band_powers(clean, frames)
    degraded, _ = _band_powers(enhanced, frames)
    threshold = ops.convert_to_tensor(np.array(HEARING_THRESHOLD, np.float32))

    # The reference gets the mean spectrum of the degraded signal: what a filter does costs nothing.
    speech = ops.cast(_audible(reference, 100 * threshold) >= SILENT_POWER, "float32")[..., None]
    count = ops.cast(frames + PADDING // HOP - 1, "float32")

    def mean(power: Any) -> Any:
        loud = ops.where(power > 100 * threshold, power, 0.0)
        return ops.sum(speech * loud, axis=1, keepdims=True) / count

    reference = reference * ops.clip((mean(degraded) + 1e3) / (mean(reference) + 1e3), 0.01, 100)

    # The degraded signal gets the gain of each frame, smoothed over time.
    audible = _audible(reference, threshold)
    gain = (audible + 5e3) / (_audible(degraded, threshold) + 5e3)
    gain = _held(gain)
    degraded = degraded * ops.clip(gain, 3e-4, 5)[..., None]

    # Loudness in each band, and how far they are apart beyond what masking hides.
    loud, louder = _loudness(reference, threshold), _loudness(degraded, threshold)
    apart = louder - loud
    hidden = 0.25 * ops.minimum(loud, louder)
    disturbance = ops.maximum(ops.abs(apart) - hidden, 0.0)
    # What is added disturbs more than what is missing.
    asymmetry = ops.power((degraded + 50) / (reference + 50), 1.2)
    asymmetry = ops.where(asymmetry < 3, 0.0, ops.minimum(asymmetry, 12))

    weight = ops.power((audible + 1e5) / LEVEL, 0.04)
    width = ops.convert_to_tensor(np.array(BAND_WIDTH_BARK[1:], np.float32))
    total = float(np.sum(BAND_WIDTH_BARK[1:]))
    squares = ops.sum(ops.square(disturbance[..., 1:] * width), axis=-1)
    symmetric = ops.sqrt(squares * total + TINY)  # (Σ (w d)² / Σ w)^½ Σ w
    added = ops.sum((disturbance * asymmetry)[..., 1:] * width, axis=-1)
    lost = SYMMETRIC_WEIGHT * _over_time(symmetric / weight)
    lost += ASYMMETRIC_WEIGHT * _over_time(added / weight)
    return active * lost


def _band_powers(signal: Any, frames: Any) -> tuple[Any, Any]:
    """Return band powers of a levelled signal, and how far it is from silence, 0 to 1 [batch]."""
    stft, matrix, band = _constants()
    spectrum = forward(signal, stft)
    power = features.power(spectrum)  # [batch, frames, bins]
    samples = ops.cast(frames * HOP + PADDING, "float32")
    energy = ops.sum(power * band, axis=(1, 2))
    level = energy / samples
    power = power * (LEVEL / (level + 1e-3 * FAINT))[:, None, None]
    return ops.matmul(power, matrix), level / (level + FAINT)


@functools.cache
def _constants() -> tuple[Stft, np.ndarray, np.ndarray]:
    """Return the transform, the matrix from powers to bands, and the level's weights of bins."""
    stft = Stft.hann(WINDOW, HOP)
    hz = np.arange(stft.bins) * PESQ_RATE_HZ / WINDOW
    z = np.exp(-2j * np.pi * hz / PESQ_RATE_HZ)
    above, below = (np.polyval(part[::-1], z) for part in FILTER)
    correction = np.repeat(BAND_CORRECTION, BAND_BINS)
    matrix = np.zeros((stft.bins, len(BAND_BINS)))
    matrix[np.arange(WINDOW // 2), np.repeat(np.arange(len(BAND_BINS)), BAND_BINS)] = correction
    matrix[0] = 0  # the offset
    matrix *= POWER_SCALE * (np.abs(above / below) ** 2)[:, None]
    # Parseval: Σ_frames Σ_k |X[k]|² = n_fft Σ_n x[n]² Σ_frames w²; one side of the spectrum, twice.
    per_sample = np.sum(stft.window**2) / HOP
    inside = (hz >= SPEECH_BAND_HZ[0]) & (hz <= SPEECH_BAND_HZ[1])
    level = 2 * inside / (WINDOW * per_sample)
    return stft, matrix.astype(np.float32), level.astype(np.float32)


def _audible(power: Any, threshold: Any) -> Any:
    """Return the sum of the bands above a threshold, the lowest excluded [batch, frames]."""
    return ops.sum(ops.where(power > threshold, power, 0.0)[..., 1:], axis=-1)


def _held(gain: Any) -> Any:
    """Return g[t] = 0.2 g[t−1] + 0.8 r[t] of gains [batch, frames], g[0] = r[0]."""
    taps = GAIN_TAPS - 1
    padded = ops.concatenate([ops.repeat(gain[:, :1], taps, axis=1), gain], axis=1)
    frames = gain.shape[1] or ops.shape(gain)[1]
    parts = [0.8 * 0.2**k * padded[:, taps - k : taps - k + frames] for k in range(GAIN_TAPS)]
    return sum(parts[1:], parts[0])


def _loudness(power: Any, threshold: Any) -> Any:
    """S_l (P₀ / 0.5)^γ ((0.5 + 0.5 P / P₀)^γ − 1), Zwicker's law, with a steeper γ below 4 Bark."""
    width = np.array(BAND_WIDTH_BARK)
    centre_bark = np.cumsum(width) - width / 2
    exponent = ZWICKER_POWER * np.clip(6 / (centre_bark + 2), 1, 2) ** 0.15
    exponent = np.where(centre_bark < 4, exponent, ZWICKER_POWER).astype(np.float32)
    relative = ops.maximum(power / threshold, 1.0)
    growth = ops.power(0.5 + 0.5 * relative, exponent) - 1
    return LOUDNESS_SCALE * ops.power(2 * threshold, exponent) * growth


def _over_time(disturbance: Any) -> Any:
    """L6 over intervals of 20 frames that overlap by half, then L2 over the intervals [batch]."""
    d = ops.minimum(disturbance, LARGEST_DISTURBANCE)
    frames = d.shape[1] or ops.shape(d)[1]
    behind = -frames % HALF_SYLLABLE
    if isinstance(frames, int) and frames <= HALF_SYLLABLE:
        behind += HALF_SYLLABLE
    d = ops.pad(ops.power(d, 6), ((0, 0), (0, behind)))
    halves = ops.mean(ops.reshape(d, (ops.shape(d)[0], -1, HALF_SYLLABLE)), axis=-1)
    syllables = ops.power((halves[:, 1:] + halves[:, :-1]) / 2 + TINY, 1 / 6)
    return ops.sqrt(ops.mean(ops.square(syllables), axis=1))
