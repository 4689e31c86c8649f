"""Features against their definitions."""

import numpy as np
import pytest
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from specmask.config import ini, schema
from specmask.models import features


def cfg(*options: str) -> schema.Config:
    return ini.load(ROOT / "config.ini", options)


def pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([values.real, values.imag], -1).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@given(level_db=st.floats(-80, 0))
def test_scaled_db(level_db):
    got = float(features.scaled_db(np.float32(10 ** ((level_db + features.PEAK_DB) / 10))))
    # the floor lies 80 dB below 1, so it weighs at the lower end only
    floor = 10 * np.log10(10 ** ((level_db + features.PEAK_DB) / 10) + features.FLOOR)
    assert got == pytest.approx((floor - features.PEAK_DB + 46) / 50, abs=1e-4)


@pytest.mark.parametrize("bins, rate, bands", [(257, 16000, 64), (128, 8000, 40), (99, 16000, 80)])
def test_mel_matrix(bins, rate, bands):
    matrix = features.mel_matrix(bins, rate, bands)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, rtol=1e-5)
    assert (np.diff(np.arange(bins) @ matrix) >= 0).all()  # centres rise
    # a flat spectrum stays flat
    np.testing.assert_allclose(np.ones(bins) @ matrix, 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["mel", "mfcc"])
def test_flat_spectrum_has_flat_mel_features(name):
    x = pairs(np.full((1, 3, 257), 2 + 0j))
    got = ops.convert_to_numpy(features.FEATURES[name](x, cfg()))
    np.testing.assert_allclose(got, float(features.scaled_db(np.float32(4))), atol=1e-4)


def test_all_cepstral_coefficients_give_the_mel_spectrum():
    x = pairs(noise(1, 3, 257))
    c = cfg("model.mfcc_coefficients=64")
    np.testing.assert_allclose(features.mfcc(x, c), features.mel(x, c), atol=1e-4)
    assert np.abs(features.mfcc(x, cfg()) - features.mel(x, cfg())).max() > 0.01


def test_delta_phase_of_steady_tones_is_zero():
    """A tone in the middle of a bin turns by 2πk · hop / n_fft from frame to frame."""
    k, hop, n_fft = np.arange(129), 80, 256
    start = np.exp(1j * np.random.default_rng(0).uniform(0, 6, 129))
    x = pairs((start * np.exp(2j * np.pi * k * hop / n_fft * np.arange(10)[:, None]))[None])
    got, last = features.delta_phase_time(x, x[:, 0] * 0, hop, n_fft)
    np.testing.assert_allclose(got[0, 1:, :, 0], 1, atol=1e-4)
    np.testing.assert_allclose(got[0, 1:, :, 1], 0, atol=1e-4)
    np.testing.assert_array_equal(got[0, 0], 0)  # nothing before the first frame
    np.testing.assert_array_equal(last, x[:, -1])


def test_delta_phase_against_angles():
    y = noise(2, 5, 17)
    got = ops.convert_to_numpy(features.delta_phase_frequency(pairs(y)))
    angle = np.angle(y[:, :, 1:] * np.conj(y[:, :, :-1]))
    np.testing.assert_allclose(got[:, :, 1:, 0], np.cos(angle), atol=1e-4)
    np.testing.assert_allclose(got[:, :, 1:, 1], np.sin(angle), atol=1e-4)
    np.testing.assert_array_equal(got[:, :, 0], 0)


def test_delta_phase_vanishes_with_the_spectrum():
    assert np.abs(features.delta_phase_frequency(pairs(1e-7 * noise(1, 4, 9)))).max() < 1e-3
