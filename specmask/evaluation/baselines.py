"""Classical enhancers to compare with.

Conventions:
    Waveforms are ``[samples]`` float32. A baseline is a function (noisy, rate in Hz) and returns a
    signal of the same length, aligned with its input.

References:
    [1] Ephraim, Malah: Speech enhancement using a minimum mean-square error short-time spectral
        amplitude estimator. IEEE TASSP 32(6), 1984.
    [2] Gerkmann, Hendriks: Unbiased MMSE-based noise power estimation with low complexity and
        low tracking delay. IEEE TASLP 20(4), 2012.
    [3] Scalart, Filho: Speech enhancement based on a priori signal to noise estimation.
        ICASSP 1996.
    [4] Berouti, Schwartz, Makhoul: Enhancement of speech corrupted by acoustic noise.
        ICASSP 1979.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import expit

from specmask.audio.stft import Stft, forward, inverse

# Smoothing constants hold for the hop of their paper and are converted to the hop in use.
DECISION_WEIGHT, DECISION_HOP_SECONDS = 0.98, 0.008  # α of [1]
NOISE_SMOOTHING, PRESENCE_SMOOTHING, NOISE_HOP_SECONDS = 0.8, 0.9, 0.016  # of [2]

PRIOR_SNR = 10 ** (15 / 10)  # of a bin with speech in it, fixed [2]
LARGEST_PRESENCE = 0.99  # [2]
SMALLEST_GAIN = 10 ** (-25 / 20)

# The first noise estimate, from the quietest tenth of the first second: recordings often start
# with speech, so the first frames alone would pass speech for noise.
START_SECONDS = 1.0
START_QUANTILE = 0.1

OVERSUBTRACTION, SUBTRACTION_SLOPE = 4, 3 / 20  # [4]
SUBTRACTION_RANGE_DB = (-5, 20)  # [4]
NOISE_FLOOR = 0.01  # β of [4]


def analysis(rate: int) -> Stft:
    """Return the transform that [2] uses, at a rate in Hz: 32 ms with half of them overlapping.

    A baseline should not change with the settings of the network that it is compared with.
    """
    hop = max(1, round(NOISE_HOP_SECONDS * rate))
    return Stft("cosine", 2 * hop, hop, 2 * hop)


def _spectrum(noisy: np.ndarray, stft: Stft) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrum and its powers, float64 above zero, both [frames, bins]."""
    spectrum = forward(np.asarray(noisy, np.float32), stft)
    powers = np.square(np.abs(spectrum, dtype=np.float64))
    powers += 1e-12 * powers.mean() + np.finfo(float).tiny  # digital silence: no division by zero
    return spectrum, powers


def wiener(noisy: np.ndarray, rate: int) -> np.ndarray:
    """Filter by Wiener's rule with the decision-directed a-priori SNR and tracked noise power.

    With the a-posteriori SNR γ = |Y|² / σ² and σ² from :func:`noise_powers`:

        ξ(l) = α |Ŝ(l−1)|² / σ²(l) + (1 − α) max(γ(l) − 1, 0)     (51), (52) of [1]
        G(l) = max(ξ / (1 + ξ), −25 dB)                           Wiener's gain, as in [3]
        Ŝ(l) = G(l) Y(l)

    [1] divides |Ŝ(l−1)|² by the noise power of its own frame; the present one is used here, so
    that the estimate follows when the noise changes.

    Args:
        noisy: [samples], at least one.
        rate: in Hz.

    Returns:
        float32 [samples].
    """
    stft = analysis(rate)
    hop_seconds = stft.hop_length / rate
    weight = DECISION_WEIGHT ** (hop_seconds / DECISION_HOP_SECONDS)
    spectrum, powers = _spectrum(noisy, stft)
    gains = np.empty(powers.shape, np.float32)
    speech = np.zeros(stft.bins)
    for frame, noise in enumerate(noise_powers(powers, stft, rate)):
        power = powers[frame]
        prior = weight * speech / noise + (1 - weight) * np.maximum(power / noise - 1, 0)
        gain = np.maximum(prior / (1 + prior), SMALLEST_GAIN)
        speech = np.square(gain) * power
        gains[frame] = gain
    return inverse(spectrum * gains, len(noisy), stft)


