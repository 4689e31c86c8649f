"""The network of a run for one frame and one channel, all shapes fixed.

Conventions:
    Inputs ``noisy`` [1, 1, bins, 2] and one per state, outputs ``mask`` [1, 1, bins, 2] and
    ``<state>_next``. :mod:`specmask.enhancement.runtimes` runs it.
"""

import keras

from specmask.enhancement import runtimes
from specmask.errors import UserError
from specmask.models import Network


def step_model(network: Network) -> keras.Model:
    """Return a network for one frame of one channel, all shapes fixed; it shares the weights.

    Raises:
        UserError: if the network is not causal.
    """
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
