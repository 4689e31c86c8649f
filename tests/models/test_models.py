"""Every network: shape, state, causality, gradients, published sizes."""

import itertools

import keras
import numpy as np
import pytest
from helpers import ROOT, SMALL_NETWORK, causal_networks, white_noise
from keras import ops

from specmask import models
from specmask.audio import stft
from specmask.config import ini
from specmask.models import targets
from specmask.models.layers import (
    LEVEL_FLOOR,
    OFFSET_POWER,
    CausalConv2D,
    LevelNormaliser,
    OffsetRemover,
)
from specmask.training import optim

SMALL = [*SMALL_NETWORK, "model.recurrent_layers=2", "model.dropout=0.1"]
SMALL += ["model.levels=3", "model.window_frames=16"]
PUBLISHED = ["model.conv_channels=32", "model.squeeze_channels=8", "model.recurrent_units=1023"]
PUBLISHED += ["model.dense_units=873", "model.bidirectional=yes", "model.features=real, imaginary"]


def build(*options: str) -> models.Network:
    keras.utils.set_random_seed(1)
    return models.build(ini.load(ROOT / "config.ini", [*SMALL, *options]))


def spectra(frames: int, bins: int = 257, batch: int = 2, seed: int = 0) -> np.ndarray:
    shape = batch, frames, bins, 2
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module", params=causal_networks())
def network(request) -> models.Network:
    return build(f"model.network={request.param}")


@pytest.mark.parametrize("name", models.NETWORKS)
@pytest.mark.parametrize("n_fft, bins, frames", [(512, 257, 7), (401, 201, 1), (400, 201, 40)])
def test_mask_has_the_shape_of_the_spectrum(name, n_fft, bins, frames):
    net = build(f"model.network={name}", f"stft.n_fft={n_fft}")
    mask, _ = net(spectra(frames, bins), net.zero_state(2))
    assert tuple(mask.shape) == (2, frames, bins, 2)


@pytest.mark.parametrize("name", ["unet", "autoencoder"])
def test_whole_clips_of_any_length_in_one_graph(name):
    """As the trainer calls it: the number of frames is open when the graph is made."""
    import tensorflow as tf

    net = build(f"model.network={name}")
    signature = tf.TensorSpec((2, None, 257, 2), tf.float32)
    graph = tf.function(net.estimate, input_signature=[signature])
    assert graph.get_concrete_function().output_shapes[0][2:] == [257, 2]
    for frames in (16, 21):
        x = spectra(frames)
        np.testing.assert_allclose(graph(x)[0], net.estimate(x)[0], atol=1e-5)


@pytest.mark.parametrize("name", models.NETWORKS)
@pytest.mark.parametrize("rate, n_fft", [(8000, 255), (48000, 2048)])
def test_nothing_depends_on_16_khz(name, rate, n_fft):
    net = build(f"model.network={name}", f"data.sample_rate={rate}", f"stft.n_fft={n_fft}")
    x = spectra(5, n_fft // 2 + 1)
    assert tuple(net.estimate(x)[0].shape) == x.shape


def test_stream_equals_whole(network):
    x = spectra(60)
    whole, _ = network(x, network.zero_state(2))
    state, parts, at = network.zero_state(2), [], 0
    for size in (1, 1, 2, 5, 1, 17, 3, 30):
        part, state = network(x[:, at : at + size], state)
        parts.append(ops.convert_to_numpy(part))
        at += size
    assert at == 60
    # crn normalises small values six times, which raises what rounding leaves
    bound = 3e-5 if network.model.name == "crn" else 1e-5
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=bound)


def test_bidirectional_network_sees_the_future_and_has_no_state():
    net = build("model.bidirectional=yes")
    assert not net.causal
    assert net.zero_state(2) == []
    x = spectra(30)
    other = x.copy()
    other[:, 20] += 3
    difference = np.abs(ops.convert_to_numpy(net.estimate(x)[0] - net.estimate(other)[0]))
    assert difference.max(axis=(0, 2, 3))[10] > 0


@pytest.mark.parametrize(
    "options",
    [*([f"model.network={name}"] for name in models.NETWORKS), ["model.bidirectional=yes"]],
)
def test_gradient_reaches_every_weight(options):
    import tensorflow as tf

    net = build(*options)
    x = spectra(20)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(net.estimate(x, training=True)[0]))
    weights = net.model.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        assert np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize("name", models.NETWORKS)
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_changes_a_mask_little(name, precision):
    """By less than 1 % in the mean; weights and masks stay single, gradients finite."""
    import tensorflow as tf

    seen = "model.features=real, imaginary, log_magnitude, mel", "model.delta_phase=both"
    options = f"model.network={name}", *seen, "model.dropout=0"
    x, single = 1e-3 * spectra(40), build(*options)
    with optim.precision(precision):
        half = build(*options)
    assert {layer.compute_dtype for layer in half.model.layers} >= {precision[len("mixed_") :]}
    assert {weight.dtype for weight in half.model.weights} == {"float32"}
    with tf.GradientTape() as tape:
        _, mask = half.estimate(x, training=True)
        loss = tf.reduce_mean(tf.square(mask))
    assert mask.dtype == tf.float32
    assert np.abs(mask - single.mask(x, training=True)).mean() < 0.01 * np.abs(mask).mean()
    for gradient in tape.gradient(loss, half.model.trainable_variables):
        assert np.isfinite(gradient).all()


