"""Distances between frames: hand-derived values, and slow loops written from the equations."""

import math
from unittest import mock

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from specmask.evaluation.metrics import composite, perceptual, table
from specmask.evaluation.metrics.checks import MetricError

RATE = 16000
FRAME = 480


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples)


# ---------------------------------------------------------------- segmental SNR


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(0.9, 20), (0, 0), (1 - 10**-0.25, 5), (1, 35), (0.9999, 35), (-9, -10), (1 + 10**0.4, -8)],
)
def test_segmental_snr_by_hand(gain, expected):
    # the error is (1 - gain) times the signal in every frame: -20 log10 |1 - gain| dB, limited
    x = noise(4000)
    assert_allclose(composite.segmental_snr(x, gain * x, RATE), expected, atol=1e-9)


def test_segmental_snr_is_a_mean_over_frames():
    # 100 frames of 480 every 160 samples; an error of 20 dB in the last second only
    x = noise(2 * RATE)
    e = x.copy()
    e[RATE:] *= 0.9
    frames = 1 + (2 * RATE - FRAME) // 160
    clean = 1 + (RATE - FRAME) // 160  # frames that see no error
    whole = sum(1 for k in range(frames) if k * 160 >= RATE)  # frames that see nothing else
    found = composite.segmental_snr(x, e, RATE)
    between = frames - clean - whole
    assert 35 * clean + 20 * whole + 20 * between <= found * frames
    assert found * frames <= 35 * (clean + between) + 20 * whole


def test_pauses_count_where_there_is_noise_in_them():
    x = np.r_[noise(RATE), np.zeros(RATE)]
    assert_allclose(composite.segmental_snr(x, x, RATE), 35)
    assert_allclose(composite.segmental_snr(x, 0 * x, RATE), 0)
    e = np.r_[x[:RATE], 0.01 * noise(RATE, 1)]
    assert_allclose(composite.segmental_snr(x, e, RATE), (35 - 10) / 2, atol=0.7)


# ---------------------------------------------------------------- RMSE of the spectrogram


