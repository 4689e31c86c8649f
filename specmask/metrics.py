"""How close an enhanced signal is to the clean one.

Conventions:
    ``f(clean, enhanced)``: the reference comes first. Signals are real ``[samples]`` of one
    length, computed with in float64. A result is a float, and more is better.
    Figures in dB are held within ±100 dB: a perfect copy has no finite ratio, and a single
    infinite value would make the mean over a thousand files infinite.
    What cannot be measured raises :class:`MetricError` with the reason. :func:`score` turns
    that into NaN with the reason, so that a table can say how many files its means are over.
    Silence counts as not measurable, since the ratios are 0/0 then. The exception is the SNR,
    by which a silent output for speech has 0 dB.

Metrics:
    snr: 10 log10 of the energy of the clean signal over that of the difference.
    snr_improvement: SNR of the enhanced minus that of the noisy signal, as the reference project
        reports it. It rewards the right level, which the next ones do not look at.
    si_sdr: scale-invariant SDR of signals without their means [1].
    si_sdr_improvement: SI-SDR of the enhanced minus that of the noisy signal.
    sdr: SDR in the BSS-eval sense: what a filter of 512 taps can make of the clean signal counts
        as target [2]; computed by package fast_bss_eval [3].
    pesq: MOS-LQO by package pesq, wideband [5] from 16 kHz on, narrowband [4] below.
    stoi, estoi: intelligibility by package pystoi [6], [7].

References:
    [1] Le Roux, Wisdom, Erdogan, Hershey: SDR - half-baked or well done? ICASSP 2019.
    [2] Vincent, Gribonval, Févotte: Performance measurement in blind audio source separation.
        IEEE TASLP 14(4), 2006.
    [3] Scheibler: SDR - medium rare with fast computations. ICASSP 2022.
    [4] ITU-T P.862 (2001) and P.862.1 (2003).
    [5] ITU-T P.862.2 (2007).
    [6] Taal, Hendriks, Heusdens, Jensen: An algorithm for intelligibility prediction of
        time-frequency weighted noisy speech. IEEE TASLP 19(7), 2011.
    [7] Jensen, Taal: An algorithm for predicting the intelligibility of speech masked by
        modulated noise maskers. IEEE/ACM TASLP 24(11), 2016.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from specmask import audio

METRICS = (
    "si_sdr",
    "si_sdr_improvement",
    "sdr",
    "pesq",
    "stoi",
    "estoi",
    "snr_improvement",
)
NEED_NOISY = frozenset({"si_sdr_improvement", "snr_improvement"})

CAP_DB = 100.0
SILENCE = 1e-8  # peak to peak: below the last bit of 24-bit audio
SDR_TAPS = 512

# pystoi wants 31 frames of 256 samples with hop 128 at 10 kHz, and answers 1e-5 when it has fewer.
STOI_SECONDS = 0.41
STOI_TOO_SHORT = 1e-5

PESQ_SECONDS = 0.25
# The P.862 code has arrays for 50 utterances and does not look whether they are full: with more
# it crashes or scores what it has overwritten. Two utterances start at least 97 windows of 4 ms
# apart, so that 16 s cannot hold more than 43.
PESQ_PIECE_SECONDS = 16


class MetricError(ValueError):
    """A figure that does not exist for these signals; the text is the reason."""


def snr(clean: np.ndarray, enhanced: np.ndarray) -> float:
    """Signal-to-noise ratio in dB: 10 log10(Σ s² / Σ (s − ŝ)²).

    Args:
        clean: s, [samples], not silent.
        enhanced: ŝ, [samples].

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced)
    return _decibel(_energy(s), _energy(s - e))


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
    """
    s, e = _checked(clean, enhanced, audible=True)
    s, e = s - s.mean(), e - e.mean()
    target = np.sum(e * s) / _energy(s) * s
    return _decibel(_energy(target), _energy(e - target))


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
    s, e = _checked(clean, enhanced, audible=True)
    if len(s) < SDR_TAPS:
        raise MetricError(f"too short for SDR: {len(s)} samples, expected at least {SDR_TAPS}")
    # fast_bss_eval takes norms below 1e-6 for zero
    s, e = s / np.abs(s).max(), e / np.abs(e).max()

    def compute() -> float:
        from fast_bss_eval import sdr as bss_eval_sdr

        return bss_eval_sdr(s[None], e[None], filter_length=SDR_TAPS, clamp_db=CAP_DB)[0]

    return _foreign("fast_bss_eval", compute)


def stoi(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Short-time objective intelligibility [6]; 1 is as intelligible as the clean speech.

    Args:
        clean: [samples], not silent, with at least 0.41 s of speech.
        enhanced: [samples], not silent.
        rate: in Hz; pystoi resamples to 10 kHz.

    Raises:
        MetricError: if it is not defined.
    """
    return _stoi(clean, enhanced, rate, extended=False)