def blstm_parameters(channels: int, squeeze: int, layers: int, units: int, dense: int) -> int:
    """By hand: the network of Wilson et al. with 257 bins, two features and a complex mask."""
    convolutions = 7 * 2 * channels + 7 * channels**2 + 5 * 25 * channels**2 + 7 * channels
    width, total = 257 * squeeze, convolutions + (channels + 1) * squeeze
    for _ in range(layers):
        total += 2 * 4 * units * (width + units + 1)
        width = 2 * units
    return total + (width + 1) * dense + (dense + 1) * 514


def test_parameters_of_the_larger_form():
    """Three BLSTM layers: counted by hand, by a rule that holds for small sizes and for one."""
    assert blstm_parameters(32, 8, 1, 1023, 873) == 27_579_091
    c = ini.load(ROOT / "recipes/wilson2018_blstm3.ini").model
    sizes = (c.conv_channels, c.squeeze_channels, c.recurrent_layers, c.recurrent_units)
    assert blstm_parameters(*sizes, c.dense_units) == 77_828_851
    small = *PUBLISHED, "model.recurrent_layers=3", "model.recurrent_units=5"
    assert build(*small).model.count_params() == blstm_parameters(32, 8, 3, 5, 873)


def test_parameters_of_the_autoencoder():
    """By hand: convolutions of 3x3 with biases there and back, and the dense layers."""
    options = "model.conv_channels=32", "model.levels=6", "model.dense_units=512"
    options += "model.window_frames=256", "model.features=real", "model.target=real_mapping"
    net = build("model.network=autoencoder", *options)
    sizes = [1, 32, 64, 128, 256, 512, 1024]
    wanted = sum(9 * a * b + b for a, b in itertools.pairwise(sizes))
    wanted += sum(9 * a * b + b for a, b in itertools.pairwise(sizes[::-1]))
    flat = 4 * 4 * 1024
    wanted += sum(a * b + b for a, b in itertools.pairwise([flat, 2048, 512, 2048, flat]))
    assert net.model.count_params() == wanted == 81_801_217


def test_an_untrained_autoencoder_of_six_levels_hears_its_input():
    """Two inputs give two masks, also through twelve levels and four dense layers."""
    options = "model.conv_channels=8", "model.levels=6", "model.dense_units=128"
    options += "model.window_frames=256", "model.features=real", "model.target=ratio"
    net = build("model.network=autoencoder", "model.activation=relu", *options)
    first, second = (net.mask(spectra(256, seed=k)) for k in (1, 2))
    assert np.std(first - second) > 0.001  # 7e-7 where weights begin as Keras's do by themselves


@pytest.mark.parametrize("name", ["unet", "autoencoder"])
def test_dropout_is_for_training(name):
    net = build(f"model.network={name}", "model.dropout=0.5")
    x = spectra(16)
    np.testing.assert_array_equal(net.estimate(x)[0], net.estimate(x)[0])
    assert np.abs(net.estimate(x, training=True)[0] - net.estimate(x, training=True)[0]).max() > 0


def test_mask_is_bounded():
    net = build("model.mask_bound=1.5")
    for weight in net.model.trainable_variables:
        weight.assign(weight * 100)
    mask, _ = net(spectra(10), net.zero_state(2))
    assert np.abs(mask).max() <= 1.5


@pytest.mark.parametrize("gain_db", [-40, -20, 15])
def test_level_does_not_matter(network, gain_db):
    """The normaliser makes the mask the same at every level, but for its floor."""
    x = spectra(40)
    a, _ = network(x, network.zero_state(2))
    b, _ = network(x * np.float32(10 ** (gain_db / 20)), network.zero_state(2))
    np.testing.assert_allclose(a, b, atol=2e-2)


def test_level_normaliser_against_its_recursion():
    layer = LevelNormaliser(10.0)
    x = spectra(50, bins=4, batch=1)
    got, state = layer(x, np.zeros((1, 2), np.float32))
    p = n = 0.0
    decay = np.exp(-0.1)
    for t in range(50):
        p = decay * p + (1 - decay) * np.mean(np.sum(x[0, t] ** 2, -1))
        n = decay * n + 1 - decay
        wanted = x[0, t] / np.sqrt(p / n + LEVEL_FLOOR)
        np.testing.assert_allclose(got[0, t], wanted, rtol=1e-4)
    np.testing.assert_allclose(state[0], [p, n], rtol=1e-4)


