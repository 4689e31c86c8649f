"""The default network: a small causal convolutional-recurrent network over ERB bands.

Bins become bands, strided convolutions halve their number with each level, and blocks of
attention over the bands of a frame and a GRU over time, shared by all bands, work on what is
left. A mirrored decoder with added skips gives a mask a band, interpolated to the bins. The blocks
are after dual-path networks (Luo et al. 2020, arXiv 1910.06379), attention in place of a
recurrence over bands: one product instead of many small steps, and so several times faster
in the exported step; the bands after Valin 2018 (arXiv 1709.08243).
"""

from typing import Any

import keras

from specmask import features
from specmask.config import Config
from specmask.models import bands, layers

KERNEL = (2, 5)  # frames x bands; the first level sees one frame
ACTIVATION = "leaky_relu"


def build(config: Config, spectrum: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return the raw mask [batch, frames, bins, 2], the state's inputs and its outputs."""
    c = config.model
    analysis, synthesis = bands.erb_matrices(
        config.bins, config.data.sample_rate, c.split_hz, c.erb_bands, 2 ** len(c.band_channels)
    )
    inputs, outputs = [], []

    def stateful(layer: Any, x: Any, *shape: int) -> Any:
        inputs.append(keras.Input(shape, name=f"{layer.name}_state"))
        x, state = layer(x, inputs[-1])
        outputs.append(state)
        return x

    x = stateful(layers.LevelNormaliser(layers.level_frames(config), name="level"), spectrum, 2)
    x = features.stack(x, c.features, c.compression)
    x = bands.BandMatrix(analysis, name="to_bands")(x)
    skips = []
    for number, channels in enumerate(c.band_channels, 1):
        kernel = KERNEL if skips else (1, KERNEL[1])
        conv = layers.CausalConv2D(
            channels, kernel, stride=2, activation=ACTIVATION, name=f"conv{number}"
        )
        x = stateful(conv, x, conv.context, *x.shape[2:]) if conv.context else conv(x)
        skips.append(x)

    count, channels = x.shape[2:]
    for number in range(1, c.recurrent_layers + 1):
        y = keras.layers.LayerNormalization(name=f"norm{number}")(x)
        y = bands.BandAttention(c.recurrent_units, c.attention_heads, name=f"attention{number}")(y)
        x += keras.layers.Dense(channels, name=f"attention{number}_out")(y)
        gru = bands.BandGRU(c.recurrent_units, name=f"gru{number}")
        y = stateful(gru, x, count, c.recurrent_units)
        y = keras.layers.Dense(channels, name=f"gru{number}_out")(y)
        x += keras.layers.LayerNormalization(name=f"gru{number}_norm")(y)

    for number, channels in enumerate((*c.band_channels[-2::-1], 2), 1):
        last = number == len(c.band_channels)
        up = bands.Upsample(channels, activation=None if last else ACTIVATION, name=f"up{number}")
        x = up(x + skips.pop())
    x = bands.BandMatrix(synthesis, name="to_bins")(x)
    return x + layers.identity_mask(), inputs, outputs
