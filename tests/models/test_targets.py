"""Every target: what perfect output gives, and gradients that stay finite."""

import numpy as np
import pytest
from helpers import ROOT
from keras import ops

from specmask.audio.ideal_masks import IDEAL_MASKS
from specmask.config import ini, schema, types
from specmask.evaluation import oracles
from specmask.models import features, targets


def cfg(*options: str) -> schema.Config:
    return ini.load(ROOT / "config.ini", options)


def pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([values.real, values.imag], -1).astype(np.float32)


def spectra(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((1, 4, 9)) + 1j * rng.standard_normal((1, 4, 9))


def applied(target: str, raw: np.ndarray, noisy: np.ndarray, *options: str) -> np.ndarray:
    raw = raw if raw.ndim == 4 else raw[..., None]
    mask = targets.TARGETS[target].mask(raw.astype(np.float32), pairs(noisy), cfg(*options).model)
    out = ops.convert_to_numpy(targets.apply_complex(mask, pairs(noisy)))
    return out[..., 0] + 1j * out[..., 1]


def logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def test_config_names_every_target():
    assert tuple(targets.TARGETS) == types.TARGETS
    assert {n: t.ideal for n, t in targets.TARGETS.items()} == IDEAL_MASKS
    assert tuple(features.FEATURES) == types.FEATURES


def realising(target: str, clean: np.ndarray, mask: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Raw output that a network has to give for the mask of its oracle."""
    with np.errstate(divide="ignore"):
        match target:
            case "complex":
                return 20 * np.arctanh(pairs(mask) / 20) - [1, 0]
            case "sigmoids":
                estimate = mask * noisy
                return pairs(
                    logit(estimate.real / noisy.real) + 1j * logit(estimate.imag / noisy.imag)
                )
            case "magnitude":
                return logit(mask.real / 20)
            case "ratio" | "binary" | "phase_sensitive":
                return logit(mask.real)
            case "magnitude_mapping":
                return np.log(np.expm1(np.abs(clean) ** 0.3))
            case "complex_mapping":
                return ops.convert_to_numpy(features.compress(pairs(clean), 0.3))
            case "real_mapping":
                return ops.convert_to_numpy(features.compress(pairs(clean.real + 0j), 0.3))[..., 0]
            case "noise_db":
                return np.arctanh((-20 * np.log10(mask.real) - 6) / 82)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_a_perfect_network_reaches_the_oracle(target):
    """The ideal mask of a target is the mask of some raw output."""
    clean, noisy = spectra(0), spectra(1)
    c = cfg("model.mask_bound=20")
    mask = oracles.mask(target, clean, noisy, oracles.Settings.from_config(c))
    raw = realising(target, clean, mask, noisy)
    got = applied(target, raw, noisy, "model.mask_bound=20")
    np.testing.assert_allclose(got, mask * noisy, atol=2e-3)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_ideal_masks_are_the_same_in_single_and_double_precision(target):
    clean, noise = spectra(0), spectra(1)
    noise[0, 0] = 0
    clean[0, 1] = 0
    for threshold_db in (-7, 0, 4):
        options = cfg(f"model.binary_threshold_db={threshold_db}").model
        single = targets.TARGETS[target].ideal(pairs(clean), pairs(noise), options, ops)
        double = oracles.mask(target, clean, clean + noise, options)
        np.testing.assert_allclose(single[..., 0], double.real, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(single[..., 1], double.imag, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_gradients_are_finite_on_silence_and_on_wild_output(target):
    import tensorflow as tf

    kind, c = targets.TARGETS[target], cfg()
    raw = np.random.default_rng(0).standard_normal((1, 4, 9, kind.channels)).astype(np.float32)
    for scale in (0, 1, 30):
        for noisy in (pairs(spectra(1)), np.zeros((1, 4, 9, 2), np.float32)):
            x = tf.constant(scale * raw)
            with tf.GradientTape() as tape:
                tape.watch(x)
                out = tf.reduce_sum(targets.apply_complex(kind.mask(x, noisy, c.model), noisy) ** 2)
            assert np.isfinite(out)
            assert np.isfinite(tape.gradient(out, x)).all()
