"""Frame-wise distances and the composite ratings of Hu and Loizou.

Conventions:
    ``f(clean, enhanced, rate)``: the reference comes first, ``[samples]``, full scale 1, rate in
    Hz. Frames are 30 ms under a Hann window, without padding. The composite measures step by a
    quarter of a frame as their published program does, the others by 10 ms.

Metrics:
    segmental_snr: mean over frames of the SNR in dB, each held within −10 and 35 dB [1], [2].
    log_spectral_distance: mean over frames of the RMS difference of log power spectra, in dB [3].
    spectrogram_rmse: RMS difference of the magnitudes of the spectra; the Doyosae project reports
        such a figure.
    llr: log-likelihood ratio of the linear predictors of the frames [4]; 0 for equal spectra.
    wss: weighted spectral slope distance over 25 critical bands [5]; 0 for equal spectra.
    composite: regressions on subjective ratings of signal (csig), background (cbak) and the
        whole (covl) from 1 to 5 [1].

References:
    [1] Hu, Loizou: Evaluation of objective quality measures for speech enhancement.
        IEEE TASLP 16(1), 2008.
    [2] Hansen, Pellom: An effective quality evaluation protocol for speech enhancement
        algorithms. ICSLP 1998.
    [3] Gray, Markel: Distance measures for speech processing. IEEE TASSP 24(5), 1976.
    [4] Quackenbush, Barnwell, Clements: Objective measures of speech quality. Prentice Hall 1988.
    [5] Klatt: Prediction of perceived phonetic distance from critical-band spectra.
        ICASSP 1982.
    [6] Loizou: Speech enhancement: theory and practice, 2nd edition, chapter 11. CRC 2013.
"""

from collections.abc import Iterator

import numpy as np
import scipy.fft

from specmask.evaluation.metrics.checks import checked, long_enough

FRAME_SECONDS = 0.03
HOP_SECONDS = 0.01
COMPOSITE_HOP_SECONDS = FRAME_SECONDS / 4  # [6]
BLOCK = 2048  # frames held in memory at a time

SEGMENTAL_LIMITS_DB = (-10.0, 35.0)  # [2]: below is not heard as worse, above not as better
LSD_RANGE_DB = 60.0  # spectra are cut off this far below the loudest bin of the clean signal
KEPT = 0.95  # share of the frames, those with the smallest distances, in LLR and WSS [1]

# Critical bands of [5]: 25 centres in Hz; widths in Hz grow from 70 Hz as in [6].
CENTRES_HZ = np.array(
    [
        *(50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38),
        *(1148.30, 1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97),
        *(2978.04, 3276.17, 3597.63),
    ]
)
WIDTHS_HZ = np.array(
    [
        *(70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914),
        *(140.423, 153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072),
        *(298.126, 321.465, 346.136),
    ]
)
BAND_FLOOR = np.exp(-30 / (2 * 2.303))  # the filters end 30 dB down [6]
GLOBAL_SLOPE_WEIGHT, LOCAL_SLOPE_WEIGHT = 20.0, 1.0  # K_max and K_locmax of [5], in dB


def segmental_snr(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Mean over frames of 10 log10(Σ s² / Σ (s − ŝ)²), each within −10 and 35 dB [1], [2].

    Pauses count: with any noise in them they have −10 dB. Frames where both signals are digital
    silence are 0/0 and left out.

    Args:
        clean: s, [samples], not silent, at least 30 ms.
        enhanced: ŝ, [samples].
        rate: in Hz.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced, rate, "segmental SNR")
    return _segmental_snr(s, e, rate, HOP_SECONDS)


def _segmental_snr(s: np.ndarray, e: np.ndarray, rate: int, hop_seconds: float) -> float:
    tiny, (low, high) = np.finfo(float).tiny, SEGMENTAL_LIMITS_DB
    blocks = []
    for a, b in zip(_blocks(s, rate, hop_seconds), _blocks(s - e, rate, hop_seconds), strict=True):
        signal, error = (np.sum(np.square(x), axis=1) for x in (a, b))
        some = signal + error > 0
        ratio_db = 10 * (np.log10(signal[some] + tiny) - np.log10(error[some] + tiny))
        blocks.append(np.clip(ratio_db, low, high))
    ratios = np.concatenate(blocks)
    return float(ratios.mean()) if ratios.size else high


def log_spectral_distance(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Mean over frames of √(mean over bins of (10 log10 |S|² − 10 log10 |Ŝ|²)²) in dB, after [3].

    Both spectra are cut off 60 dB below the loudest bin of the clean signal: what lies below
    cannot be heard beside it, and digital silence has no logarithm. Smaller is better.

    Args:
        clean: [samples], not silent, at least 30 ms.
        enhanced: [samples].
        rate: in Hz.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced, rate, "log-spectral distance")
    loudest = max(_powers(frames).max() for frames in _blocks(s, rate, HOP_SECONDS))
    floor = loudest * 10 ** (-LSD_RANGE_DB / 10)
    found = []
    for a, b in zip(_blocks(s, rate, HOP_SECONDS), _blocks(e, rate, HOP_SECONDS), strict=True):
        difference = 10 * np.log10(np.maximum(_powers(a), floor) / np.maximum(_powers(b), floor))
        found.append(np.sqrt(np.mean(np.square(difference), axis=1)))
    return float(np.mean(np.concatenate(found)))


