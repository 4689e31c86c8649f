"""Metrics that model a listener: PESQ, STOI, ESTOI, ViSQOL; without reference DNSMOS, Distill-MOS.

Conventions:
    ``f(clean, enhanced, rate)``: the reference comes first. Signals are real ``[samples]``, full
    scale 1. A figure that is not defined raises
    :class:`specmask.evaluation.metrics.checks.MetricError`.

Metrics:
    pesq: MOS-LQO by package pesq, wideband [2] from 16 kHz on, narrowband [1] below.
    stoi, estoi: intelligibility by package pystoi [3], [4].
    dnsmos: P.835 ratings of speech, background and the whole, predicted by a network [5].
    dnsmos_p808: P.808 mean opinion score, predicted by a network [6].
    visqol: MOS-LQO by similarity of spectrograms, by package visqol-python [7].
    distill_mos: mean opinion score, predicted by a network of package distillmos [8].

References:
    [1] ITU-T P.862 (2001) and P.862.1 (2003).
    [2] ITU-T P.862.2 (2007).
    [3] Taal, Hendriks, Heusdens, Jensen: An algorithm for intelligibility prediction of
        time-frequency weighted noisy speech. IEEE TASLP 19(7), 2011.
    [4] Jensen, Taal: An algorithm for predicting the intelligibility of speech masked by
        modulated noise maskers. IEEE/ACM TASLP 24(11), 2016.
    [5] Reddy, Gopal, Cutler: DNSMOS P.835: a non-intrusive perceptual objective speech quality
        metric to evaluate noise suppressors. ICASSP 2022. Its networks come with package
        speechmos and are run here by onnxruntime.
    [6] Reddy, Gopal, Cutler: DNSMOS: a non-intrusive perceptual objective speech quality metric
        to evaluate noise suppressors. ICASSP 2021.
    [7] Chinen et al.: ViSQOL v3: an open source production ready objective speech and audio
        metric. QoMEX 2020.
    [8] Stahl, Gamper: Distillation and pruning for scalable self-supervised representation-based
        speech quality assessment. ICASSP 2025.
"""

import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio.io import resample
from specmask.config.types import PESQ_RATE_HZ
from specmask.evaluation.metrics.checks import (
    MetricError,
    by_package,
    checked,
    is_silent,
    long_enough,
)

# pystoi needs 31 frames of 256 samples with hop 128 at 10 kHz, and returns 1e-5 for fewer.
STOI_SECONDS = 0.41
STOI_TOO_SHORT = 1e-5

PESQ_SECONDS = 0.25
# The P.862 code has arrays for 50 utterances and no check of their bounds: with more utterances it
# crashes or scores overwritten memory. Two utterances start at least 97 windows of 4 ms apart, so
# 16 s cannot hold more than 43.
PESQ_PIECE_SECONDS = 16

VISQOL_RATE = 16000
VISQOL_SECONDS = 0.5

DISTILL_MOS_RATE = 16000