@pytest.mark.parametrize(("first", "exponent"), [(2, 1.0), (0, 0.25), (1, 0.5)])
def test_level_of_some_bins_and_of_a_power_below_one(first, exponent):
    layer = LevelNormaliser(10.0, first, exponent)
    x = spectra(30, bins=4, batch=1)
    got, _ = layer(x, np.zeros((1, 2), np.float32))
    floor = LEVEL_FLOOR if exponent != 1 else 0
    powers = np.mean(np.sum(x[0, :, first:] ** 2, -1), -1) + floor
    weights = np.exp(-0.1 * np.arange(29, -1, -1))
    level = (weights @ powers**exponent / weights.sum()) ** (1 / exponent)
    np.testing.assert_allclose(got[0, 29], x[0, 29] / np.sqrt(level + LEVEL_FLOOR), rtol=1e-4)


def test_one_loud_frame_moves_a_level_of_a_low_power_less():
    x = np.ones((1, 40, 4, 2), np.float32)
    x[:, 20] *= 100
    after = [
        LevelNormaliser(20.0, 0, q)(x, np.zeros((1, 2), np.float32))[0][0, 39, 0, 0]
        for q in (1.0, 0.25)
    ]
    assert after[0] < 0.1 and after[1] > 0.4


@pytest.mark.parametrize("name", causal_networks())
def test_an_offset_changes_nothing_with_low_hz(name):
    """It is removed, and no more than it: a Hann window of n_fft samples puts it into two bins."""
    options = ["STFT.window_length=0.032", "STFT.hop_size=0.016"]
    own = build(f"model.network={name}", "model.low_hz=40", "model.target=magnitude", *options)
    transform = stft.Stft.hann(512, 256)
    masks, enhanced = [], []
    for offset in (0.0, 0.3):
        x = (white_noise(16000) + offset).astype(np.float32)
        noisy = stft.to_pairs(stft.analyse(x[None], transform))
        masks.append(own(noisy, own.zero_state(1))[0])
        enhanced.append(targets.apply_complex(masks[-1], noisy).numpy())
    np.testing.assert_allclose(masks[0][:, :, 2:], masks[1][:, :, 2:], atol=2e-4)
    left = np.sum(np.square(enhanced[0] - enhanced[1]))
    assert left < 3e-4 * np.sum(np.square(enhanced[0]))  # the offset itself: 12 times as much


def test_offset_remover_against_its_recursion():
    window = np.array([1, -0.5 + 0.1j])
    layer, x = OffsetRemover(10.0, window), spectra(50, bins=4, batch=1)
    got, state = layer(x, np.zeros((1, 2), np.float32))
    p = n = 0.0
    decay = np.exp(-0.1)
    for t in range(50):
        weight = 1 / (np.mean(np.sum(x[0, t, 2:] ** 2, -1)) + OFFSET_POWER)
        p = decay * p + (1 - decay) * weight * x[0, t, 0, 0]
        n = decay * n + (1 - decay) * weight
        y = x[0, t, :2, 0] + 1j * x[0, t, :2, 1]
        gain = (y - p / n * window) / y
        gain /= np.maximum(1, np.abs(gain))
        np.testing.assert_allclose(got[0, t, :, 0], gain.real, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(got[0, t, :, 1], gain.imag, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(state[0], [p, n], rtol=1e-4)


@pytest.mark.parametrize("options", [*([f"model.network={n}"] for n in models.NETWORKS),
                                     ["model.bidirectional=yes"]])  # fmt: skip
def test_names_of_variables_do_not_depend_on_what_was_built_before(options):
    """They are the keys of checkpoints; older ones number them in Keras's order."""
    first, second = build(*options), build(*options)
    assert list(first.variables) == list(second.variables)
    for network in (first, second):
        assert [id(v) for v in network.variables.values()] == [
            id(v) for v in network.model.variables
        ]
    train = ini.load(None).train
    one, other = (optim.make(train, n.model.trainable_variables) for n in (first, second))
    assert [v.path for v in one.variables] == [v.path for v in other.variables]


def test_causal_convolution_against_its_definition():
    keras.utils.set_random_seed(0)
    conv = CausalConv2D(3, (3, 5), dilation=2, activation=None)
    x = np.random.default_rng(0).standard_normal((1, 9, 7, 2)).astype(np.float32)
    got, state = conv(x, np.zeros((1, conv.context, 7, 2), np.float32))
    kernel = ops.convert_to_numpy(conv.kernel)
    wanted = np.zeros((9, 7, 3))
    for t in range(9):
        for f in range(7):
            for i in range(3):
                for j in range(5):
                    s, g = t - (2 - i) * 2, f + j - 2
                    if s >= 0 and 0 <= g < 7:
                        wanted[t, f] += x[0, s, g] @ kernel[i, j]
    np.testing.assert_allclose(got[0], wanted, atol=1e-5)
    np.testing.assert_array_equal(state, x[:, -4:])