def estoi(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Extended STOI [7], which also follows modulated noise; else as :func:`stoi`."""
    return _stoi(clean, enhanced, rate, extended=True)


def _stoi(clean: np.ndarray, enhanced: np.ndarray, rate: int, extended: bool) -> float:
    s, e = _checked(clean, enhanced, audible=True)
    if len(s) < STOI_SECONDS * rate:
        raise MetricError(
            f"too short for STOI: {len(s) / rate:.2f} s, expected at least {STOI_SECONDS} s"
        )

    def compute() -> float:
        import pystoi

        with warnings.catch_warnings(), _fixed_random_state():
            warnings.simplefilter("ignore", RuntimeWarning)  # told by the value, see below
            return pystoi.stoi(s, e, rate, extended=extended)

    value = _foreign("pystoi", compute)
    if value == STOI_TOO_SHORT:
        raise MetricError(
            f"too little speech for STOI: expected at least {STOI_SECONDS} s without pauses"
        )
    return value


def pesq_mode(rate: int) -> str:
    """Return how PESQ is measured at a rate in Hz: ``wb`` from 16 kHz, ``nb`` from 8 kHz.

    Raises:
        MetricError: below 8 kHz, where the telephone band is not complete.
    """
    if rate < 8000:
        raise MetricError(f"PESQ needs a rate of 8000 Hz or more, found {rate} Hz")
    return "wb" if rate >= 16000 else "nb"


def pesq(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Perceptual evaluation of speech quality, MOS-LQO from about 1 to 4.6.

    From 16 kHz on it is wideband PESQ [5] at 16 kHz, below it is narrowband PESQ [4] at 8 kHz:
    a signal with less than the wide band must not pass for one. :func:`pesq_mode` tells which.
    Other rates are resampled to these two. Signals longer than 16 s are scored in the fewest
    equal pieces that are not, and the mean is the score; pieces without clean speech are left out.

    Args:
        clean: [samples], not silent, at least 0.25 s.
        enhanced: [samples], not silent.
        rate: in Hz, at least 8000.

    Raises:
        MetricError: if it is not defined, or P.862 finds no utterance.
    """
    s, e = _checked(clean, enhanced, audible=True)
    mode = pesq_mode(rate)
    if len(s) < PESQ_SECONDS * rate:
        raise MetricError(
            f"too short for PESQ: {len(s) / rate:.2f} s, expected at least {PESQ_SECONDS} s"
        )
    target = {"wb": 16000, "nb": 8000}[mode]
    s, e = audio.resample(s, rate, target), audio.resample(e, rate, target)
    count = math.ceil(len(s) / (PESQ_PIECE_SECONDS * target))
    pieces = zip(np.array_split(s, count), np.array_split(e, count), strict=True)

    def compute() -> float:
        from pesq import NoUtterancesError
        from pesq import pesq as p862

        scores = []
        for s_piece, e_piece in pieces:
            if _is_silent(s_piece):
                continue
            try:
                scores.append(p862(target, s_piece, e_piece, mode))
            except NoUtterancesError:
                continue
        if not scores:
            raise MetricError("PESQ found no utterance in the clean signal")
        return float(np.mean(scores))

    return _foreign("pesq", compute)


def score(
    clean: np.ndarray,
    noisy: np.ndarray | None,
    enhanced: np.ndarray,
    rate: int,
    metrics: Sequence[str] = METRICS,
) -> tuple[dict[str, float], dict[str, str]]:
    """Measure several figures of one signal; none of them can end a run.

    Args:
        clean: [samples].
        noisy: [samples], or None: the improvements are not measured then.
        enhanced: [samples].
        rate: in Hz.
        metrics: names of functions of this module.

    Returns:
        value by name, NaN for what could not be measured; and the reason by name for those.

    Raises:
        ValueError: for the name of an unknown metric, which is a mistake in the program.
    """
    values, reasons = {}, {}
    for name in metrics:
        try:
            values[name] = _measure(name, clean, noisy, enhanced, rate)
        except MetricError as error:
            values[name], reasons[name] = math.nan, str(error)
    return values, reasons


def _measure(
    name: str, clean: np.ndarray, noisy: np.ndarray | None, enhanced: np.ndarray, rate: int
) -> float:
    match name:
        case "snr" | "si_sdr" | "sdr":
            return {"snr": snr, "si_sdr": si_sdr, "sdr": sdr}[name](clean, enhanced)
        case "pesq" | "stoi" | "estoi":
            return {"pesq": pesq, "stoi": stoi, "estoi": estoi}[name](clean, enhanced, rate)
        case "snr_improvement" | "si_sdr_improvement":
            if noisy is None:
                raise MetricError("no noisy signal to compare with")
            improvement = snr_improvement if name == "snr_improvement" else si_sdr_improvement
            return improvement(clean, noisy, enhanced)
    raise ValueError(f"unknown metric {name!r}; known are snr, {', '.join(METRICS)}")


def _checked(
    clean: np.ndarray, enhanced: np.ndarray, audible: bool = False, name: str = "enhanced"
) -> tuple[np.ndarray, np.ndarray]:
    """Return both signals as float64 [samples], or say what is wrong with them.

    With ``audible`` the second signal must not be silent either; ``name`` is what to call it.
    """
    s, e = np.asarray(clean, np.float64), np.asarray(enhanced, np.float64)
    if s.ndim != 1 or s.shape != e.shape:
        raise MetricError(
            f"expected two signals [samples] of one length, found clean {list(s.shape)} and "
            f"{name} {list(e.shape)}"
        )
    if not s.size:
        raise MetricError("no samples")
    for x, what in ((s, "clean"), (e, name)):
        if not np.isfinite(x).all():
            raise MetricError(f"{what} holds NaN or infinite samples")
    if _is_silent(s):
        raise MetricError("clean is silent")
    if audible and _is_silent(e):
        raise MetricError(f"{name} is silent")
    return s, e


def _is_silent(x: np.ndarray) -> bool:
    return bool(np.ptp(x) < SILENCE)


def _energy(x: np.ndarray) -> float:
    return float(np.sum(np.square(x)))


def _decibel(signal: float, error: float) -> float:
    """10 log10(signal / error) within ±CAP_DB, for energies that may be zero."""
    smallest = 10 ** (-CAP_DB / 10)
    if error <= signal * smallest:
        return CAP_DB
    if signal <= error * smallest:
        return -CAP_DB
    return 10 * math.log10(signal / error)


def _improvement(
    metric: Callable[[np.ndarray, np.ndarray], float],
    clean: np.ndarray,
    noisy: np.ndarray,
    enhanced: np.ndarray,
) -> float:
    _checked(clean, noisy, audible=True, name="noisy")
    before = metric(clean, noisy)
    if abs(before) == CAP_DB:  # a difference from the cap says nothing
        what = "a perfect copy of clean" if before > 0 else "free of any clean speech"
        raise MetricError(f"noisy is {what}: no improvement to measure")
    return metric(clean, enhanced) - before


def _foreign(package: str, compute: Callable[[], Any]) -> float:
    """Call into another package; whatever goes wrong in it is the reason for a missing figure."""
    try:
        value = float(compute())
    except MetricError:
        raise
    except ImportError:
        raise MetricError(f"package {package} is not installed") from None
    except Exception as error:  # one bad file must not end a run of thousands
        text = error.args[0] if error.args else ""
        text = text.decode() if isinstance(text, bytes) else text
        raise MetricError(f"package {package} failed: {type(error).__name__}: {text}") from error
    if not math.isfinite(value):
        raise MetricError(f"package {package} gave {value}")
    return value


@contextmanager
def _fixed_random_state() -> Iterator[None]:
    """Let NumPy's global generator start from the same state, and put it back afterwards.

    pystoi adds noise of 1e-16 before it normalises: where an output is digital silence, that
    noise is all there is, and ESTOI changes in the second digit from run to run.
    """
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
