"""Bands, and the layers that work on them, against their definitions."""

import keras
import numpy as np
import pytest
from helpers import ROOT
from keras import ops

from specmask import models
from specmask.config import ini
from specmask.models import complexity, erb

SHAPES = [(257, 16000, 2000, 64), (128, 8000, 1000, 24), (129, 8000, 3000, 12), (257, 16000, 0, 30)]


@pytest.mark.parametrize("bins, rate, split_hz, count", SHAPES)
def test_bands(bins, rate, split_hz, count):
    analysis, synthesis = erb.erb_matrices(bins, rate, split_hz, count, 8)
    low = int(np.sum(np.linspace(0, rate / 2, bins) < split_hz))
    assert analysis.shape == synthesis.shape[::-1]
    assert analysis.shape[1] % 8 == 0
    assert 0 <= analysis.shape[1] - low - count < 8
    np.testing.assert_array_equal(analysis[:low, :low], np.eye(low))
    np.testing.assert_allclose(analysis.sum(axis=0), 1, rtol=1e-5)  # means of bins
    np.testing.assert_allclose(synthesis.sum(axis=0), 1, rtol=1e-5)  # a flat mask stays flat
    centres = np.arange(bins) @ analysis
    assert (np.diff(centres) >= 0).all()
    assert np.diff(centres[low:])[-1] > np.diff(centres[low:])[0]  # wider towards the top


def test_without_bands_every_bin_is_kept():
    analysis, synthesis = erb.erb_matrices(257, 16000, 2000, 0, 8)
    x = np.random.default_rng(0).standard_normal(257)
    np.testing.assert_allclose(x @ analysis @ synthesis, x, rtol=1e-6)


@pytest.mark.parametrize("bins, rate, split_hz, count", SHAPES)
def test_band_matrix_is_the_product(bins, rate, split_hz, count):
    x = np.random.default_rng(0).standard_normal((2, 3, bins, 2)).astype(np.float32)
    analysis, synthesis = erb.erb_matrices(bins, rate, split_hz, count, 8)
    y = ops.convert_to_numpy(erb.BandMatrix(analysis)(x))
    np.testing.assert_allclose(y, np.einsum("btfc,fg->btgc", x, analysis), atol=1e-5)
    z = erb.BandMatrix(synthesis)(y)
    np.testing.assert_allclose(z, np.einsum("btgc,gf->btfc", y, synthesis), atol=1e-5)


def test_attention_against_its_formula():
    keras.utils.set_random_seed(0)
    layer = erb.BandAttention(6, 2)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32)
    layer(x)
    layer.bias.assign(np.random.default_rng(1).standard_normal((2, 4, 4)))
    got = ops.convert_to_numpy(layer(x))
    projected = x @ ops.convert_to_numpy(layer.project)  # query, key, value; heads; size
    parts = projected.reshape(1, 2, 4, 3, 2, 3)
    for t in range(2):
        for head in range(2):
            query, key, value = (parts[0, t, :, k, head] for k in range(3))
            scores = query @ key.T / np.sqrt(3) + ops.convert_to_numpy(layer.bias)[head]
            weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(
                got[0, t, :, 3 * head : 3 * head + 3], weights @ value, atol=1e-5
            )


def test_upsampling_doubles_the_bands():
    layer = erb.Upsample(3)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32)
    y = layer(x)
    assert tuple(y.shape) == (1, 2, 8, 3)
    pairs = ops.convert_to_numpy(layer.conv(x))
    np.testing.assert_array_equal(y[:, :, 0::2], pairs[..., :3])
    np.testing.assert_array_equal(y[:, :, 1::2], pairs[..., 3:])


@pytest.mark.parametrize("most, used", [(1, 1), (4, 3), (5, 3), (6, 6), (64, 6)])
def test_heads_of_the_attention_divide_its_units(most, used):
    sizes = "network=crn", "recurrent_units=6", "recurrent_layers=1", f"attention_heads={most}"
    cfg = ini.load(ROOT / "config.ini", [f"model.{size}" for size in sizes])
    assert models.build(cfg).model.get_layer("attention1").heads == used


def multiply_adds(options: list[str]) -> float:
    cfg = ini.load(ROOT / "config.ini", options)
    return complexity.multiply_adds(models.build(cfg).model, cfg)


def test_multiply_adds_by_hand():
    options = ["model.network=band_lstm", "model.conv_channels=12", "model.recurrent_units=24"]
    found = multiply_adds([*options, "model.recurrent_layers=1"])
    a_bin = 2 * 9 * 3 * 12 + 2 * 9 * 12 * 12 + 12 * 96 + 24 * 96 + 24 * 2
    level = 2 * complexity.FRAMES  # running power by a triangular matrix
    # Keras traces the cell once more outside the loop
    assert found == pytest.approx(100 * (257 * a_bin + level), rel=2e-3)


def test_multiply_adds_of_the_unet_by_hand():
    options = ["model.network=unet", "model.conv_channels=4", "model.levels=2"]
    options += ["stft.n_fft=510"]  # 256 bins
    found = multiply_adds(options)
    full = 9 * 3 * 4 + 9 * 4 * 4  # way down, first level
    full += 4 * 8 * 4 + 9 * 8 * 4 + 9 * 4 * 4  # way up
    full += 9 * 4 * 2 + 2 * 2
    half = (9 * 4 * 8 + 9 * 8 * 8) / 4
    level = 2 * complexity.FRAMES
    assert found == pytest.approx(100 * (256 * (full + half) + level))
