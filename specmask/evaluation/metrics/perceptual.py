"""Metrics that model a listener: PESQ, STOI, ESTOI, and DNSMOS, which needs no reference.

Conventions:
    ``f(clean, enhanced, rate)``: the reference comes first. Signals are real ``[samples]``, full
    scale 1. What cannot be measured raises :class:`specmask.evaluation.metrics.checks.MetricError`.

Metrics:
    pesq: MOS-LQO by package pesq, wideband [2] from 16 kHz on, narrowband [1] below.
    stoi, estoi: intelligibility by package pystoi [3], [4].
    dnsmos: P.835 ratings of speech, background and the whole, predicted by a network [5].

References:
    [1] ITU-T P.862 (2001) and P.862.1 (2003).
    [2] ITU-T P.862.2 (2007).
    [3] Taal, Hendriks, Heusdens, Jensen: An algorithm for intelligibility prediction of
        time-frequency weighted noisy speech. IEEE TASLP 19(7), 2011.
    [4] Jensen, Taal: An algorithm for predicting the intelligibility of speech masked by
        modulated noise maskers. IEEE/ACM TASLP 24(11), 2016.
    [5] Reddy, Gopal, Cutler: DNSMOS P.835: a non-intrusive perceptual objective speech quality
        metric to evaluate noise suppressors. ICASSP 2022. Its network comes with package
        speechmos and is run here by onnxruntime.
"""

import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio import io as audio_io
from specmask.evaluation.metrics.checks import MetricError, checked, foreign, is_silent, long_enough

# pystoi wants 31 frames of 256 samples with hop 128 at 10 kHz, and answers 1e-5 when it has fewer.
STOI_SECONDS = 0.41
STOI_TOO_SHORT = 1e-5

PESQ_SECONDS = 0.25
# The P.862 code has arrays for 50 utterances and does not look whether they are full: with more
# it crashes or scores what it has overwritten. Two utterances start at least 97 windows of 4 ms
# apart, so that 16 s cannot hold more than 43.
PESQ_PIECE_SECONDS = 16

DNSMOS_RATE = 16000
DNSMOS_SECONDS = 9.01  # what the network listens to at a time; a new piece starts every second
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
            warnings.simplefilter("ignore", RuntimeWarning)  # told by the value, see below
            return pystoi.stoi(s, e, rate, extended=extended)

    value = foreign("pystoi", compute)
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

    From 16 kHz on it is wideband PESQ [2] at 16 kHz, below it is narrowband PESQ [1] at 8 kHz:
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
    s, e = checked(clean, enhanced, audible=True)
    mode = pesq_mode(rate)
    long_enough(len(s), rate, PESQ_SECONDS, "PESQ")
    target = {"wb": 16000, "nb": 8000}[mode]
    s, e = audio_io.resample(s, rate, target), audio_io.resample(e, rate, target)
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

    return foreign("pesq", compute)


def dnsmos(enhanced: np.ndarray, rate: int) -> dict[str, float]:
    """Predict how listeners would rate a recording after ITU-T P.835 [5], from 1 to 5.

    The network hears 9.01 s, moved on by 1 s; the mean over these pieces is the rating. Shorter
    recordings are repeated until they are long enough, as its authors do.

    Args:
        enhanced: [samples], within ±1, not silent.
        rate: in Hz; other rates are resampled to 16 kHz.

    Returns:
        sig (the speech), bak (the background) and ovrl (the whole).

    Raises:
        MetricError: if the network is not installed, or the recording silent or not finite.
    """
    x = np.asarray(enhanced, np.float64)
    if not np.isfinite(x).all():
        raise MetricError("enhanced holds NaN or infinite samples")
    if not x.size or is_silent(x):
        raise MetricError("enhanced is silent")
    x = audio_io.resample(x, rate, DNSMOS_RATE)
    length = int(DNSMOS_SECONDS * DNSMOS_RATE)
    while len(x) < length:
        x = np.append(x, x)
    session = _dnsmos_session()
    count = int(len(x) / DNSMOS_RATE - DNSMOS_SECONDS) + 1
    outputs = []
    for start in range(0, count * DNSMOS_RATE, DNSMOS_RATE):
        piece = x[start : start + length].astype(np.float32)
        outputs.append(session.run(None, {session.get_inputs()[0].name: piece[None]})[0][0])
    columns = zip(DNSMOS_RATINGS.items(), np.array(outputs, float).T, strict=True)
    return {name: float(np.polyval(powers, column).mean()) for (name, powers), column in columns}


@lru_cache(1)
def _dnsmos_session() -> Any:
    """Load the network once a process, on one thread: files are spread over processes."""
    spec = importlib.util.find_spec("speechmos")  # found, not imported: it would want librosa
    try:
        import onnxruntime
    except ImportError:
        spec = None
    if spec is None:
        raise MetricError("packages speechmos and onnxruntime are not installed")
    path = Path(spec.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a release without the file, or one that cannot be loaded
        raise MetricError(f"package speechmos has no usable network: {error}") from error


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
