"""Layers that work on bands: [batch, frames, bands, channels], frequency as the third axis."""

from typing import Any

import keras
import numpy as np
from keras import ops

from specmask.models import layers


def erb_matrices(
    bins: int, rate: int, split_hz: float, erb_bands: int, multiple: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices from bins to bands [bins, bands] and back [bands, bins].

    Bins below ``split_hz`` are bands of their own. Above, triangles are spaced evenly on the
    scale of Glasberg and Moore 1990, E(f) = 21.4 log10(1 + 0.00437 f), so that harmonics stay
    apart where the ear resolves them. A bin gets its value back by interpolation between its two
    bands (the rows of the way back sum to 1); a band is the mean of its bins by the same weights.

    Args:
        bins: of the spectrum, 0 to rate / 2.
        rate: sampling rate in Hz.
        split_hz: where the triangles begin.
        erb_bands: number of triangles; raised until ``multiple`` divides the number of bands.
            0: every bin is a band of its own, followed by empty ones.
        multiple: divisor of the number of bands.

    >>> to_bands, to_bins = erb_matrices(257, 16000, split_hz=2000, erb_bands=32, multiple=8)
    >>> to_bands.shape, to_bins.shape
    ((257, 96), (96, 257))
    """
    if not erb_bands:
        eye = np.eye(bins, -(-bins // multiple) * multiple, dtype=np.float32)
        return eye, eye.T.copy()
    hz = np.linspace(0, rate / 2, bins)
    low = int(np.sum(hz < split_hz))
    low = min(low, bins - 2)
    high = erb_bands + -(low + erb_bands) % multiple
    scale = 21.4 * np.log10(1 + 0.00437 * hz)
    centres = np.linspace(scale[low], scale[-1], high)
    weights = np.zeros((bins, low + high))
    weights[np.arange(low), np.arange(low)] = 1
    place = np.clip(np.interp(scale[low:], centres, np.arange(high)), 0, high - 1)
    below = np.minimum(place.astype(int), high - 2)
    rows = np.arange(low, bins)
    weights[rows, low + below] = 1 - (place - below)
    weights[rows, low + below + 1] = place - below
    analysis = weights.copy()
    nearest = low + np.argmin(np.abs(scale[low:, None] - centres), axis=0)
    for band in np.flatnonzero(analysis.sum(0) < 1e-3):  # narrower than the bins are apart
        analysis[nearest[band - low], band] = 1
    analysis /= analysis.sum(0)
    return analysis.astype(np.float32), weights.T.astype(np.float32)


class BandMatrix(keras.layers.Layer):
    """Multiply the frequency axis by a fixed matrix [from, to].

    Rows and columns that only pass a value on, as those of the low bins do, are not multiplied.
    """

    def __init__(self, matrix: np.ndarray, **kwargs: Any):
        super().__init__(**kwargs)
        size = min(matrix.shape)
        unlike = np.flatnonzero((matrix[:size, :size] != np.eye(size)).any(axis=1))
        self.low = int(unlike[0]) if len(unlike) else size
        if matrix[: self.low, self.low :].any() or matrix[self.low :, : self.low].any():
            self.low = 0
        self.values = matrix[self.low :, self.low :]

    def build(self, shape: tuple) -> None:
        """Hold the matrix as a weight: exports lose constants."""
        self.matrix = self.add_weight(
            shape=self.values.shape,
            initializer=keras.initializers.Constant(self.values),
            trainable=False,
            name="matrix",
        )

    def call(self, x: Any) -> Any:
        """Return [batch, frames, to, channels]."""
        high = ops.swapaxes(ops.matmul(ops.swapaxes(x[:, :, self.low :], 2, 3), self.matrix), 2, 3)
        return ops.concatenate([x[:, :, : self.low], high], axis=2) if self.low else high


class BandAttention(keras.layers.Layer):
    """Multi-head self-attention over the bands of a frame, with a learned bias for each pair.

    Vaswani et al. 2017; the bias stands in for a position code, since bands never move:
    softmax(Q Kᵀ / √d + B) V.
    """

    def __init__(self, units: int, heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.heads = units, heads

    def build(self, shape: tuple) -> None:
        """Create the projection and the biases."""
        self.project = self.add_weight(
            shape=(shape[-1], 3 * self.units), initializer="glorot_uniform", name="project"
        )
        self.bias = self.add_weight(
            shape=(self.heads, shape[2], shape[2]), initializer="zeros", name="bias"
        )

    def call(self, x: Any) -> Any:
        """Return [batch, frames, bands, units]."""
        batch, frames, bands = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
        size = self.units // self.heads
        x = ops.reshape(ops.matmul(x, self.project), (-1, bands, 3 * self.heads, size))
        query, key, value = ops.split(ops.transpose(x, (0, 2, 1, 3)), 3, axis=1)
        weights = ops.matmul(query, ops.swapaxes(key, 2, 3)) / np.sqrt(size).astype(np.float32)
        y = ops.matmul(ops.softmax(weights + self.bias, axis=-1), value)
        return ops.reshape(ops.swapaxes(y, 1, 2), (batch, frames, bands, self.units))


class Upsample(keras.layers.Layer):
    """Double the number of bands: a convolution over bands gives each two, one after the other."""

    def __init__(self, filters: int, activation: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = layers.CausalConv2D(2 * filters, (1, 3), activation=activation, name="conv")

    def build(self, shape: tuple) -> None:
        """Create the convolution."""
        self.conv.build(shape)

    def call(self, x: Any) -> Any:
        """Return [batch, frames, 2 bands, filters]."""
        shape = ops.shape(x)
        return ops.reshape(self.conv(x), (shape[0], shape[1], 2 * x.shape[2], self.filters))