def noise_powers(powers: np.ndarray, stft: Stft, rate: int) -> Iterator[np.ndarray]:
    """Track the power of the noise in every bin by the probability that speech is present.

    With equal prior probabilities and the fixed a-priori SNR ξ of 15 dB:

        P = 1 / (1 + (1 + ξ) exp(−|Y|² / σ²(l−1) · ξ / (1 + ξ)))     (18) of [2]
        P̄(l) = 0.9 P̄(l−1) + 0.1 P                                    (23) of [2]
        where P̄ > 0.99: P ← min(P, 0.99), or a jump of the noise
        would pass for speech for ever                               (24) of [2]
        E|N|² = (1 − P) |Y|² + P σ²(l−1)                             (22) of [2]
        σ²(l) = 0.8 σ²(l−1) + 0.2 E|N|²                              (8) of [2]

    Args:
        powers: |Y|², float64 [frames, bins], above zero.
        stft: the transform that they come from.
        rate: in Hz.

    Yields:
        σ²(l), float64 [bins], for every frame.
    """
    hops = stft.hop_length / rate / NOISE_HOP_SECONDS
    smoothing, presence_smoothing = NOISE_SMOOTHING**hops, PRESENCE_SMOOTHING**hops
    noise = _first_noise_power(powers, stft, rate)
    mean_presence = np.full(powers.shape[1], 0.5)
    for power in powers:
        # (18) as a logistic function, which cannot overflow
        exponent = power / noise * PRIOR_SNR / (1 + PRIOR_SNR) - np.log1p(PRIOR_SNR)
        presence = expit(exponent)
        mean_presence = presence_smoothing * mean_presence + (1 - presence_smoothing) * presence
        stuck = mean_presence > LARGEST_PRESENCE
        presence = np.where(stuck, np.minimum(presence, LARGEST_PRESENCE), presence)
        periodogram = (1 - presence) * power + presence * noise
        noise = smoothing * noise + (1 - smoothing) * periodogram
        yield noise


def _first_noise_power(powers: np.ndarray, stft: Stft, rate: int) -> np.ndarray:
    """σ²(0), float64 [bins]: a low quantile, scaled to the mean of an exponential distribution.

    Powers of Gaussian noise are distributed exponentially, with quantile q at −ln(1 − q) times
    the mean. Frames that reach into the padding before the first sample are left out.
    """
    padded = -(-stft.pad // stft.hop_length)
    stop = padded + max(1, round(START_SECONDS * rate / stft.hop_length))
    start = powers[padded:stop] if len(powers) > padded else powers
    return np.quantile(start, START_QUANTILE, axis=0) / -np.log1p(-START_QUANTILE)


def spectral_subtraction(noisy: np.ndarray, rate: int) -> np.ndarray:
    """Subtract the tracked noise power, more of it the lower the SNR, and keep a noise floor [4].

        D = |Y|² − α σ²,  |Ŝ|² = D where D > β σ², else β σ²
        α = 4 − 3/20 · SNR of the frame in dB, held within −5 and 20 dB
        β = 0.01

    with σ² from :func:`noise_powers`; the phase stays that of the noisy signal.

    Args:
        noisy: [samples], at least one.
        rate: in Hz.

    Returns:
        float32 [samples].
    """
    stft = analysis(rate)
    spectrum, powers = _spectrum(noisy, stft)
    noise = np.array(list(noise_powers(powers, stft, rate)))
    snr = 10 * np.log10(powers.sum(axis=1) / noise.sum(axis=1))[:, None]
    over = OVERSUBTRACTION - SUBTRACTION_SLOPE * np.clip(snr, *SUBTRACTION_RANGE_DB)
    wanted = np.maximum(powers - over * noise, NOISE_FLOOR * noise)
    gains = np.sqrt(np.minimum(wanted / powers, 1)).astype(np.float32)
    return inverse(spectrum * gains, len(noisy), stft)


BASELINES = {"wiener": wiener, "spectral_subtraction": spectral_subtraction}