DNSMOS_RATE = 16000
MEL_FRAME, MEL_HOP, MEL_BANDS = 321, 160, 120  # of P.808
DNSMOS_SECONDS = 9.01  # input of the network; a new piece starts every second
# From the network's outputs to ratings, highest power first (published with the network).
DNSMOS_RATINGS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def stoi(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Short-time objective intelligibility [3]; 1 is as intelligible as the clean speech.

    Args:
        clean: [samples], not silent, with at least 0.41 s of speech.
        enhanced: [samples], not silent.
        rate: in Hz; pystoi resamples to 10 kHz.

    Raises:
        MetricError: if it is not defined.
    """
    return _stoi(clean, enhanced, rate, extended=False)


def estoi(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """Extended STOI [4], which also follows modulated noise; else as :func:`stoi`."""
    return _stoi(clean, enhanced, rate, extended=True)


def _stoi(clean: np.ndarray, enhanced: np.ndarray, rate: int, extended: bool) -> float:
    s, e = checked(clean, enhanced, audible=True)
    long_enough(len(s), rate, STOI_SECONDS, "STOI")

    def compute() -> float:
        import pystoi

        with warnings.catch_warnings(), _fixed_random_state():
            warnings.simplefilter("ignore", RuntimeWarning)  # the value says it, see below
            return pystoi.stoi(s, e, rate, extended=extended)

    value = by_package("pystoi", compute)
    if value == STOI_TOO_SHORT:
        raise MetricError(
            f"too little speech for STOI: expected at least {STOI_SECONDS} s without pauses"
        )
    return value


def pesq_mode(rate: int) -> str:
    """Return the mode of PESQ at a rate in Hz: ``wb`` from 16 kHz on, ``nb`` from 8 kHz on.

    Raises:
        MetricError: below 8 kHz, where the telephone band is not complete.
    """
    if rate < 8000:
        raise MetricError(f"PESQ needs a rate of 8000 Hz or more, found {rate} Hz")
    return "wb" if rate >= PESQ_RATE_HZ else "nb"


def pesq(clean: np.ndarray, enhanced: np.ndarray, rate: int, mode: str = "") -> float:
    """Perceptual evaluation of speech quality, MOS-LQO from about 1 to 4.6.

    From 16 kHz on it is wideband PESQ [2] at 16 kHz, below it is narrowband PESQ [1] at 8 kHz:
    a signal with less than the wide band must not pass for one. :func:`pesq_mode` says which.
    Narrowband PESQ that is asked for from 16 kHz on is computed at 16 kHz. Other rates are
    resampled to these two. Signals longer than 16 s are scored in the fewest
    equal pieces that are not, and the mean is the score; pieces without clean speech are left out.

    Args:
        clean: [samples], not silent, at least 0.25 s.
        enhanced: [samples], not silent.
        rate: in Hz, at least 8000.
        mode: wb or nb; by default that of the rate.

    Raises:
        MetricError: if it is not defined, or P.862 finds no utterance.
    """
    s, e = checked(clean, enhanced, audible=True)
    target = {"wb": PESQ_RATE_HZ, "nb": 8000}[pesq_mode(rate)]
    mode = mode or pesq_mode(rate)
    if mode == "wb" and target != PESQ_RATE_HZ:
        raise MetricError(
            f"wideband PESQ needs a rate of {PESQ_RATE_HZ} Hz or more, found {rate} Hz; "
            "take pesq_nb"
        )
    long_enough(len(s), rate, PESQ_SECONDS, "PESQ")
    s, e = resample(s, rate, target), resample(e, rate, target)
    count = math.ceil(len(s) / (PESQ_PIECE_SECONDS * target))
    pieces = zip(np.array_split(s, count), np.array_split(e, count), strict=True)

    def compute() -> float:
        from pesq import NoUtterancesError
        from pesq import pesq as p862

        scores = []
        for s_piece, e_piece in pieces:
            if is_silent(s_piece):
                continue
            try:
                scores.append(p862(target, s_piece, e_piece, mode))
            except NoUtterancesError:
                continue
        if not scores:
            raise MetricError("PESQ found no utterance in the clean signal")
        return float(np.mean(scores))

    return by_package("pesq", compute)


def dnsmos(enhanced: np.ndarray, rate: int) -> dict[str, float]:
    """Predict how listeners would rate a recording after ITU-T P.835 [5], from 1 to 5.

    The input of the network is 9.01 s long; the rating is the mean over such pieces, one starting
    every second. Shorter recordings are repeated until they are long enough, as its authors do.

    Args:
        enhanced: [samples], within ±1, not silent.
        rate: in Hz; other rates are resampled to 16 kHz.

    Returns:
        sig (the speech), bak (the background) and ovrl (the whole).

    Raises:
        MetricError: if the network is not installed, or the recording silent or not finite.
    """
    outputs = [_run("sig_bak_ovr", piece) for piece in _dnsmos_pieces(enhanced, rate)]
    columns = zip(DNSMOS_RATINGS.items(), np.array(outputs, float).T, strict=True)
    return {name: float(np.polyval(powers, column).mean()) for (name, powers), column in columns}


def dnsmos_installed() -> bool:
    """Return whether the networks of DNSMOS can be used."""
    return all(importlib.util.find_spec(name) for name in ("speechmos", "onnxruntime"))


def dnsmos_p808(enhanced: np.ndarray, rate: int) -> float:
    """Predict the mean opinion score after ITU-T P.808 [6], from 1 to 5; else as :func:`dnsmos`."""
    pieces = _dnsmos_pieces(enhanced, rate)
    return float(np.mean([_run("model_v8", mel_features(x[:-160])) for x in pieces]))


def mel_features(x: np.ndarray) -> np.ndarray:
    """Log mel spectrum, the input of the network of P.808: float32 [frames, 120].

    As librosa computes it: frames of 321 samples under a periodic Hann window every 160, centred
    on zero-padded ends; triangular bands of equal area on Slaney's mel scale; in dB below the
    maximum, at most 80, mapped to -1 ... 1.

    Args:
        x: [samples] at 16 kHz.
    """
    window = np.hanning(MEL_FRAME + 1)[:-1]
    padded = np.pad(np.asarray(x, np.float64), MEL_FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, MEL_FRAME)[::MEL_HOP]
    powers = np.square(np.abs(np.fft.rfft(frames * window))) @ _mel_bands().T
    levels = 10 * np.log10(np.maximum(powers, 1e-10))
    levels = np.maximum(levels, levels.max() - 80) - max(levels.max(), -100.0)
    return ((levels + 40) / 40).astype(np.float32)


@lru_cache(1)
def _mel_bands() -> np.ndarray:
    """Triangular bands from 0 to 8 kHz, each of area 1: float64 [120, bins]."""
    step = math.log(6.4) / 27  # Slaney: 15 mel per kHz up to 1 kHz, then logarithmic
    top = 15 + math.log(DNSMOS_RATE / 2 / 1000) / step
    mels = np.linspace(0, top, MEL_BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))[:, None]
    hertz = np.arange(MEL_FRAME // 2 + 1) * DNSMOS_RATE / MEL_FRAME
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])


def _dnsmos_pieces(enhanced: np.ndarray, rate: int) -> list[np.ndarray]:
    """Return the pieces of a recording that DNSMOS rates: float32 [samples] at 16 kHz."""
    x = _audible(enhanced, rate, DNSMOS_RATE)
    length = int(DNSMOS_SECONDS * DNSMOS_RATE)
    while len(x) < length:
        x = np.append(x, x)
    count = int(len(x) // DNSMOS_RATE - DNSMOS_SECONDS) + 1  # whole seconds, as its authors do
    starts = range(0, count * DNSMOS_RATE, DNSMOS_RATE)
    return [x[start : start + length].astype(np.float32) for start in starts]


def _audible(enhanced: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Return a recording at another rate.

    Raises:
        MetricError: if it is silent or holds NaN or infinite samples.
    """
    x = np.asarray(enhanced, np.float64)
    if not np.isfinite(x).all():
        raise MetricError("enhanced holds NaN or infinite samples")
    if not x.size or is_silent(x):
        raise MetricError("enhanced is silent")
    return resample(x, rate, new_rate)


def _run(name: str, x: np.ndarray) -> np.ndarray:
    session = _dnsmos_session(name)
    return session.run(None, {session.get_inputs()[0].name: x[None]})[0][0]


@lru_cache(2)
def _dnsmos_session(name: str) -> Any:
    """Load a network once per process, on one thread: files are spread over processes."""
    spec = importlib.util.find_spec("speechmos")  # not imported: it would need librosa
    try:
        import onnxruntime
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise MetricError("packages speechmos and onnxruntime are not installed")
    path = Path(spec.origin).parent / "dnsmos_models" / f"{name}.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a release without the file, or one that cannot be loaded
        raise MetricError(f"package speechmos has no usable network: {error}") from error


def visqol(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> float:
    """ViSQOL in speech mode, MOS-LQO from 1 to 5 [7], by package visqol-python.

    The mapping to MOS is the exponential one (``--use_lattice_model=false`` of the C++ program),
    so that figures do not depend on further packages. Other rates are resampled to 16 kHz.

    Args:
        clean: [samples], not silent, at least 0.5 s.
        enhanced: [samples], not silent.
        rate: in Hz.

    Raises:
        MetricError: if it is not defined.
    """
    s, e = checked(clean, enhanced, audible=True)
    long_enough(len(s), rate, VISQOL_SECONDS, "ViSQOL")

    def compute() -> float:
        pair = (np.asarray(resample(x, rate, VISQOL_RATE), np.float64) for x in (s, e))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _visqol_api().measure_from_arrays(*pair, VISQOL_RATE).moslqo

    return by_package("visqol-python", compute)


@lru_cache(1)
def _visqol_api() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=False)
    return api


def distill_mos(enhanced: np.ndarray, rate: int) -> float:
    """Distill-MOS, a predicted rating from 1 to 5 [8], by package distillmos.

    The network rates pieces of 7.68 s, normalised to their peaks; the figure is their mean. Other
    rates are resampled to 16 kHz.

    Args:
        enhanced: [samples], not silent.
        rate: in Hz.

    Raises:
        MetricError: if it is not defined.
    """
    x = _audible(enhanced, rate, DISTILL_MOS_RATE).astype(np.float32)

    def compute() -> float:
        network = _distill_mos_network()
        import torch

        with torch.inference_mode():
            return network(torch.from_numpy(x[None])).item()

    return by_package("distillmos", compute)


@lru_cache(1)
def _distill_mos_network() -> Any:
    """Load the network once per process, on one thread: files are spread over processes."""
    import distillmos
    import torch

    torch.set_num_threads(1)
    with redirect_stdout(None):  # it says where its weights are
        return distillmos.ConvTransformerSQAModel().eval()


@contextmanager
def _fixed_random_state() -> Iterator[None]:
    """Seed NumPy's global generator, and restore its state afterwards.

    pystoi adds noise of 1e-16 before it normalises: where an output is digital silence, only that
    noise is left, and ESTOI would change in the second digit from run to run.
    """
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
