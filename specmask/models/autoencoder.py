"""The convolutional autoencoder with a dense bottleneck of the Doyosae project.

Strided 3x3 convolutions halve frames and bins at each level, dense layers look at the whole window
at once, and transposed convolutions mirror the way back. With six levels from 32 channels on and
dense layers of 2048, 512, 2048 for windows of 256 x 256 it has about 82 million parameters.

Differs from the project: a clip is cut into windows one after the other, and bins beyond a multiple
of what the levels need take the output of the last one. Weights begin as in He et al. 2015: with
Keras's own (Glorot), the signal vanishes in sixteen layers with dropout, and every input gets the
same mask.
"""

from typing import Any

import keras
from keras import ops

from specmask.config.model import Model
from specmask.config.schema import Config
from specmask.models import layers

_INITIAL = {"kernel_initializer": "he_normal"}


def causal(config: Config) -> bool:
    """Return False: a window is seen as a whole."""
    return False


def build(config: Config, x: Any, channels: int, states: layers.States) -> Any:
    """Return the raw output [batch, frames, bins, channels]."""
    c = config.model
    bins = max(1, round(config.bins / 2**c.levels)) * 2**c.levels
    frames = c.window_frames
    noisy = x
    x = layers.Windows(frames, bins, name="windows")(x)
    for level in range(c.levels):
        filters, name = c.conv_channels * 2**level, f"down{level + 1}"
        x = keras.layers.Conv2D(filters, 3, 2, **_INITIAL, padding="same", name=name)(x)
        x = _activate(x, c, name)
    shape = x.shape[1:]
    x = keras.layers.Flatten(name="flatten")(x)
    size = shape[0] * shape[1] * shape[2]
    for number, units in enumerate((4 * c.dense_units, c.dense_units, 4 * c.dense_units, size), 1):
        name = f"dense{number}"
        x = _activate(keras.layers.Dense(units, **_INITIAL, name=name)(x), c, name)
    x = keras.layers.Reshape(shape, name="unflatten")(x)
    for level in range(c.levels - 2, -2, -1):
        filters = c.conv_channels * 2**level if level >= 0 else channels
        name = f"up{level + 2}"
        x = keras.layers.Conv2DTranspose(filters, 3, 2, **_INITIAL, padding="same", name=name)(x)
        if level >= 0:
            x = _activate(x, c, name)
    return layers.Joined(name="joined")(x, noisy)


def _activate(x: Any, c: Model, name: str) -> Any:
    x = ops.relu(x) if c.activation == "relu" else ops.leaky_relu(x)
    return keras.layers.Dropout(c.dropout, name=f"{name}_dropout")(x) if c.dropout else x
