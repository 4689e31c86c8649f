"""Energy ratios between clean and enhanced signals: SNR, SI-SDR, SDR.

Conventions:
    ``f(clean, enhanced)``: the reference comes first. Signals are real ``[samples]`` of one
    length, computed with in float64. A result is a float in dB; more is better.
    Results are limited to ±100 dB: a perfect copy has no finite ratio, and a single infinite
    value would make the mean over a thousand files infinite.
    A figure that is not defined raises :class:`MetricError` with the reason;
    :func:`specmask.evaluation.metrics.table.score` turns that into NaN with the reason.
    For silence the ratios are 0/0, so they are not defined. The exception is the SNR: a silent
    output for speech has 0 dB.

Metrics:
    snr: 10 log10 of the energy of the clean signal over that of the difference.
    snr_improvement: SNR of the enhanced minus that of the noisy signal, as the reference project
        reports it. It rewards the right level, which the next ones ignore.
    si_sdr: scale-invariant SDR of signals without their means [1].
    si_sdr_improvement: SI-SDR of the enhanced minus that of the noisy signal.
    sdr: SDR in the BSS-eval sense: the clean signal passed through any filter of 512 taps counts
        as target [2]; computed by package fast_bss_eval [3].

References:
    [1] Le Roux, Wisdom, Erdogan, Hershey: SDR - half-baked or well done? ICASSP 2019.
    [2] Vincent, Gribonval, Févotte: Performance measurement in blind audio source separation.
        IEEE TASLP 14(4), 2006.
    [3] Scheibler: SDR - medium rare with fast computations. ICASSP 2022.
"""

from collections.abc import Callable

import numpy as np

from specmask.evaluation.metrics.checks import (
    CAP_DB,
    MetricError,
    by_package,
    checked,
    decibel,
    energy,
)

SDR_TAPS = 512
NOISY_IS_CLEAN = "noisy is a perfect copy of clean"


def snr(clean: np.ndarray, enhanced: np.ndarray) -> float:
    """Signal-to-noise ratio in dB: 10 log10(Σ s² / Σ (s − ŝ)²).

    Args:
        clean: s, [samples], not silent.
        enhanced: ŝ, [samples].

    Raises:
        MetricError: if it is not defined.

    >>> round(snr(np.array([1.0, -1.0]), np.array([0.9, -0.9])), 6)
    20.0
    """
    s, e = checked(clean, enhanced)
    return decibel(energy(s), energy(s - e))


def snr_improvement(clean: np.ndarray, noisy: np.ndarray, enhanced: np.ndarray) -> float:
    """SNR of the enhanced minus SNR of the noisy signal, in dB.

    Raises:
        MetricError: if one of the two is not defined, or the noisy signal is at ±100 dB.
    """
    return _improvement(snr, clean, noisy, enhanced)


def si_sdr(clean: np.ndarray, enhanced: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, of signals without their means.

    With α = ŝᵀs / ‖s‖² as below (3) of [1], and (4) of [1]:
    10 log10(‖e_target‖² / ‖e_res‖²), e_target = α s, e_res = ŝ − α s.

    Args:
        clean: s, [samples], not silent.
        enhanced: ŝ, [samples], not silent.

    Raises:
        MetricError: if it is not defined.

    >>> clean = np.array([1.0, -1, 1, -1])
    >>> round(si_sdr(clean, 3 * clean + [0.3, 0.3, -0.3, -0.3]), 6)  # the level does not matter
    20.0
    """
    s, e = checked(clean, enhanced, audible=True)
    s, e = s - s.mean(), e - e.mean()
    target = np.sum(e * s) / energy(s) * s
    return decibel(energy(target), energy(e - target))


def si_sdr_improvement(clean: np.ndarray, noisy: np.ndarray, enhanced: np.ndarray) -> float:
    """SI-SDR of the enhanced minus SI-SDR of the noisy signal, in dB.

    Raises:
        MetricError: if one of the two is not defined, or the noisy signal is at ±100 dB.
    """
    return _improvement(si_sdr, clean, noisy, enhanced)


def sdr(clean: np.ndarray, enhanced: np.ndarray) -> float:
    """Signal-to-distortion ratio of BSS-eval in dB, with a distortion filter of 512 taps.

    10 log10(‖P ŝ‖² / ‖ŝ − P ŝ‖²), where P projects on the 512 shifts of s [2], [3].

    Args:
        clean: s, [samples], not silent, at least 512 samples.
        enhanced: ŝ, [samples], not silent.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = checked(clean, enhanced, audible=True)
    if len(s) < SDR_TAPS:
        raise MetricError(f"too short for SDR: {len(s)} samples, expected at least {SDR_TAPS}")
    # fast_bss_eval takes norms below 1e-6 for zero
    s, e = s / np.abs(s).max(), e / np.abs(e).max()

    def compute() -> float:
        from fast_bss_eval import sdr as bss_eval_sdr

        return bss_eval_sdr(s[None], e[None], filter_length=SDR_TAPS, clamp_db=CAP_DB)[0]

    return by_package("fast_bss_eval", compute)


def _improvement(
    metric: Callable[[np.ndarray, np.ndarray], float],
    clean: np.ndarray,
    noisy: np.ndarray,
    enhanced: np.ndarray,
) -> float:
    checked(clean, noisy, audible=True, name="noisy")
    before = metric(clean, noisy)
    if abs(before) == CAP_DB:  # a difference from the cap says nothing
        what = NOISY_IS_CLEAN if before > 0 else "noisy is free of any clean speech"
        raise MetricError(f"{what}: no improvement to measure")
    return metric(clean, enhanced) - before
