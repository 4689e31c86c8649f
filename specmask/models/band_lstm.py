"""A small causal network that treats every frequency alike: convolutions, then one LSTM per bin.

All bins share the weights of the LSTM, so that it learns to follow a noise floor from 257 times
as many examples as an LSTM over whole frames: it is useful after minutes of training. After the
idea of sub-band networks: each frequency by itself, with weights that all share.

The neighbourhood of a bin comes through two convolutions; levels are normalised first.
"""

from typing import Any

import keras

from specmask.config.schema import Config
from specmask.models import layers, recurrent

KERNELS = [(2, 9), (2, 9)]  # frames x bins


def causal(config: Config) -> bool:
    """Return True: there is no other form."""
    return True


def build(config: Config, x: Any, channels: int, states: layers.States) -> Any:
    """Return the raw output [batch, frames, bins, channels]."""
    c = config.model
    for number, kernel in enumerate(KERNELS, 1):
        conv = layers.CausalConv2D(c.conv_channels, kernel, name=f"conv{number}")
        x = states.through(conv, x, conv.context, config.bins, x.shape[-1])
    for number in range(1, c.recurrent_layers + 1):
        shape = (config.bins, c.recurrent_units)
        lstm = recurrent.BandLSTM(c.recurrent_units, name=f"lstm{number}")
        x = states.through(lstm, x, shape, shape)
    return keras.layers.Dense(channels, name="mask")(x)
