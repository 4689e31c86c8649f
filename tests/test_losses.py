"""Features, masks and losses: hand-computed values, and finite gradients on silence."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from specmask import features, losses, masks, metrics, spectral
from specmask.cache import to_pairs
from specmask.models import transform
from specmask.spectral import Stft


def pairs(*values: complex) -> np.ndarray:
    """[1, 1, bins, 2] of some bins."""
    return np.array([[[[v.real, v.imag] for v in map(complex, values)]]], np.float32)


def test_compression_keeps_the_phase():
    x = pairs(3 + 4j, -1j, 0.01)
    y = features.compress(x, 0.3).numpy()
    wanted = [5**0.3 * (3 + 4j) / 5, -1j, 0.01**0.3]
    np.testing.assert_allclose(y[0, 0, :, 0] + 1j * y[0, 0, :, 1], wanted, rtol=1e-4)
    np.testing.assert_allclose(
        features.compressed_magnitude(x, 0.3)[0, 0], np.abs(wanted), rtol=1e-4
    )


def test_complex_mask_is_a_complex_product():
    got = masks.apply_complex(pairs(1 + 2j, 0.5j), pairs(3 - 1j, 2 + 2j)).numpy()[0, 0]
    np.testing.assert_allclose(got, [[5, 5], [-1, 1]], rtol=1e-6)


def test_bound_has_slope_one_and_a_limit():
    raw = np.array([-50, -1e-3, 0, 1e-3, 50], np.float32)
    np.testing.assert_allclose(masks.bound(raw, 2.0), [-2, -1e-3, 0, 1e-3, 2], rtol=1e-4)


def test_compressed_loss_by_hand():
    """Bins 1 and 32 against 0.5j and 32: 1.0 in p = 0.3 gives (1 - 0.5^0.3)^2 + ..."""
    clean, enhanced = pairs(1, 32), pairs(0.5j, 32)
    a = 0.5**0.3
    wanted = ((1 - a) ** 2 + 0.113 * (1 + a**2)) / 2
    np.testing.assert_allclose(losses.compressed(clean, enhanced, 0.3, 0.113), [wanted], rtol=1e-4)
    np.testing.assert_allclose(losses.compressed(clean, clean, 0.3, 0.113), [0], atol=1e-9)


@given(st.integers(0, 1000), st.floats(-20, 30))
@settings(max_examples=15, deadline=None)
def test_si_sdr_loss_equals_the_metric(seed, level_db):
    rng = np.random.default_rng(seed)
    clean = rng.standard_normal(4000)
    enhanced = 0.3 * clean + rng.standard_normal(4000) * 10 ** (-level_db / 20) * 0.3 + 0.1
    got = losses.negative_si_sdr(clean[None].astype("f"), enhanced[None].astype("f"))
    np.testing.assert_allclose(-got[0], metrics.si_sdr(clean, enhanced), atol=0.05)


@pytest.mark.parametrize("clean, enhanced", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gradients_are_finite_on_silence(clean, enhanced):
    shape = (1, 3, 5, 2)
    s = tf.constant(clean * np.random.default_rng(0).standard_normal(shape), tf.float32)
    e = tf.Variable(enhanced * np.ones(shape), dtype=tf.float32)
    wave = tf.reshape(s, (1, -1))
    with tf.GradientTape() as tape:
        loss = losses.compressed(s, e, 0.3, 0.113)
        loss += losses.negative_si_sdr(wave, tf.reshape(e, (1, -1)))
    assert np.isfinite(loss).all()
    assert np.isfinite(tape.gradient(loss, e)).all()


@pytest.mark.parametrize(
    "stft",
    [
        Stft("hann", 400, 160, 512),
        Stft("hann", 255, 63, 255),
        Stft("cosine", 320, 160, 320),
        Stft("boxcar", 64, 64, 64),
    ],
)
@pytest.mark.parametrize("samples", [1, 399, 1600, 5001])
def test_keras_inverse_equals_numpy_inverse(stft, samples):
    x = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    spectrum = spectral.forward(x, stft)
    got = transform.inverse(to_pairs(spectrum), samples, stft)
    np.testing.assert_allclose(got, x, atol=1e-5)
