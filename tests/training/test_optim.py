"""Learning rates, optimizers, frozen layers, the running mean and the loss scale by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import PROJECT_INI

from specmask.config import ini, training
from specmask.errors import UserError
from specmask.training import optim


def train_section(tmp_path, *options: str) -> training.Train:
    (tmp_path / "config.ini").write_text(PROJECT_INI, encoding="utf-8")
    return ini.load(tmp_path / "config.ini", [f"train.{o}" for o in options]).train


def rates(train: training.Train, steps: list[int], reductions: int = 0) -> list[float]:
    return [optim.learning_rate(train, s, 110, reductions) for s in steps]


def test_rates_by_hand(tmp_path):
    common = "learning_rate=0.5", "warmup_steps=10"
    steps = [0, 4, 9, 10, 60, 110]
    cosine = train_section(tmp_path, "schedule=cosine", *common)
    half = 0.5 * (0.01 + 0.99 / 2)
    np.testing.assert_allclose(rates(cosine, steps), [0.05, 0.25, 0.5, 0.5, half, 0.005])
    constant = train_section(tmp_path, "schedule=constant", *common)
    np.testing.assert_allclose(rates(constant, steps, 3), [0.05, 0.25, 0.5, 0.5, 0.5, 0.5])
    plateau = train_section(tmp_path, "schedule=plateau", "plateau_factor=0.2", *common)
    np.testing.assert_allclose(rates(plateau, steps, 2), [0.002, 0.01, *[0.02] * 4])
    hold = train_section(tmp_path, "schedule=hold", "decay_share=0.2", *common)
    np.testing.assert_allclose(rates(hold, [4, 9, 88, 99, 110]), [0.25, 0.5, 0.5, half, 0.005])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_first_update_by_hand(tmp_path, name):
    """Adam's first step is the rate against the sign; AdamW also pulls matrices to zero."""
    train = train_section(tmp_path, f"optimizer={name}", "learning_rate=0.1", "weight_decay=0.5")
    matrix, bias = keras.Variable(np.full((1, 2), 3.0)), keras.Variable(np.full(2, 3.0))
    optimizer = optim.make(train, [matrix, bias])
    optimizer.apply_gradients([(tf.constant([[1.0, -2.0]]), matrix), (tf.ones(2), bias)])
    decay = 3 * 0.1 * 0.5 if name == "adamw" else 0
    np.testing.assert_allclose(np.asarray(matrix), [[2.9 - decay, 3.1 - decay]], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(bias), [2.9, 2.9], rtol=1e-5)


def test_the_first_step_of_muon_is_orthogonal(tmp_path):
    """G = U Σ Vᵀ becomes about U Vᵀ, of the size of one of Adam's steps; the rest is AdamW's."""
    train = train_section(tmp_path, "optimizer=muon", "learning_rate=0.1", "weight_decay=0.5")
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, 4)))[0] for n in (12, 5))
    gradient = left @ np.diag([5.0, 3.0, 1.0, 0.5]) @ right.T
    matrix, bias = (keras.Variable(np.full(s, np.float32(3))) for s in ((12, 5), (2,)))
    optimizer = optim.make(train, [matrix, bias])
    optimizer.apply_gradients([(tf.constant(gradient, tf.float32), matrix), (tf.ones(2), bias)])
    step = 3.0 * (1 - 0.1 * 0.5) - np.asarray(matrix)
    sizes = left.T @ step @ right / (0.1 * 0.2 * np.sqrt(12))
    np.testing.assert_allclose(np.diag(sizes), 1, atol=0.35)  # five Newton-Schulz iterations
    np.testing.assert_allclose(sizes, np.diag(np.diag(sizes)), atol=1e-4)
    np.testing.assert_allclose(np.asarray(bias), [2.95, 2.95], rtol=1e-5)


def test_muon_takes_kernels_of_convolutions_as_matrices(tmp_path):
    """The step is that of the matrix [all its inputs, outputs]; of other ranks it is AdamW's."""
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal((2, 3, 2, 5)).astype(np.float32)
    steps = []
    for shape in ((2, 3, 2, 5), (12, 5)):
        train = train_section(tmp_path, "optimizer=muon", "muon_convolutions=yes")
        weight, bias = (keras.Variable(np.zeros(s, np.float32)) for s in (shape, (4, 3, 3)))
        optimizer = optim.make(train, [weight, bias])
        gradients = [tf.constant(gradient.reshape(shape)), tf.ones((4, 3, 3))]
        optimizer.apply_gradients(zip(gradients, [weight, bias], strict=True))
        steps.append(np.asarray(weight).reshape(12, 5))
        np.testing.assert_allclose(bias, -1e-3, rtol=1e-4)  # half of the rate
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-7)


def test_the_mean_of_the_weights_by_hand():
    weight = keras.Variable(np.float32([1.0]))
    average = optim.Average(0.5, {"w": weight})
    weight.assign([3.0])
    average.update(1)  # d = 2 / 11
    first = 1 * 2 / 11 + 3 * 9 / 11
    np.testing.assert_allclose(average.means["w"].numpy(), [first], rtol=1e-6)
    average.update(1000)  # d = 0.5
    with average.applied():
        np.testing.assert_allclose(np.asarray(weight), [(first + 3) / 2], rtol=1e-6)
    assert float(weight[0]) == 3.0
    average.restart()
    assert float(average.means["w"][0]) == 3.0


def test_the_loss_scale_by_hand():
    scale = optim.LossScale("mixed_float16")
    scale.update(tf.constant(False))
    assert float(scale.scale) == 2.0**14
    scale.finite_steps.assign(1998)
    scale.update(tf.constant(True))
    assert float(scale.scale) == 2.0**14
    scale.update(tf.constant(True))
    assert float(scale.scale) == 2.0**15 and int(scale.finite_steps) == 0
    unused = optim.LossScale("float32")
    unused.update(tf.constant(False))
    assert float(unused.scale) == 1 and unused.variables == {}


def test_frozen_layers():
    def model() -> keras.Model:
        x = keras.Input((3,))
        y = keras.layers.Dense(2, name="conv1")(x)
        y = keras.layers.Dense(2, name="conv2")(keras.layers.ReLU()(y))
        return keras.Model(x, keras.layers.Dense(1, name="mask")(y))

    made = model()
    optim.freeze(made, ["conv*"])
    assert [v.path.split("/")[0] for v in made.trainable_variables] == ["mask", "mask"]
    with pytest.raises(UserError, match=r"frozen_layers = lstm.*no such layer.*conv1, conv2, mask"):
        optim.freeze(model(), ["mask", "lstm?"])
    with pytest.raises(UserError, match="nothing is left to train"):
        optim.freeze(model(), ["conv*", "mask"])


def test_the_policy_is_that_of_before_afterwards():
    with optim.precision("mixed_bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    assert keras.layers.Dense(1).compute_dtype == "float32"
