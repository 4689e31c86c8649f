"""A trained run as a runtime: the Keras network, compiled by TensorFlow."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from specmask import files, models
from specmask.audio.stft import Stft
from specmask.config import ini as configuration
from specmask.config.schema import Config
from specmask.enhancement.runtimes import Description
from specmask.training import checkpoint


class Trained:
    """The network of a run with its weights; any number of rows and frames a call.

    Args:
        weights: the .npz file.
        ini: the run's configuration.

    Raises:
        UserError: if they are damaged or do not belong together.
    """

    batches = True  # rows in one call are quicker than one after the other

    def __init__(self, weights: Path, ini: Path):
        config = configuration.load(ini)
        self.network = models.build(config)
        checkpoint.load(weights, {"model": self.network.model.variables})
        self.description = describe(config, self.network, files.digest(weights))
        inputs = self.network.model.inputs
        specs = [tf.TensorSpec((None, *x.shape[1:]), tf.float32, name=x.name) for x in inputs]
        self._call = tf.function(
            self.network, input_signature=(specs[0], specs[1:]), autograph=False
        )

    def zero_state(self, batch: int) -> Any:
        """Return the state before the first frame."""
        return self.network.zero_state(batch)

    def mask(self, noisy: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Return the masks of these frames and the state after them."""
        mask, state = self._call(tf.constant(noisy), state or [])
        return mask.numpy(), state


def describe(config: Config, network: models.Network, digest: str = "") -> Description:
    """Return what a runtime has to know of the network of a configuration, without knobs."""
    states = {x.name: list(x.shape[1:]) for x in network.model.inputs[1:]}
    stft = Stft.from_config(config)
    late = network.lookahead_frames
    return Description(
        config.data.sample_rate, stft, network.causal, digest, states, lookahead_frames=late
    )