def spectrogram_rmse(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """√(mean over frames and bins of (|S| − |Ŝ|)²), a sine of full scale having |S| = 1.

    Smaller is better; a wrong level costs, a wrong phase does not.

    Args:
        clean: [samples], not silent, at least 30 ms.
        enhanced: [samples].
        rate: in Hz.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced, rate, "spectrogram RMSE")
    total, count = 0.0, 0
    for a, b in zip(_blocks(s, rate, HOP_SECONDS), _blocks(e, rate, HOP_SECONDS), strict=True):
        difference = np.sqrt(_powers(a)) - np.sqrt(_powers(b))
        total += float(np.sum(np.square(difference)))
        count += difference.size
    full_scale = np.sum(_window(rate)) / 2
    return float(np.sqrt(total / count) / full_scale)


def llr(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Log-likelihood ratio, mean over the 95 % of frames where it is smallest.

    log(âᵀ R â / aᵀ R a), with the predictors a of the clean and â of the enhanced frame and the
    autocorrelation matrix R of the clean one [1], [4]. The order is 10 below 10 kHz, else 16.
    Frames without any signal in one of the two have no predictor, it is taken as 1.

    Args:
        clean: [samples], not silent, at least 30 ms.
        enhanced: [samples].
        rate: in Hz.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced, rate, "LLR")
    order = 10 if rate < 10000 else 16
    found = []
    lag = np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))
    for a, b in zip(*(_blocks(x, rate, COMPOSITE_HOP_SECONDS) for x in (s, e)), strict=True):
        clean_lags = _autocorrelation(a, order)
        matrix = clean_lags[:, lag]  # R, [frames, order + 1, order + 1]
        best, used = (
            np.einsum("fi,fij,fj->f", x, matrix, x)
            for x in (predictors(clean_lags), predictors(_autocorrelation(b, order)))
        )
        defined = (best > 0) & (used > 0)
        found.append(np.log(np.divide(used, best, out=np.ones(len(best)), where=defined)))
    return _mean_of_smallest(np.concatenate(found))


def predictors(lags: np.ndarray) -> np.ndarray:
    """Coefficients (1, a₁ … a_p) of the prediction error filters, by Levinson's recursion.

    Args:
        lags: autocorrelation of every frame at lags 0 to p, float64 [frames, p + 1].

    Returns:
        float64 [frames, p + 1]; (1, 0, … 0) for a silent frame.
    """
    a = np.zeros(lags.shape)
    a[:, 0], error = 1.0, lags[:, 0].copy()
    for i in range(1, lags.shape[1]):
        open_ = error > 1e-12 * lags[:, 0]  # neither silent nor predicted already
        left = -np.sum(a[:, :i] * lags[:, i:0:-1], axis=1)
        reflection = np.divide(left, error, out=np.zeros(len(a)), where=open_)
        a[:, 1 : i + 1] += reflection[:, None] * a[:, i - 1 :: -1][:, :i]
        error *= 1 - reflection**2
    return a


def wss(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Weighted spectral slope distance, mean over the 95 % of frames where it is smallest.

    Σ W (slope − slopê)² / Σ W over the 24 differences in dB between neighbours of 25 critical
    bands [1]. W is the mean of the weights of both frames, each
    K_max / (K_max + E_max − E) · K_loc / (K_loc + E_peak − E): bands near the loudest one and
    near their next peak count most [5]. As in the published program [6], the peak above a rising
    slope is read one band before its top, so that figures can be compared.

    Args:
        clean: [samples], not silent, at least 30 ms.
        enhanced: [samples].
        rate: in Hz; bands above half of it are empty.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced, rate, "WSS")
    filters = _critical_bands(rate)
    found = []
    for blocks in zip(*(_blocks(x, rate, COMPOSITE_HOP_SECONDS) for x in (s, e)), strict=True):
        slopes, weights = [], []
        for frames in blocks:
            size = 2 * filters.shape[1]
            powers = np.square(np.abs(scipy.fft.rfft(frames, size)[:, :-1]))
            bands = 10 * np.log10(np.maximum(powers @ filters.T, 1e-10))  # [frames, 25] dB
            slopes.append(np.diff(bands))
            weights.append(slope_weights(bands))
        weight = (weights[0] + weights[1]) / 2
        distance = np.sum(weight * np.square(slopes[0] - slopes[1]), axis=1)
        found.append(distance / np.sum(weight, axis=1))
    return _mean_of_smallest(np.concatenate(found))


def slope_weights(bands: np.ndarray) -> np.ndarray:
    """Klatt's weights of the slopes: float64 [frames, bands] in dB -> [frames, bands - 1]."""
    last = bands.shape[1] - 1
    rising = np.diff(bands) > 0
    peak = np.empty(rising.shape)
    top = np.full(len(bands), last)  # the first slope at or above this one that does not rise
    for k in range(last - 1, -1, -1):
        top = np.where(rising[:, k], top, k)
        peak[:, k] = np.take_along_axis(bands, np.maximum(top - 1, 0)[:, None], 1)[:, 0]
    foot = np.full(len(bands), -1)  # the last slope at or below this one that rises
    for k in range(last):
        foot = np.where(rising[:, k], k, foot)
        falling = np.take_along_axis(bands, (foot + 1)[:, None], 1)[:, 0]
        peak[:, k] = np.where(rising[:, k], peak[:, k], falling)
    energy, loudest = bands[:, :-1], bands.max(axis=1, keepdims=True)
    overall = GLOBAL_SLOPE_WEIGHT / (GLOBAL_SLOPE_WEIGHT + loudest - energy)
    return overall * LOCAL_SLOPE_WEIGHT / (LOCAL_SLOPE_WEIGHT + peak - energy)


def csig(llr: float, pesq: float, wss: float) -> float:
    """Rating of the speech: 3.093 − 1.029 LLR + 0.603 PESQ − 0.009 WSS within 1 and 5 [1]."""
    return _rating(3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss)


def cbak(pesq: float, wss: float, segmental: float) -> float:
    """Rating of the noise: 1.634 + 0.478 PESQ − 0.007 WSS + 0.063 segSNR within 1 and 5 [1]."""
    return _rating(1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * segmental)


def covl(llr: float, pesq: float, wss: float) -> float:
    """Rating of the whole: 1.594 + 0.805 PESQ − 0.512 LLR − 0.007 WSS within 1 and 5 [1]."""
    return _rating(1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss)


def composite(clean: np.ndarray, enhanced: np.ndarray, rate: int, pesq: float) -> dict[str, float]:
    """Predict the ratings of ITU-T P.835: csig, cbak, covl, each from 1 to 5.

    Args:
        clean: [samples], not silent, at least 30 ms.
        enhanced: [samples].
        rate: in Hz.
        pesq: of the pair. The regressions were made with raw narrowband P.862; from 16 kHz on
            the field puts in wideband PESQ, and so does
            :func:`specmask.evaluation.metrics.table.score`.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = _checked(clean, enhanced, rate, "composite ratings")
    ratio, slopes = llr(s, e, rate), wss(s, e, rate)
    segmental = _segmental_snr(s, e, rate, COMPOSITE_HOP_SECONDS)
    return {
        "csig": csig(ratio, pesq, slopes),
        "cbak": cbak(pesq, slopes, segmental),
        "covl": covl(ratio, pesq, slopes),
    }


def _rating(value: float) -> float:
    return float(min(5.0, max(1.0, value)))


def _checked(
    clean: np.ndarray, enhanced: np.ndarray, rate: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    s, e = checked(clean, enhanced)
    long_enough(len(s), rate, FRAME_SECONDS, what)
    return s, e


def _blocks(x: np.ndarray, rate: int, hop_seconds: float) -> Iterator[np.ndarray]:
    """Yield windowed frames of 30 ms, float64 [up to BLOCK frames, samples]."""
    window, hop = _window(rate), max(1, int(hop_seconds * rate))
    frames = np.lib.stride_tricks.sliding_window_view(x, len(window))[::hop]
    for start in range(0, len(frames), BLOCK):
        yield frames[start : start + BLOCK] * window


def _window(rate: int) -> np.ndarray:
    return np.hanning(round(FRAME_SECONDS * rate) + 2)[1:-1]  # without the zeros at its ends [6]


def _powers(frames: np.ndarray) -> np.ndarray:
    return np.square(np.abs(scipy.fft.rfft(frames)))


def _autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """Autocorrelation of every frame at lags 0 to order: [frames, samples] -> [frames, order + 1].

    Directly, not by an FFT: its rounding would spoil predictors of nearly periodic frames.
    """
    length = frames.shape[1]
    lags = [np.sum(frames[:, : length - k] * frames[:, k:], axis=1) for k in range(order + 1)]
    return np.stack(lags, axis=1)


def _critical_bands(rate: int) -> np.ndarray:
    """Gaussian filters of the critical bands, float64 [25, bins below half the rate]."""
    length = round(FRAME_SECONDS * rate)
    bins = 1 << (2 * length - 1).bit_length() - 1  # half of the FFT, twice a frame or more
    hz_per_bin = rate / 2 / bins
    offset = np.arange(bins) - np.floor(CENTRES_HZ / hz_per_bin)[:, None]
    level = np.log(WIDTHS_HZ[0] / WIDTHS_HZ)[:, None]  # wider bands are as much lower
    filters = np.exp(-11 * np.square(offset * hz_per_bin / WIDTHS_HZ[:, None]) + level)
    return np.where(filters > BAND_FLOOR, filters, 0)


def _mean_of_smallest(distances: np.ndarray) -> float:
    count = max(1, round(KEPT * len(distances)))
    return float(np.mean(np.sort(distances)[:count]))
