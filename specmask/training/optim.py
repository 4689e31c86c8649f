"""Learning-rate schedules, optimizers, precision, loss scaling and weight averaging."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from specmask.config.training import Train
from specmask.errors import UserError

LAST_RATE = 0.01  # at the end, relative to the highest
MUON_ADAM = 0.5  # with muon, the rate of what AdamW changes, relative to that of matrices
FIRST_SCALE = 2.0**15  # of the loss in float16
GROWTH_STEPS = 2000  # finite steps after which the scale is doubled


def learning_rate(train: Train, step: int, total: int, reductions: int) -> float:
    """Return the learning rate of a step.

    A linear warm-up times: 1 (constant), half a cosine down to 1 % at the last step,
    ``plateau_factor`` to the number of reductions so far (plateau), or 1 and a line down to 1 %
    over the last ``decay_share`` of the steps (hold).

    Args:
        train: the [train] section.
        step: counted from 0, over all epochs.
        total: steps of the whole training.
        reductions: number of plateaus so far.

    >>> train = Train(learning_rate=0.1, warmup_steps=10, schedule="constant")
    >>> learning_rate(train, step=4, total=100, reductions=0)
    0.05
    """
    rise = min(1.0, (step + 1) / max(1, train.warmup_steps))
    shape = 1.0
    if train.schedule == "cosine":
        done = (step - train.warmup_steps) / max(1, total - train.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
        shape = LAST_RATE + (1 - LAST_RATE) * cosine
    elif train.schedule == "hold":
        left = (total - step) / max(1.0, train.decay_share * total)
        shape = LAST_RATE + (1 - LAST_RATE) * min(1.0, max(0.0, left))
    elif train.schedule == "plateau":
        shape = train.plateau_factor**reductions
    return train.learning_rate * rise * shape


def make(train: Train, variables: list[Any]) -> keras.optimizers.Optimizer:
    """Return the optimizer, built: its variables have to exist before a checkpoint is loaded."""
    rate, decay = train.learning_rate, train.weight_decay
    optimizer = {
        "adam": lambda: keras.optimizers.Adam(rate, name="adam"),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=decay, name="adamw"),
        "muon": lambda: (MatrixMuon if train.muon_convolutions else keras.optimizers.Muon)(
            rate, adam_lr_ratio=MUON_ADAM, adam_beta_2=0.99, weight_decay=decay,
            adam_weight_decay=decay, name="muon",
        ),
    }[train.optimizer]()  # fmt: skip
    if train.optimizer != "adam":
        # Biases and the scales of normalisations are not pulled towards zero.
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    optimizer.build(variables)
    return optimizer


class MatrixMuon(keras.optimizers.Muon):
    """Muon that takes the kernels of convolutions as matrices [all inputs, outputs]."""

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) not in (2, 4)  # biases of attention have three

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        step = gradient + self.momentum * m if self.nesterov else m
        step = ops.reshape(step, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(step, self.ns_steps))
        self.assign_sub(variable, ops.reshape(step, variable.shape))


def freeze(model: keras.Model, patterns: list[str]) -> None:
    """Exclude the layers whose names match one of the patterns from training.

    Raises:
        UserError: if a pattern matches no layer with weights, or nothing is left to train.
    """
    layers = [layer for layer in model.layers if layer.weights]
    for pattern in patterns:
        found = [layer for layer in layers if fnmatchcase(layer.name, pattern)]
        if not found:
            names = ", ".join(layer.name for layer in layers)
            raise UserError(
                f"[train] frozen_layers = {pattern}: no such layer; {model.name} has {names}"
            )
        for layer in found:
            layer.trainable = False
    if not model.trainable_variables:
        raise UserError(
            f"[train] frozen_layers = {', '.join(patterns)}: nothing is left to train; freeze less"
        )


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Build layers that compute in a Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Average:
    """The running mean of the weights: a ← d a + (1 − d) w after each step.

    d = min(decay, (1 + n) / (10 + n)) in step n, so that the first, random weights are soon
    forgotten.
    """

    def __init__(self, decay: float, weights: Mapping[str, Any]):
        self.decay, self.weights = decay, weights
        self.means = {
            name: tf.Variable(tf.convert_to_tensor(w), trainable=False)
            for name, w in weights.items()
        }

    def restart(self) -> None:
        """Begin from the present weights."""
        for name, weight in self.weights.items():
            self.means[name].assign(tf.convert_to_tensor(weight))

    def update(self, step: Any) -> None:
        """Update the means after a step, counted from 1."""
        n = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1 + n) / (10 + n))
        for name, weight in self.weights.items():
            mean = self.means[name]
            mean.assign(mean + (1 - decay) * (tf.convert_to_tensor(weight) - mean))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the means as weights for a while."""
        kept = {name: np.array(w) for name, w in self.weights.items()}
        for name, weight in self.weights.items():
            weight.assign(tf.convert_to_tensor(self.means[name]))
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.assign(kept[name])


class LossScale:
    """A factor of the loss that keeps float16 gradients from vanishing; 1 in other precisions.

    Halved when a gradient is not finite, doubled after 2,000 finite steps: Micikevicius et al.
    2017, Mixed precision training, arXiv 1710.03740. Not Keras's LossScaleOptimizer, which judges
    each replica's gradient alone and whose state older checkpoints do not have.
    """

    def __init__(self, precision: str):
        self.used = precision == "mixed_float16"
        self.scale = tf.Variable(FIRST_SCALE if self.used else 1.0, trainable=False)
        self.finite_steps = tf.Variable(0, trainable=False)

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """What a checkpoint has to hold."""
        return {"scale": self.scale, "finite_steps": self.finite_steps} if self.used else {}

    def update(self, finite: Any) -> None:
        """Update the scale after a step whose gradient was finite or not."""
        if not self.used:
            return
        count = tf.where(finite, self.finite_steps + 1, 0)
        grown = count >= GROWTH_STEPS
        factor = tf.where(finite, tf.where(grown, 2.0, 1.0), 0.5)
        self.scale.assign(tf.maximum(1.0, self.scale * factor))
        self.finite_steps.assign(tf.where(grown, 0, count))