def test_spectrogram_rmse_by_hand():
    """A sine of full scale on a bin has magnitude 1 there, 1/2 beside it, 0 elsewhere."""
    n = np.arange(4 * FRAME)
    sine = np.sin(2 * np.pi * 40 * n / FRAME)
    expected = np.sqrt((1 + 2 * 0.25) / (FRAME // 2 + 1))
    assert_allclose(composite.spectrogram_rmse(sine, 0 * sine, RATE), expected, rtol=5e-3)
    assert_allclose(composite.spectrogram_rmse(sine, 0.25 * sine, RATE), 0.75 * expected, rtol=5e-3)
    assert composite.spectrogram_rmse(sine, -sine, RATE) == 0  # the phase makes no difference


def test_spectrogram_rmse_against_a_loop():
    x, y = noise(2500), noise(2500, 1)
    window = np.hanning(FRAME + 2)[1:-1]
    squares = []
    for start in range(0, 2500 - FRAME + 1, 160):
        piece = slice(start, start + FRAME)
        s, e = (np.abs(np.fft.rfft(window * signal[piece])) for signal in (x, y))
        squares += [((a - b) / (sum(window) / 2)) ** 2 for a, b in zip(s, e, strict=True)]
    expected = math.sqrt(sum(squares) / len(squares))
    assert_allclose(composite.spectrogram_rmse(x, y, RATE), expected, rtol=1e-9)


# ---------------------------------------------------------------- log-spectral distance


@pytest.mark.parametrize("gain_db", [-6, 0, 3])
def test_lsd_of_a_gain_is_the_gain(gain_db):
    x = noise(RATE)
    found = composite.log_spectral_distance(x, 10 ** (gain_db / 20) * x, RATE)
    assert_allclose(found, abs(gain_db), atol=1e-2)


def test_lsd_of_silence_is_the_range_above_the_floor():
    x = noise(RATE)
    window = np.hanning(FRAME + 2)[1:-1]
    frames = np.stack([x[k : k + FRAME] * window for k in range(0, RATE - FRAME + 1, 160)])
    levels = 20 * np.log10(np.abs(np.fft.rfft(frames)))
    above = np.maximum(levels - levels.max() + 60, 0)
    expected = np.mean(np.sqrt(np.mean(above**2, axis=1)))
    assert_allclose(composite.log_spectral_distance(x, 0 * x, RATE), expected, rtol=1e-9)


# ---------------------------------------------------------------- LLR


def test_predictors_solve_the_normal_equations():
    x = noise(2000).reshape(4, 500)
    lags = composite._autocorrelation(x, 16)
    for row, found in zip(lags, composite.predictors(lags), strict=True):
        expected = np.r_[1, scipy.linalg.solve_toeplitz(row[:16], -row[1:])]
        assert_allclose(found, expected, atol=1e-10)


def test_llr_of_a_first_order_process_by_hand():
    # R of an AR(1) process with pole p; predicting it with pole q costs
    # (1 + q² - 2 p q) / (1 - p²): frames are long enough to come close
    p = 0.8
    x, e = np.zeros(4 * RATE), noise(4 * RATE, 2)
    drive = noise(4 * RATE, 1)
    for k in range(1, len(x)):
        x[k] = p * x[k - 1] + drive[k]
    found = composite.llr(x, e, RATE)  # white: q = 0
    assert_allclose(found, math.log(1 / (1 - p**2)), rtol=0.06)
    assert composite.llr(x, x, RATE) == 0
    assert_allclose(composite.llr(x, 1e-3 * x, RATE), 0, atol=1e-9)


@given(seed=st.integers(0, 99), rate=st.sampled_from([8000, 16000]))
@settings(max_examples=20, deadline=None)
def test_llr_is_never_negative(seed, rate):
    x = noise(rate // 4, seed)
    assert composite.llr(x, noise(rate // 4, seed + 1) + x, rate) >= 0


# ---------------------------------------------------------------- WSS


def slow_weights(bands: list[float]) -> list[float]:
    """Klatt's weights of one frame: walk from each band to its peak."""
    weights = []
    for k in range(24):
        slope = [bands[n + 1] - bands[n] for n in range(24)]
        n = k
        if slope[k] > 0:
            while n < 24 and slope[n] > 0:
                n += 1
            peak = bands[n - 1]
        else:
            while n >= 0 and slope[n] <= 0:
                n -= 1
            peak = bands[n + 1]
        overall = 20 / (20 + max(bands) - bands[k])
        weights.append(overall * 1 / (1 + peak - bands[k]))
    return weights


@given(bands=st.lists(st.integers(-40, 40), min_size=25, max_size=25))
@settings(max_examples=200, deadline=None)
def test_slope_weights_against_a_walk_to_the_peak(bands):
    found = composite.slope_weights(np.array([bands, bands[::-1]], float))
    assert_allclose(found, [slow_weights(bands), slow_weights(bands[::-1])], rtol=1e-12)


def slow_wss(clean: np.ndarray, enhanced: np.ndarray) -> float:
    """One frame at 16 kHz, band by band."""
    bands = []
    for x in (clean, enhanced):
        window = [0.5 - 0.5 * math.cos(2 * math.pi * (k + 1) / (FRAME + 1)) for k in range(FRAME)]
        power = np.abs(np.fft.fft(x * window, 1024)[:512]) ** 2
        found = []
        for centre, width in zip(composite.CENTRES_HZ, composite.WIDTHS_HZ, strict=True):
            total = 0.0
            for k in range(512):
                middle = math.floor(centre / 8000 * 512)
                gain = math.exp(-11 * ((k - middle) / (width / 8000 * 512)) ** 2) * 70 / width
                if gain > math.exp(-30 / (2 * 2.303)):
                    total += gain * power[k]
            found.append(10 * math.log10(max(total, 1e-10)))
        bands.append(found)
    weights = np.mean([slow_weights(b) for b in bands], axis=0)
    return np.sum(weights * (np.diff(bands[0]) - np.diff(bands[1])) ** 2) / np.sum(weights)


def test_wss_against_the_equations():
    x, e = noise(FRAME), noise(FRAME, 1)
    assert_allclose(composite.wss(x, e, RATE), slow_wss(x, e), rtol=1e-10)


def test_wss_sees_slopes_and_no_gain():
    x = noise(RATE)
    assert_allclose(composite.wss(x, 3 * x, RATE), 0, atol=1e-12)
    assert composite.wss(x, np.cumsum(x), RATE) > 10


def test_distances_leave_out_the_worst_twentieth():
    assert composite._mean_of_smallest(np.r_[np.zeros(95), 1e9 * np.ones(5)]) == 0
    assert composite._mean_of_smallest(np.array([7.0])) == 7


def test_long_signals_in_blocks(monkeypatch):
    x, e = noise(RATE), noise(RATE, 1)
    names = ("llr", "wss", "segmental_snr", "log_spectral_distance")
    whole = [getattr(composite, name)(x, e, RATE) for name in names]
    monkeypatch.setattr(composite, "BLOCK", 7)
    assert_allclose([getattr(composite, name)(x, e, RATE) for name in names], whole, rtol=1e-9)


# ---------------------------------------------------------------- composite ratings


def test_composite_by_hand():
    # each coefficient of Hu and Loizou 2008 at work
    assert_allclose(composite.csig(1, 2, 30), 3.093 - 1.029 + 1.206 - 0.27)
    assert_allclose(composite.cbak(2, 30, 10), 1.634 + 0.956 - 0.21 + 0.63)
    assert_allclose(composite.covl(1, 2, 30), 1.594 + 1.61 - 0.512 - 0.21)
    assert composite.csig(9, 1, 99) == 1 and composite.cbak(4.6, 0, 35) == 5


def test_composite_of_a_perfect_copy():
    x = 0.1 * noise(2 * RATE)
    found = composite.composite(x, x, RATE, pesq=4.5)
    expected = (5, min(5, 1.634 + 0.478 * 4.5 + 0.063 * 35), 5)
    assert_allclose([found["csig"], found["cbak"], found["covl"]], expected)


def test_composite_uses_the_pesq_of_the_table(monkeypatch):
    calls = []

    def pesq(*_):
        calls.append(1)
        return 2.5

    monkeypatch.setattr(perceptual, "pesq", pesq)
    x, e = noise(RATE), noise(RATE, 1)
    values, reasons = table.score(x, None, e, RATE, ["pesq", "csig", "cbak", "covl"])
    assert not reasons and len(calls) == 1
    expected = composite.composite(x, e, RATE, 2.5)
    assert {k: values[k] for k in expected} == expected


@pytest.mark.parametrize(
    "name", ["segmental_snr", "log_spectral_distance", "spectrogram_rmse", "llr", "wss"]
)
def test_less_than_a_frame(name):
    x = noise(FRAME)
    assert math.isfinite(getattr(composite, name)(x, x, RATE))
    with pytest.raises(MetricError, match=r"too short for .*expected at least 0\.03 s"):
        getattr(composite, name)(x[1:], x[1:], RATE)


# ---------------------------------------------------------------- DNSMOS


def needs_dnsmos():
    pytest.importorskip("onnxruntime", reason="extra dnsmos is not installed")
    if not perceptual.importlib.util.find_spec("speechmos"):
        pytest.skip("extra dnsmos is not installed")


def test_dnsmos_hears_noise_and_repeats_short_files():
    needs_dnsmos()
    t = np.arange(3 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * np.sin(9 * t) ** 2
    quiet = 0.1 * voice / np.abs(voice).max()
    loud = quiet + 0.05 * noise(len(t))
    before, after = perceptual.dnsmos(loud, RATE), perceptual.dnsmos(quiet, RATE)
    assert set(before) == {"sig", "bak", "ovrl"}
    assert all(1 <= v <= 5 for v in before.values())
    assert after["bak"] > before["bak"]
    twice = perceptual.dnsmos(np.r_[quiet, quiet], RATE)
    assert_allclose(list(twice.values()), list(after.values()), atol=0.2)


def test_dnsmos_is_that_of_its_package():
    needs_dnsmos()
    pytest.importorskip("librosa", reason="package speechmos needs librosa, which is not installed")
    from speechmos import dnsmos

    x = np.clip(0.1 * noise(round(10.5 * RATE)), -1, 1).astype(np.float32)
    expected = dnsmos.run(x, RATE)
    found = perceptual.dnsmos(x, RATE)
    assert_allclose([found[k] for k in found], [expected[f"{k}_mos"] for k in found], atol=1e-4)


def test_p808_is_that_of_the_package():
    needs_dnsmos()
    pytest.importorskip("librosa", reason="package speechmos needs librosa, which is not installed")
    from speechmos import dnsmos

    x = np.clip(0.1 * noise(round(10.5 * RATE)), -1, 1).astype(np.float32)
    assert_allclose(perceptual.dnsmos_p808(x, RATE), dnsmos.run(x, RATE)["p808_mos"], atol=1e-3)


def test_mel_features():
    """A tone is in the band of its frequency; the loudest value is 1, the range 80 dB."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    found = perceptual.mel_features(tone)
    assert found.shape == (100, 120) and found.max() == 1 and found.min() == -1
    assert np.argmax(found[50]) == 39  # bands count from 0; 15 of 45.2 mel in steps of 45.2 / 121


def test_visqol():
    visqol = pytest.importorskip("visqol", reason="visqol-python is not installed")
    x = noise(2 * RATE) * np.repeat(np.arange(8) % 2, RATE // 4)
    e = x + 0.03 * noise(2 * RATE, 1)
    api = visqol.VisqolApi()
    api.create(mode="speech", use_lattice_model=False)
    assert perceptual.visqol(x, e, RATE) == api.measure_from_arrays(x, e, RATE).moslqo
    assert perceptual.visqol(x, x, RATE) > 4.9 > perceptual.visqol(x, e, RATE)


def test_distill_mos_is_that_of_the_package(tmp_path):
    """A file of three pieces rated by the package's own way for files."""
    sqa = pytest.importorskip("distillmos.sqa", reason="package distillmos is not installed")
    torch = pytest.importorskip("torch")
    x = np.clip(0.1 * noise(9 * RATE) * np.repeat(np.arange(36) % 2, RATE // 4), -1, 1)
    x = x.astype(np.float32)
    with mock.patch.object(sqa.torchaudio, "load", lambda _: (torch.from_numpy(x[None]), RATE)):
        [(_, expected)] = sqa._infer_file_list(["file"])
    assert_allclose(perceptual.distill_mos(x, RATE), expected, atol=1e-5)
    assert_allclose(perceptual.distill_mos(np.repeat(x, 3), 3 * RATE), expected, atol=0.2)
    _, reasons = table.score(None, None, np.zeros(RATE), RATE, ["distill_mos"])
    assert reasons == {"distill_mos": "enhanced is silent"}


def test_dnsmos_of_silence():
    for x, reason in ((np.zeros(RATE), "enhanced is silent"), (np.full(9, np.nan), "NaN")):
        _, reasons = table.score(noise(len(x)), None, x, RATE, table.DNSMOS)
        assert reason in reasons["dnsmos_sig"]


def test_missing_dnsmos_is_a_reason(monkeypatch):
    perceptual._dnsmos_session.cache_clear()
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    values, reasons = table.score(noise(RATE), None, noise(RATE), RATE, table.DNSMOS)
    assert all(map(math.isnan, values.values()))
    assert "not installed" in reasons["dnsmos_sig"]
    perceptual._dnsmos_session.cache_clear()
