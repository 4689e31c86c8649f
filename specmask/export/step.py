"""The network of a run for one frame and one channel, all shapes fixed.

Conventions:
    Inputs ``noisy`` [1, 1, bins, 2] and one per state, outputs ``mask`` [1, 1, bins, 2] and
    ``<state>_next``. :mod:`specmask.enhancement.runtimes` runs it.
"""

from collections.abc import Sequence

import keras
import numpy as np

from specmask import models
from specmask.config.schema import Config
from specmask.enhancement import runtimes
from specmask.errors import UserError
from specmask.models import Network


def step_model(config: Config, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Return the network of a configuration for one frame of one channel, all shapes fixed.

    Args:
        config: of the run.
        weights: values of the network's variables; without them they are random.

    Raises:
        UserError: if the network is not causal.
    """
    network = with_weights(config, weights)
    if not network.causal:
        raise UserError(
            "[model]: the network is not causal and has no step for one frame; "
            "export a causal one, or the whole model alone"
        )
    noisy, *states = network.model.inputs
    inputs = [keras.Input(batch_shape=(1, 1, *noisy.shape[2:]), name=noisy.name)]
    inputs += [keras.Input(batch_shape=(1, *x.shape[1:]), name=x.name) for x in states]
    # The same layers on inputs of fixed shape, as a model without the old one inside: exports
    # would trace that one too, with an open number of frames.
    fixed = keras.models.clone_model(network.model, inputs, clone_function=lambda layer: layer)
    names = ["mask", *(x.name + runtimes.NEXT for x in states)]
    return keras.Model(fixed.inputs, dict(zip(names, fixed.outputs, strict=True)), name="step")


def with_weights(config: Config, weights: Sequence[np.ndarray] | None) -> Network:
    """Return the network of a configuration with the given weights, or random ones."""
    network = models.build(config)
    if weights is not None:
        for variable, value in zip(network.model.variables, weights, strict=True):
            variable.assign(value)
    return network
