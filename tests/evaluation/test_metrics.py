"""Metrics against values derived by hand, slow references, and the packages themselves."""

import math
import sys

import numpy as np
import pesq as pesq_package
import pystoi
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from specmask.audio import io as audio_io
from specmask.evaluation.metrics import checks, composite, distortion, perceptual, table
from specmask.evaluation.metrics.checks import MetricError

pytestmark = pytest.mark.filterwarnings("error")

RATE = 16000
SQUARE = np.array([1.0, -1.0, 1.0, -1.0])
ORTHOGONAL = np.array([1.0, 1.0, -1.0, -1.0])  # to SQUARE and to a constant


def bursts(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Noise in bursts of 0.25 s with pauses as long: enough of a rhythm for PESQ and STOI."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    phase = np.arange(n) / rate % 0.5
    envelope = np.where(phase < 0.25, np.sin(np.pi * phase / 0.25) ** 2, 0)
    return 0.1 * envelope * rng.standard_normal(n)


def with_noise(clean: np.ndarray, snr_db: float, seed: int = 1) -> np.ndarray:
    """Add white noise without a mean, orthogonal to the clean signal, at exactly this SNR."""
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    basis = np.linalg.qr(np.stack([clean, np.ones(len(clean))], axis=1))[0]
    noise -= basis @ (basis.T @ noise)
    gain = np.linalg.norm(clean) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
    return clean + gain * noise


def test_snr_by_hand():
    # the error is a tenth of the signal: 20 dB
    assert_allclose(distortion.snr(SQUARE, 0.9 * SQUARE), 20)
    # (1 + 1 + 1 + 1) / (4 · 0.5²) = 4
    assert_allclose(distortion.snr(SQUARE, SQUARE + 0.5 * ORTHOGONAL), 10 * math.log10(4))
    assert distortion.snr(SQUARE, np.zeros(4)) == 0  # the error is the signal itself


def test_snr_improvement_by_hand():
    # from 0 dB to 20 dB; twice the level is no improvement of the SNR although it is of nothing
    assert_allclose(distortion.snr_improvement(SQUARE, SQUARE + ORTHOGONAL, 0.9 * SQUARE), 20)
    assert_allclose(distortion.si_sdr_improvement(SQUARE, SQUARE + ORTHOGONAL, SQUARE * 9), 100)
    assert distortion.snr_improvement(SQUARE, SQUARE + ORTHOGONAL, SQUARE * 9) < 0


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (-2.5, 0), (1e-3, 0.3)])
def test_si_sdr_by_hand(gain, offset):
    enhanced = gain * (SQUARE + 0.5 * ORTHOGONAL) + offset
    assert_allclose(distortion.si_sdr(SQUARE + 7, enhanced), 10 * math.log10(4), rtol=1e-9)


