"""A small causal network that treats every frequency alike: convolutions, then one LSTM a bin.

All bins share the weights of the LSTM, so that it learns to follow a noise floor from 257 times
as many examples as an LSTM over whole frames: it is useful after minutes of training. After the
idea of sub-band networks: each frequency by itself, with weights that all share.

The neighbourhood of a bin comes through two convolutions; levels are normalised first.
"""

from typing import Any

import keras

from specmask import features
from specmask.config import Config
from specmask.models import layers

KERNELS = [(2, 9), (2, 9)]  # frames x bins


def build(config: Config, spectrum: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return the raw mask [batch, frames, bins, 2], the state's inputs and its outputs."""
    c = config.model
    bins = config.bins
    level = keras.Input((2,), name="level_state")
    inputs = [level]
    x, level = layers.LevelNormaliser(layers.level_frames(config), name="level")(spectrum, level)
    outputs = [level]
    x = features.stack(x, c.features, c.compression)
    for number, kernel in enumerate(KERNELS, 1):
        conv = layers.CausalConv2D(c.conv_channels, kernel, name=f"conv{number}")
        inputs.append(keras.Input((conv.context, bins, x.shape[-1]), name=f"conv{number}_state"))
        x, state = conv(x, inputs[-1])
        outputs.append(state)
    for number in range(1, c.recurrent_layers + 1):
        lstm = layers.BandLSTM(c.recurrent_units, name=f"lstm{number}")
        names = [f"lstm{number}_{part}_state" for part in ("h", "c")]
        states = [keras.Input((bins, c.recurrent_units), name=name) for name in names]
        inputs += states
        x, *states = lstm(x, *states)
        outputs += states
    return keras.layers.Dense(2, name="mask")(x) + layers.identity_mask(), inputs, outputs
