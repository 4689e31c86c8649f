"""The default network: a small causal convolutional-recurrent network over ERB bands.

Bins become bands, strided convolutions halve their number with each level, and blocks follow:
attention over the bands of a frame, a GRU over time that all bands share, and one that sees the
frame as a whole. A mirrored decoder with added skips gives a mask per band, interpolated to the
bins. The blocks are after dual-path networks (Luo et al. 2020, arXiv 1910.06379), attention in
place of a recurrence over bands: one product instead of many small steps, and so several times
faster in the exported step; the GRU of a whole frame after FullSubNet (Hao et al. 2021, arXiv
2010.15508), which joins the whole band and its parts; the bands after Valin 2018 (arXiv
1709.08243).
"""

from typing import Any

import keras

from specmask.config.schema import Config
from specmask.models import erb, layers, recurrent

KERNEL_FRAMES = 2  # the first level sees one frame
ACTIVATION = "leaky_relu"
FRAME_CHANNELS = 8  # of a band, of what the GRU of a whole frame sees and gives


def causal(config: Config) -> bool:
    """Return True: there is no other form."""
    return True


def build(config: Config, x: Any, channels: int, states: layers.States) -> Any:
    """Return the raw output [batch, frames, bins, channels]."""
    c = config.model
    analysis, synthesis = erb.erb_matrices(
        config.bins, config.data.sample_rate, c.split_hz, c.erb_bands, 2 ** len(c.band_channels)
    )
    x = erb.BandMatrix(analysis, name="to_bands")(x)
    skips: list[Any] = []
    for number, filters in enumerate(c.band_channels, 1):
        kernel = (KERNEL_FRAMES if number > 1 else 1, c.band_kernel)
        conv = layers.CausalConv2D(
            filters, kernel, stride=2, activation=ACTIVATION, name=f"conv{number}"
        )
        x = states.through(conv, x, conv.context, *x.shape[2:]) if conv.context else conv(x)
        skips.append(x)

    count, width = x.shape[2:]
    heads = max(n for n in range(1, c.attention_heads + 1) if c.recurrent_units % n == 0)
    for number in range(1, c.recurrent_layers + 1):
        y = layers.LayerNorm(name=f"norm{number}")(x)
        y = erb.BandAttention(c.recurrent_units, heads, name=f"attention{number}")(y)
        x += keras.layers.Dense(width, name=f"attention{number}_out")(y)
        gru = recurrent.BandGRU(c.recurrent_units, name=f"gru{number}")
        y = states.through(gru, x, count, c.recurrent_units)
        y = keras.layers.Dense(width, name=f"gru{number}_out")(y)
        x += layers.LayerNorm(name=f"gru{number}_norm")(y)
        if c.frame_units:
            y = keras.layers.Dense(FRAME_CHANNELS, name=f"frame{number}_in")(x)
            y = keras.layers.Reshape((-1, 1, count * FRAME_CHANNELS))(y)
            gru = recurrent.BandGRU(c.frame_units, name=f"frame{number}")
            y = states.through(gru, y, 1, c.frame_units)
            y = keras.layers.Dense(count * FRAME_CHANNELS, name=f"frame{number}_out")(y)
            y = keras.layers.Reshape((-1, count, FRAME_CHANNELS))(y)
            y = keras.layers.Dense(width, name=f"frame{number}_back")(y)
            x += layers.LayerNorm(name=f"frame{number}_norm")(y)

    for number, filters in enumerate((*c.band_channels[-2::-1], channels), 1):
        activation = ACTIVATION if number < len(c.band_channels) else None
        up = erb.Upsample(filters, activation=activation, name=f"up{number}")
        x = up(x + skips.pop())
    return erb.BandMatrix(synthesis, name="to_bins")(x)