@given(
    snr_db=st.floats(-50, 50),
    gain=st.floats(1e-3, 1e3),
    offset=st.floats(-1, 1),
    length=st.integers(8, 400),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_si_sdr_of_orthogonal_noise_is_its_snr(snr_db, gain, offset, length, seed):
    clean = np.random.default_rng(seed).standard_normal(length)
    clean -= clean.mean()
    noisy = with_noise(clean, snr_db, seed + 1)
    assert_allclose(distortion.snr(clean, noisy), snr_db, atol=1e-6)
    assert_allclose(distortion.si_sdr(clean, gain * noisy + offset), snr_db, atol=1e-6)


def test_si_sdr_against_least_squares():
    rng = np.random.default_rng(3)
    clean, enhanced = rng.standard_normal((2, 500)) + 0.2
    enhanced += clean
    # A constant and the clean signal explain what they can; α s is what the second contributes.
    design = np.stack([clean - clean.mean(), np.ones(500)], axis=1)
    weights, residual = np.linalg.lstsq(design, enhanced)[:2]
    expected = 10 * np.log10(np.sum((weights[0] * design[:, 0]) ** 2) / residual[0])
    assert_allclose(distortion.si_sdr(clean, enhanced), expected, rtol=1e-10)


def slow_sdr(clean: np.ndarray, enhanced: np.ndarray) -> float:
    """SDR by an explicit projection on 512 shifted copies of the clean signal."""
    taps = distortion.SDR_TAPS
    shifts = np.zeros((len(clean) + taps - 1, taps))
    for shift in range(taps):
        shifts[shift : shift + len(clean), shift] = clean
    padded = np.r_[enhanced, np.zeros(taps - 1)]
    target = shifts @ scipy.linalg.lstsq(shifts, padded, lapack_driver="gelsy")[0]
    return 10 * np.log10(np.sum(target**2) / np.sum((padded - target) ** 2))


@pytest.mark.parametrize("snr_db", [-5, 25])
def test_sdr_against_least_squares(snr_db):
    clean = np.random.default_rng(4).standard_normal(600)
    enhanced = with_noise(np.convolve(clean, [0.7, 0, -0.4, 0.1], "same"), snr_db)
    assert_allclose(distortion.sdr(clean, 0.01 * enhanced), slow_sdr(clean, enhanced), atol=1e-6)


def test_sdr_forgives_a_filter_and_si_sdr_does_not():
    clean = np.r_[bursts(1), np.zeros(600)]
    filtered = np.convolve(clean, np.random.default_rng(5).standard_normal(300))[: len(clean)]
    assert distortion.sdr(clean, filtered) > 60
    assert distortion.si_sdr(clean, filtered) < 5


def test_db_figures_are_capped():
    for metric in (distortion.snr, distortion.si_sdr):
        assert metric(SQUARE, SQUARE) == checks.CAP_DB
    assert distortion.si_sdr(SQUARE, ORTHOGONAL) == -checks.CAP_DB
    clean = bursts(0.2)
    assert 90 < distortion.sdr(clean, 0.5 * clean) <= checks.CAP_DB + 1e-6
    assert distortion.snr(1e-6 * SQUARE, 1e6 * SQUARE) == -checks.CAP_DB


@pytest.mark.parametrize("name", ["snr_improvement", "si_sdr_improvement"])
def test_no_improvement_over_what_is_perfect_or_silent(name):
    improvement = getattr(distortion, name)
    with pytest.raises(MetricError, match="perfect copy"):
        improvement(SQUARE, SQUARE, 0.9 * SQUARE + 0.1 * ORTHOGONAL)
    with pytest.raises(MetricError, match="noisy is silent"):
        improvement(SQUARE, np.zeros(4), SQUARE)


def test_improvements_are_differences():
    clean = bursts(0.5)
    noisy, enhanced = with_noise(clean, 3), 0.5 * with_noise(clean, 11)
    assert_allclose(distortion.si_sdr_improvement(clean, noisy, enhanced), 8, atol=1e-6)
    expected = distortion.snr(clean, enhanced) - 3
    assert_allclose(distortion.snr_improvement(clean, noisy, enhanced), expected, atol=1e-6)


# ---------------------------------------------------------------- PESQ


@pytest.mark.parametrize(("rate", "mode"), [(16000, "wb"), (8000, "nb")])
def test_pesq_is_that_of_the_package(rate, mode):
    clean = bursts(2, rate)
    noisy = with_noise(clean, 15)
    assert perceptual.pesq_mode(rate) == mode
    assert perceptual.pesq(clean, noisy, rate) == pesq_package.pesq(rate, clean, noisy, mode)
    assert perceptual.pesq(clean, noisy, rate) != perceptual.pesq(noisy, clean, rate)


@pytest.mark.parametrize(
    ("rate", "mode", "target"), [(48000, "wb", 16000), (44100, "wb", 16000), (12000, "nb", 8000)]
)
def test_pesq_at_other_rates(rate, mode, target):
    clean = bursts(1, rate)
    noisy = with_noise(clean, 10)
    assert perceptual.pesq_mode(rate) == mode
    pair = [audio_io.resample(x, rate, target) for x in (clean, noisy)]
    assert perceptual.pesq(clean, noisy, rate) == pesq_package.pesq(target, *pair, mode)


def test_pesq_of_a_named_mode():
    """The column pesq_nb is narrowband at any rate; the composite takes that of the rate."""
    clean = bursts(1)
    noisy = with_noise(clean, 5)
    names = ["pesq_nb", "pesq", "pesq_wb", "csig"]
    values, reasons = table.score(clean, None, noisy, 16000, names)
    nb, wb = (pesq_package.pesq(16000, clean, noisy, mode) for mode in ("nb", "wb"))
    assert (values["pesq_nb"], values["pesq"], values["pesq_wb"]) == (nb, wb, wb) and nb != wb
    assert values["csig"] == composite.composite(clean, noisy, 16000, wb)["csig"] and not reasons
    clean = bursts(1, 8000)
    noisy = with_noise(clean, 5)
    values, reasons = table.score(clean, None, noisy, 8000, names[:3])
    assert values["pesq_nb"] == values["pesq"] == pesq_package.pesq(8000, clean, noisy, "nb")
    wanted = "wideband PESQ needs a rate of 16000 Hz or more, found 8000 Hz; take pesq_nb"
    assert reasons == {"pesq_wb": wanted}


def test_pesq_below_8_khz_is_refused():
    with pytest.raises(MetricError, match="8000 Hz or more, found 4000"):
        perceptual.pesq(bursts(1, 4000), bursts(1, 4000), 4000)


def test_pesq_of_more_utterances_than_p862_has_room_for():
    clean = bursts(36, 8000)  # 72 of them: P.862 has room for 50, and 16 s hold 32
    noisy = clean + 0.003 * np.random.default_rng(6).standard_normal(len(clean))
    pieces = [
        pesq_package.pesq(8000, s, e, "nb")
        for s, e in zip(np.split(clean, 3), np.split(noisy, 3), strict=True)
    ]
    assert_allclose(perceptual.pesq(clean, noisy, 8000), np.mean(pieces))


def test_pesq_leaves_out_pieces_without_speech():
    first = bursts(16, 8000)
    noisy = first + 0.003 * np.random.default_rng(6).standard_normal(len(first))
    expected = perceptual.pesq(first, noisy, 8000)
    silence = np.zeros(len(first))
    for after in (silence, noisy - first):  # pesq divides by zero, or finds no utterance
        assert perceptual.pesq(np.r_[first, silence], np.r_[noisy, after], 8000) == expected


# ---------------------------------------------------------------- STOI


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_is_that_of_the_package(extended):
    clean = bursts(2)
    noisy = with_noise(clean, 0)
    metric = perceptual.estoi if extended else perceptual.stoi
    expected = pystoi.stoi(clean, noisy, RATE, extended=extended)
    assert_allclose(metric(clean, noisy, RATE), expected, atol=1e-9)
    assert_allclose(metric(clean, clean, RATE), 1, atol=1e-9)
    assert metric(clean, with_noise(clean, 10), RATE) > metric(clean, noisy, RATE)


def test_estoi_repeats_itself_and_leaves_the_generator_alone():
    clean = bursts(2)
    enhanced = clean.copy()
    enhanced[RATE:] = 0  # pystoi normalises random numbers here
    np.random.seed(1)
    first, drawn = perceptual.estoi(clean, enhanced, RATE), np.random.random()
    np.random.seed(2)
    assert perceptual.estoi(clean, enhanced, RATE) == first
    np.random.seed(1)
    assert np.random.random() == drawn


def test_stoi_says_when_there_is_too_little_speech():
    clean = np.zeros(RATE)
    clean[:3000] = bursts(1)[:3000]
    with pytest.raises(MetricError, match="too little speech for STOI"):
        perceptual.stoi(clean, clean, RATE)


def test_shortest_signal_for_stoi():
    n = math.ceil(perceptual.STOI_SECONDS * RATE)
    noise = np.random.default_rng(7).standard_normal(n)
    assert_allclose(perceptual.stoi(noise, noise, RATE), 1)
    with pytest.raises(MetricError, match=r"too short for STOI: 0\.41 s"):
        perceptual.stoi(noise[:-1], noise[:-1], RATE)


# ---------------------------------------------------------------- undefined metrics

GOOD = bursts(1)
BAD = {
    "two lengths": (GOOD, GOOD[1:], "of one length, found clean [16000] and enhanced [15999]"),
    "two channels": (GOOD[:, None], GOOD[:, None], "expected two signals [samples]"),
    "empty": (GOOD[:0], GOOD[:0], "no samples"),
    "NaN": (GOOD, np.where(np.arange(RATE) == 5, np.nan, GOOD), "enhanced holds NaN"),
    "infinite": (np.where(np.arange(RATE) == 5, np.inf, GOOD), GOOD, "clean holds NaN"),
    "silent clean": (0 * GOOD, GOOD, "clean is silent"),
    "constant clean": (0 * GOOD + 0.1, GOOD, "clean is silent"),
    "silent enhanced": (GOOD, 0 * GOOD, "enhanced is silent"),
    "short": (GOOD[1000:1400], GOOD[1000:1400], "too short for"),
}


# Some metrics are defined there: energies for any length, and an SNR of 0 dB for silence.
DEFINED = {
    ("short", "si_sdr"),
    ("short", "si_sdr_improvement"),
    ("short", "snr_improvement"),
    ("silent enhanced", "snr_improvement"),
    ("silent enhanced", "segmental_snr"),
    ("silent enhanced", "log_spectral_distance"),
    ("silent enhanced", "spectrogram_rmse"),
}


@pytest.mark.parametrize(
    ("case", "name"), [(c, n) for c in BAD for n in table.DEFAULT if (c, n) not in DEFINED]
)
def test_undefined_metrics_are_nan_with_a_reason(case, name):
    clean, enhanced, reason = BAD[case]
    noisy = clean + 0.1 * bursts(1, seed=9)[: len(clean)].reshape(clean.shape)
    values, reasons = table.score(clean, noisy, enhanced, RATE, [name])
    assert math.isnan(values[name])
    # improvements look at the noisy signal first, and name it
    assert reason in reasons[name].replace("noisy", "enhanced")


def test_score_gives_all_metrics_and_no_reason_when_all_is_well():
    noisy, enhanced = with_noise(GOOD, 5), with_noise(GOOD, 12, seed=2)
    values, reasons = table.score(GOOD, noisy, enhanced, RATE, (*table.DEFAULT, "snr"))
    assert reasons == {}
    assert tuple(values) == (*table.DEFAULT, "snr")
    assert all(type(v) is float and math.isfinite(v) for v in values.values())
    assert_allclose([values["si_sdr"], values["si_sdr_improvement"]], [12, 7], atol=1e-2)


def test_score_keeps_the_good_figures_beside_a_bad_one():
    values, reasons = table.score(GOOD, None, with_noise(GOOD, 5), RATE)
    assert set(reasons) == table.NEED_NOISY == {n for n in values if math.isnan(values[n])}
    assert reasons["snr_improvement"] == "no noisy signal to compare with"


def test_score_does_not_know_every_name():
    with pytest.raises(ValueError, match="unknown metric 'mos'"):
        table.score(GOOD, GOOD, GOOD, RATE, ["mos"])


def test_a_failing_package_is_a_reason(monkeypatch):
    def broken(*_):
        raise pesq_package.OutOfMemoryError(b"Unable to allocate memory")

    monkeypatch.setattr(pesq_package, "pesq", broken)
    monkeypatch.setattr(pystoi, "stoi", lambda *_, **__: math.nan)
    monkeypatch.setitem(sys.modules, "fast_bss_eval", None)
    values, reasons = table.score(GOOD, None, GOOD, RATE, ["pesq", "stoi", "sdr"])
    assert all(math.isnan(v) for v in values.values())
    assert reasons == {
        "pesq": "package pesq failed: OutOfMemoryError: Unable to allocate memory",
        "stoi": "package pystoi returned nan",
        "sdr": "package fast_bss_eval is not installed",
    }


@given(
    scale=st.sampled_from([1e-300, 1e-30, 1e-9, 1e-5, 1.0, 1e30]),
    length=st.integers(0, 700),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_score_never_raises(scale, length, seed):
    rng = np.random.default_rng(seed)
    clean, noisy, enhanced = scale * rng.integers(-2, 3, (3, length))
    names = ["snr", "si_sdr", "si_sdr_improvement", "sdr", "snr_improvement"]
    values, reasons = table.score(clean, noisy, enhanced, RATE, names)
    for name in names:
        assert math.isnan(values[name]) == (name in reasons)
        limit = 2 * checks.CAP_DB if "improvement" in name else checks.CAP_DB
        assert name in reasons or abs(values[name]) <= limit + 1e-5
