"""The U-Net of the vbelz and Pankaj Beniwal projects, after Ronneberger et al. 2015.

Levels of two 3x3 convolutions with max-pooling between them, a mirrored way up with nearest
up-sampling and concatenated skips: 1,941,093 parameters with five levels from 16 channels on, one
feature and one output. The Kaushal project trains the same network.

Differs from the projects: any number of frames and bins instead of windows of 128 x 128, padded to
what the pooling needs. It sees all frames of a clip.
"""

from typing import Any

import keras
from keras import ops

from specmask.config.schema import Config
from specmask.models import layers

SLOPE = 0.3  # of the leaky ReLU


def causal(config: Config) -> bool:
    """Return False: pooling in time sees later frames."""
    return False


def build(config: Config, x: Any, channels: int, states: layers.States) -> Any:
    """Return the raw output [batch, frames, bins, channels]."""
    c = config.model
    padded = layers.PadTo(2 ** (c.levels - 1), name="pad")
    x, noisy = padded(x), x
    skips = []
    for level in range(c.levels):
        filters = c.conv_channels * 2**level
        x = _pair(x, filters, f"down{level + 1}")
        if level >= c.levels - 2 and c.dropout:
            x = keras.layers.Dropout(c.dropout, name=f"dropout{level + 1}")(x)
        if level < c.levels - 1:
            skips.append(x)
            x = keras.layers.MaxPooling2D(name=f"pool{level + 1}")(x)
    for level in range(c.levels - 2, -1, -1):
        filters = c.conv_channels * 2**level
        x = keras.layers.UpSampling2D(name=f"double{level + 1}")(x)
        x = _conv(x, filters, 2, f"up{level + 1}")
        x = _pair(ops.concatenate([skips.pop(), x], axis=-1), filters, f"join{level + 1}")
    x = _conv(x, 2, 3, "last")
    x = keras.layers.Conv2D(channels, 1, name="mask")(x)
    return layers.CutTo(name="cut")(x, noisy)


def _pair(x: Any, filters: int, name: str) -> Any:
    return _conv(_conv(x, filters, 3, f"{name}_a"), filters, 3, f"{name}_b")


def _conv(x: Any, filters: int, kernel: int, name: str) -> Any:
    x = keras.layers.Conv2D(
        filters, kernel, padding="same", kernel_initializer="he_normal", name=name
    )(x)
    return ops.leaky_relu(x, SLOPE)
