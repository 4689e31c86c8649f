"""The Keras network of a run as a runtime, compiled by TensorFlow."""

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


class KerasRuntime:
    """The network of a run with its weights; any number of rows and frames per call.

    Args:
        weights: the .npz file.
        ini: the run's configuration.

    Raises:
        UserError: if they are damaged or do not belong together.
    """

    name, batched = "TensorFlow", True

    def __init__(self, weights: Path, ini: Path):
        config = configuration.load(ini)
        self.network = models.build(config)
        checkpoint.load(weights, {"model": self.network.variables})
        self.description = describe(config, self.network, files.digest(weights))
        inputs = self.network.model.inputs
        specs = [tf.TensorSpec((None, *x.shape[1:]), tf.float32, name=x.name) for x in inputs]
        self._call = tf.function(
            self.network, input_signature=(specs[0], specs[1:]), autograph=False
        )

    def zero_state(self, batch: int) -> list[Any]:
        """Return the state before the first frame."""
        return self.network.zero_state(batch)

    def mask(self, noisy: np.ndarray, state: list[Any] | None) -> tuple[np.ndarray, list[Any]]:
        """Return the masks of these frames and the state after them."""
        mask, state = self._call(tf.constant(noisy), state or [])
        return mask.numpy(), state


def describe(config: Config, network: models.Network, digest: str) -> Description:
    """Return the description of a network, with default knobs.

    Args:
        config: that the network was built from.
        network: to describe.
        digest: of its weights.
    """
    return Description(
        sample_rate=config.data.sample_rate,
        stft=Stft.from_config(config),
        causal=network.causal,
        digest=digest,
        states={x.name: list(x.shape[1:]) for x in network.model.inputs[1:]},
        lookahead_frames=network.lookahead_frames,
    )
