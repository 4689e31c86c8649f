"""How weights are changed: learning rate, optimizer, precision, running mean of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from specmask.config.training import Train
from specmask.errors import UserError

LAST_RATE = 0.01  # of the cosine, relative to the highest
MUON_ADAM = 0.5  # with muon, the rate of what AdamW changes, relative to that of matrices
FIRST_SCALE = 2.0**15  # of the loss in float16
GROWTH_STEPS = 2000  # finite steps after which the scale is doubled


def learning_rate(train: Train, step: int, total: int, reductions: int) -> float:
    """Return the learning rate of a step.

    A linear warm-up times: 1 (constant), half a cosine down to 1 % at the last step, or
    ``plateau_factor`` to the number of reductions so far (plateau).

    Args:
        train: the [train] section.
        step: counted from 0, over all epochs.
        total: steps of the whole training.
        reductions: how many plateaus there were.
    """
    rise = min(1.0, (step + 1) / max(1, train.warmup_steps))
    shape = 1.0
    if train.schedule == "cosine":
        done = (step - train.warmup_steps) / max(1, total - train.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
        shape = LAST_RATE + (1 - LAST_RATE) * cosine
    elif train.schedule == "plateau":
        shape = train.plateau_factor**reductions
    return train.learning_rate * rise * shape


def make(train: Train, variables: list[Any]) -> keras.optimizers.Optimizer:
    """Return the optimizer, built: its state has to be there before a checkpoint is read."""
    rate, decay = train.learning_rate, train.weight_decay
    optimizer = {
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=decay),
        "muon": lambda: keras.optimizers.Muon(
            rate, adam_lr_ratio=MUON_ADAM, adam_beta_2=0.99, weight_decay=decay,
            adam_weight_decay=decay,
        ),
    }[train.optimizer]()  # fmt: skip
    if train.optimizer != "adam":
        # Biases and the scales of normalisations are not pulled towards zero.
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    optimizer.build(variables)
    return optimizer


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

    def __init__(self, decay: float, weights: list[Any]):
        self.decay, self.weights = decay, weights
        self.means = [tf.Variable(tf.convert_to_tensor(w), trainable=False) for w in weights]

    def restart(self) -> None:
        """Begin from the present weights."""
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.assign(tf.convert_to_tensor(weight))

    def update(self, step: Any) -> None:
        """Take in the weights after a step, counted from 1."""
        n = tf.cast(step, tf.float32)
        decay = tf.minimum(self.decay, (1 + n) / (10 + n))
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.assign(mean + (1 - decay) * (tf.convert_to_tensor(weight) - mean))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the means as weights for a while."""
        kept = [np.array(w) for w in self.weights]
        for mean, weight in zip(self.means, self.weights, strict=True):
            weight.assign(tf.convert_to_tensor(mean))
        try:
            yield
        finally:
            for array, weight in zip(kept, self.weights, strict=True):
                weight.assign(array)


class LossScale:
    """A factor of the loss that keeps float16 gradients from vanishing; 1 in other precisions.

    Halved when a gradient is not finite, doubled after 2,000 finite steps: Micikevicius et al.
    2017, Mixed precision training, arXiv 1710.03740.
    """

    def __init__(self, precision: str):
        self.used = precision == "mixed_float16"
        self.scale = tf.Variable(FIRST_SCALE if self.used else 1.0, trainable=False)
        self.finite_steps = tf.Variable(0, trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint has to hold."""
        return [self.scale, self.finite_steps] if self.used else []

    def update(self, finite: Any) -> None:
        """Take note of a step whose gradient was finite or not."""
        if not self.used:
            return
        count = tf.where(finite, self.finite_steps + 1, 0)
        grown = count >= GROWTH_STEPS
        factor = tf.where(finite, tf.where(grown, 2.0, 1.0), 0.5)
        self.scale.assign(tf.maximum(1.0, self.scale * factor))
        self.finite_steps.assign(tf.where(grown, 0, count))
