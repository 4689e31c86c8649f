"""Features, masks and losses: hand-computed values, and finite gradients on silence."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from specmask.audio.stft import Stft, forward, to_pairs
from specmask.config import ini as configuration
from specmask.config import types
from specmask.config.types import LOSSES
from specmask.errors import UserError
from specmask.evaluation.metrics import distortion
from specmask.models import features, targets
from specmask.models import stft as keras_stft
from specmask.models.stft import inverse
from specmask.training import losses


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
    got = targets.apply_complex(pairs(1 + 2j, 0.5j), pairs(3 - 1j, 2 + 2j)).numpy()[0, 0]
    np.testing.assert_allclose(got, [[5, 5], [-1, 1]], rtol=1e-6)


def test_bound_has_slope_one_and_a_limit():
    raw = np.array([-50, -1e-3, 0, 1e-3, 50], np.float32)
    np.testing.assert_allclose(targets.bound(raw, 2.0), [-2, -1e-3, 0, 1e-3, 2], rtol=1e-4)


def test_compressed_loss_by_hand():
    """Bins 1 and 32 against 0.5j and 32: 1.0 in p = 0.3 gives (1 - 0.5^0.3)^2 + ..."""
    clean, enhanced = pairs(1, 32), pairs(0.5j, 32)
    a = 0.5**0.3
    wanted = ((1 - a) ** 2 + 0.113 * (1 + a**2)) / 2
    np.testing.assert_allclose(losses.compressed(clean, enhanced, 0.3, 0.113), [wanted], rtol=1e-4)
    np.testing.assert_allclose(losses.compressed(clean, clean, 0.3, 0.113), [0], atol=1e-9)


def test_lost_speech_by_hand():
    """Of two errors of the same size only what is missing counts: (1 - 0.5^0.3)^2 of one bin."""
    clean, enhanced = pairs(1, 0.5), pairs(0.5j, 1)
    wanted = (1 - 0.5**0.3) ** 2 / 2
    np.testing.assert_allclose(losses.lost_speech(clean, enhanced, 0.3), [wanted], rtol=1e-4)
    np.testing.assert_allclose(losses.lost_speech(clean, 2 * clean, 0.3), [0], atol=1e-9)


@pytest.mark.parametrize("level_db", [-6.0, 0.0, 10.0])
def test_sdr_loss_depends_on_the_level(level_db):
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((1, 4000)).astype("f")
    gain = np.float32(10 ** (level_db / 20))
    wanted = 20 * np.log10(max(abs(1 - gain), 1e-2))
    got = losses.negative_sdr(clean, gain * clean)
    np.testing.assert_allclose(got, [wanted], atol=0.1 if level_db else 0.01)


@given(st.integers(0, 1000), st.floats(-20, 30))
@settings(max_examples=15, deadline=None)
def test_si_sdr_loss_equals_the_metric(seed, level_db):
    rng = np.random.default_rng(seed)
    clean = rng.standard_normal(4000)
    enhanced = 0.3 * clean + rng.standard_normal(4000) * 10 ** (-level_db / 20) * 0.3 + 0.1
    got = losses.negative_si_sdr(clean[None].astype("f"), enhanced[None].astype("f"))
    np.testing.assert_allclose(-got[0], distortion.si_sdr(clean, enhanced), atol=0.05)


def test_mse_and_huber_by_hand():
    clean, enhanced = pairs(1 + 2j, 0), pairs(1 + 1.5j, 3)  # errors 0, 0.5 and 3, 0
    np.testing.assert_allclose(losses.mse(clean, enhanced), [(0.25 + 9) / 2], rtol=1e-6)
    np.testing.assert_allclose(losses.huber(clean, enhanced), [(0.125 + 2.5) / 4], rtol=1e-6)


def test_consistency_by_hand():
    """Bins 1 and 16 that resynthesis turns into 1j and 16: only the first differs."""
    got = losses.consistency(pairs(1, 16), pairs(1j, 16), 0.5)
    np.testing.assert_allclose(got, [2 / 2], rtol=1e-4)


def test_mixture_consistency_by_hand():
    """What is left of the mixture 3 - 1 is 2, the noise is 1 in one bin; in the other both 5."""
    got = losses.mixture_consistency(pairs(1, 5), pairs(3, 5), pairs(1, 0), 1.0, 0.5)
    np.testing.assert_allclose(got, [(1 + 0.5 * 1) / 2], rtol=1e-4)


def test_speech_noise_by_hand():
    got = losses.speech_noise(pairs(2, 1), pairs(1, 1), pairs(3j, 1), 0.25)
    np.testing.assert_allclose(got, [(0.25 * 1 + 0.75 * 10) / 2], rtol=1e-6)


def test_waveform_l1_by_hand():
    clean, enhanced = np.float32([[1, -1, 0, 2]]), np.float32([[0, -1, 2, 2.5]])
    np.testing.assert_allclose(losses.waveform_l1(clean, enhanced), [3.5 / 4])


def test_multi_resolution_by_hand():
    """|S| = 3, 4 and |Ŝ| = 3, 1: convergence 3 / 5, logarithms differ by 0 and ln 4."""
    one = 3 / 5 + np.log(4) / 2
    got = losses.multi_resolution([pairs(3j, 4)], [pairs(5, 5)], [pairs(3, -1)])
    np.testing.assert_allclose(got, [one], rtol=1e-5)
    noisy = [pairs(3, 4), pairs(2)]
    got = losses.multi_resolution([pairs(3, 4), pairs(2)], noisy, [pairs(3, 1), pairs(2j)])
    np.testing.assert_allclose(got, [one / 2], rtol=1e-3)


def test_multi_resolution_of_a_silent_target_is_of_the_size_of_speech():
    """Residue 20 dB under the mixture: convergence 1, logarithms differ by ln 1e3."""
    got = losses.multi_resolution([pairs(0, 0)], [pairs(1, 1)], [pairs(0.1, 0.1)])
    np.testing.assert_allclose(got, [1 + np.log(1e3)], rtol=1e-2)


def test_losses_on_masks_by_hand():
    target, p = np.float32([[[1, 0, 0]]]), np.float32([[[0.5, 0.25, 0]]])
    got = losses.bce(target, p)
    np.testing.assert_allclose(got, [-(np.log(0.5) + np.log(0.75)) / 3], rtol=1e-4)
    dice = 1 - (2 * 0.5 + 1) / (1 + 0.25 + 0.0625 + 1)
    np.testing.assert_allclose(losses.dice(target, p), [dice], rtol=1e-6)
    np.testing.assert_allclose(losses.dice(0 * p, 0 * p), [0], atol=1e-6)
    np.testing.assert_allclose(losses.mask_mse(target, p), [(0.25 + 0.0625) / 3], rtol=1e-6)


def test_huber_in_db_by_hand():
    """Wanted -20 dB and, between two floors, 0 dB; there are 0 and -41 dB."""
    mask = pairs(1j, 10 ** (-41 / 20))
    got = losses.huber_db(pairs(10, 1e-6), pairs(100j, 1e-7), mask)
    np.testing.assert_allclose(got, [0.5 * ((20 / 82) ** 2 + (41 / 82) ** 2) / 2], rtol=1e-3)
    # no speech: the floor of 80 dB is what is wanted
    for gain_db, missing_db in ((-80, 0), (-70, 10)):
        got = losses.huber_db(pairs(0), pairs(100), pairs(10 ** (gain_db / 20)))
        np.testing.assert_allclose(got, [0.5 * (missing_db / 82) ** 2], atol=1e-5)


def test_huber_in_db_pulls_as_hard_at_every_gain():
    """From 80 dB too low a network has to find back as fast as from 8."""
    for gain_db in (-80, -8):
        raw = tf.Variable(gain_db / 82)
        with tf.GradientTape() as tape:
            gain = tf.exp(np.log(10) / 20 * 82 * raw)
            mask = tf.reshape(tf.stack([gain, 0.0]), (1, 1, 1, 2))
            loss = losses.huber_db(pairs(1), pairs(1), mask)
        np.testing.assert_allclose(tape.gradient(loss, raw), gain_db / 82, rtol=1e-2)


@pytest.mark.parametrize("target", types.MASK_TARGETS)
def test_losses_on_masks_are_smallest_at_the_ideal_gain(ini, target):
    options = [f"model.target={target}", "model.binary_threshold_db=3"]
    wanted = losses.Objective(configuration.load(ini, ["train.loss=mask_mse, bce, dice", *options]))
    rng = np.random.default_rng(4)
    s, n = rng.standard_normal((2, 1, 6, 129, 2)).astype("f")
    gain = np.asarray(targets.TARGETS[target].ideal(s, n, wanted.config.model, ops))[..., 0]

    def terms(gain: np.ndarray) -> np.ndarray:
        mask = np.stack([gain, 0 * gain], -1)
        return wanted.terms(s, n, mask, None)[:, 0].numpy()

    best = terms(gain)
    assert best[0] == 0
    for other in (0.9 * gain, gain + 0.1 * (1 - gain), 1 - gain, gain[..., ::-1]):
        assert (terms(other)[:2] > best[:2]).all()
    assert terms(1 - gain)[2] > best[2]


def test_losses_on_masks_need_a_target_that_is_one(ini):
    with pytest.raises(UserError, match=r"loss = bce .* target = complex .* expected ratio"):
        configuration.load(ini, ["train.loss=mse, bce"])


@pytest.fixture(scope="module")
def ini(tmp_path_factory):
    path = tmp_path_factory.mktemp("objective") / "config.ini"
    path.write_text("[data]\nsample_rate = 8000\n[STFT]\nn_fft = 256\n", encoding="utf-8")
    return path


def terms(
    objective: losses.Objective,
    clean: np.ndarray,
    noise: np.ndarray,
    mask: tf.Tensor,
    frames: slice = slice(None),
):
    """The terms of signals [batch, samples] and a mask."""
    s, n = (
        tf.constant(to_pairs(forward(x.astype("f"), objective.stft))[:, frames])
        for x in (clean, noise)
    )
    return objective.terms(s, n, mask, targets.apply_complex(mask, s + n))


@pytest.mark.parametrize("clean, noise, mask", [(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0.5)])
def test_every_term_and_its_gradient_are_finite_also_on_silence(ini, clean, noise, mask):
    weights = ", ".join(f"{name}:1" for name in LOSSES)
    rate = ["data.sample_rate=16000", "STFT.n_fft=512"]  # that of PESQ
    options = [f"train.loss={weights}", "model.target=binary", *rate]
    wanted = losses.Objective(configuration.load(ini, options))
    rng = np.random.default_rng(0)
    waves = [level * 0.1 * rng.standard_normal((2, 2000)) for level in (clean, noise)]
    shape = (2, wanted.stft.frames(2000), wanted.stft.bins, 2)
    variable = tf.Variable(mask * np.ones(shape), dtype=tf.float32)
    with tf.GradientTape() as tape:
        found = terms(wanted, *waves, variable)
        total = tf.reduce_sum(wanted.total(found))
    assert found.shape == (len(LOSSES), 2)
    assert np.isfinite(found).all()
    assert np.isfinite(tape.gradient(total, variable)).all()


def test_terms_are_weighted_and_named(ini):
    wanted = losses.Objective(configuration.load(ini, ["train.loss=mse:2, waveform_l1"]))
    assert wanted.names == ["mse", "waveform_l1"]
    assert float(wanted.total([3.0, 0.5])) == 6.5
    rng = np.random.default_rng(1)
    clean, noise = 0.1 * rng.standard_normal((2, 1, 2000))
    ones = np.float32([1, 0]) * np.ones((1, wanted.stft.frames(2000), wanted.stft.bins, 2), "f")
    mse, l1 = terms(wanted, clean, noise, tf.constant(ones)).numpy()[:, 0]
    np.testing.assert_allclose(l1, np.mean(np.abs(noise)), rtol=0.05)  # without the padding
    power = np.mean(np.abs(forward(noise.astype("f"), wanted.stft)) ** 2)
    np.testing.assert_allclose(mse, power, rtol=1e-4)


def test_spectra_of_signals_are_consistent_and_others_are_not(ini):
    wanted = losses.Objective(configuration.load(ini, ["train.loss=consistency"]))
    rng = np.random.default_rng(2)
    clean, noise = 0.1 * rng.standard_normal((2, 1, 3000))
    shape = (1, wanted.stft.frames(3000), wanted.stft.bins, 1)
    ones = np.concatenate([np.ones(shape), np.zeros(shape)], -1)
    other = ones * rng.uniform(0, 1, shape)
    cut = slice(3, 20)  # a crop of a longer spectrum is as consistent as the whole
    for kind, low, high in ((ones, 0, 1e-6), (ones[:, cut], 0, 1e-6), (other, 1e-3, 1)):
        frames = cut if kind.shape[1] != shape[1] else slice(None)
        found = terms(wanted, clean, noise, tf.constant(kind, tf.float32), frames)
        assert low <= float(found[0, 0]) <= high


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
    spectrum = forward(x, stft)
    got = inverse(to_pairs(spectrum), samples, stft)
    np.testing.assert_allclose(got, x, atol=1e-5)
    np.testing.assert_allclose(keras_stft.forward(x, stft), to_pairs(spectrum), atol=2e-4)
