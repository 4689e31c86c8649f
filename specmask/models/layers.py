"""Building blocks that carry state: fed block by block they give what they give on the whole.

Each causal layer is called as ``layer(x, state) -> (y, state)`` with x [batch, frames, ...].
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from specmask.config import Config

# Added to the running power: digital silence is not lifted, and -60 dBFS is still normalised.
LEVEL_FLOOR = 1e-6
LEVEL_SECONDS = 2.0


class LevelNormaliser(keras.layers.Layer):
    """Divide a spectrum by the running RMS of its frames, so that the level does not matter.

    p[t] = α p[t−1] + (1 − α) mean_k |Y[t,k]|²,  n[t] = α n[t−1] + 1 − α,
    Y'[t] = Y[t] / √(p[t] / n[t] + ε), with α = exp(−1 / frames of the time constant).

    n corrects for the start at zero. All frames of a block at once: p = L · power + αᵗ⁺¹ p₀ with
    the lower triangular matrix L[t,s] = (1 − α) αᵗ⁻ˢ.

    Args:
        frames: time constant in frames.
    """

    def __init__(self, frames: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.decay = float(np.exp(-1 / frames))

    def call(self, spectrum: Any, state: Any) -> tuple[Any, Any]:
        """Return the normalised spectrum and the state [batch, 2] of (p, n)."""
        powers = ops.mean(ops.sum(ops.square(spectrum), axis=-1), axis=-1)  # [batch, frames]
        both = ops.stack([powers, ops.ones_like(powers)], axis=-1)  # [batch, frames, 2]
        steps = ops.arange(ops.shape(spectrum)[1], dtype="float32")
        distance = steps[:, None] - steps[None, :]
        weights = ops.where(
            distance >= 0, (1 - self.decay) * self.decay ** ops.maximum(distance, 0.0), 0.0
        )
        running = ops.matmul(weights, both)
        running += (self.decay ** (steps + 1))[None, :, None] * state[:, None, :]
        scale = ops.rsqrt(running[..., 0] / running[..., 1] + LEVEL_FLOOR)
        return spectrum * scale[..., None, None], running[:, -1]


def level_frames(config: Config) -> float:
    """Return the time constant of the level normaliser in frames."""
    return LEVEL_SECONDS * config.data.sample_rate / config.hop_length


def identity_mask() -> np.ndarray:
    """Return what is added to a raw mask so that training starts near M = 1: float32 [2].

    NumPy and not a tensor: ONNX would make a further input of a tensor from outside the graph.
    """
    return np.array([1, 0], np.float32)


class CausalConv2D(keras.layers.Layer):
    """Convolution over [time, frequency] that sees no later frame; same size, ReLU or none.

    The state holds the last (kernel − 1) · dilation frames. Without a state the kernel is
    centred in time instead.

    Args:
        filters: output channels.
        kernel: (frames, bins).
        dilation: in time.
        stride: in frequency; the number of bins has to be a multiple of it.
    """

    def __init__(
        self,
        filters: int,
        kernel: tuple[int, int],
        dilation: int = 1,
        stride: int = 1,
        activation: str | None = "relu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, kernel
        self.dilation, self.stride = dilation, stride
        self.activation = keras.activations.get(activation)
        self.context = (kernel[0] - 1) * dilation

    def build(self, x_shape: tuple, state_shape: tuple | None = None) -> None:
        """Create the kernel and the bias."""
        shape = (*self.kernel_size, x_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any, state: Any = None) -> Any:
        """Return y [batch, frames, bins / stride, filters], or (y, state) where there is a state.

        The state is [batch, context, bins, channels].
        """
        bins, before = self.kernel_size[1] - self.stride, self.context // 2
        time = (0, 0) if state is not None else (before, self.context - before)
        if state is not None:
            x = ops.concatenate([state, x], axis=1)
            state = x[:, -self.context :]
        x = ops.pad(x, ((0, 0), time, (bins // 2, bins - bins // 2), (0, 0)))
        y = ops.conv(
            x,
            self.kernel,
            strides=(1, self.stride),
            padding="valid",
            dilation_rate=(self.dilation, 1),
        )
        y = self.activation(y + self.bias)
        return y if state is None else (y, state)


class LSTMCell(keras.layers.Layer):
    """An LSTM cell whose input is already multiplied by its kernel.

    The product over all frames at once is one large matrix product instead of one small one a
    frame. Hochreiter and Schmidhuber 1997 with forget gate; gates in the order of Keras (i, f,
    c, o).
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, shape: tuple) -> None:
        """Create the recurrent kernel."""
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )

    def call(self, x: Any, states: list[Any], training: bool | None = None) -> tuple[Any, list]:
        """Take x [batch, 4 units] and (h, c); return h and (h, c)."""
        hidden, cell = states
        gates = x + ops.matmul(hidden, self.recurrent_kernel)
        update, forget, candidate, output = ops.split(gates, 4, axis=-1)
        cell = ops.sigmoid(forget) * cell + ops.sigmoid(update) * ops.tanh(candidate)
        hidden = ops.sigmoid(output) * ops.tanh(cell)
        return hidden, [hidden, cell]


def open_gate(units: int) -> Any:
    """Return the initial bias of an LSTM with an open forget gate: Jozefowicz et al. 2015."""
    bias = np.zeros(4 * units, np.float32)
    bias[units : 2 * units] = 1
    return keras.initializers.Constant(bias)


def lstm(x: Any, units: int, name: str, state: list[Any] | None = None, backwards: bool = False):
    """An LSTM over [batch, frames, features], the products with its input done for all frames.

    Returns:
        [batch, frames, units] and the new state (h, c).
    """
    projected = keras.layers.Dense(
        4 * units, bias_initializer=open_gate(units), name=f"{name}_input"
    )(x)
    rnn = keras.layers.RNN(
        LSTMCell(units, name=f"{name}_cell"),
        return_sequences=True,
        return_state=True,
        go_backwards=backwards,
        name=name,
    )
    y, *state = rnn(projected, initial_state=state)
    return (ops.flip(y, axis=1) if backwards else y), state


class BandLSTM(keras.layers.Layer):
    """An LSTM over time that runs on every bin by itself, with the same weights for all.

    Called as ``layer(x, h, c) -> (y, h, c)`` with x [batch, frames, bins, channels] and states
    [batch, bins, units].
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.project = keras.layers.Dense(4 * units, bias_initializer=open_gate(units))
        self.rnn = keras.layers.RNN(LSTMCell(units), return_sequences=True, return_state=True)

    def build(self, x_shape: tuple, h_shape: tuple, c_shape: tuple) -> None:
        """Create the weights."""
        self.project.build((None, None, x_shape[-1]))
        self.rnn.build((None, None, 4 * self.units))

    def call(self, x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        """Return y [batch, frames, bins, units] and the states after the last frame."""
        batch, frames, bins = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
        rows = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch * bins, frames, x.shape[3]))
        start = [ops.reshape(s, (batch * bins, self.units)) for s in (h, c)]
        y, *end = self.rnn(self.project(rows), initial_state=start)
        y = ops.transpose(ops.reshape(y, (batch, bins, frames, self.units)), (0, 2, 1, 3))
        return y, *(ops.reshape(s, (batch, bins, self.units)) for s in end)

    def compute_output_spec(self, x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        """Return the shapes, which Keras cannot find where the number of frames is open."""
        y = keras.KerasTensor((*x.shape[:3], self.units), dtype="float32")
        state = (h.shape[0], h.shape[1], self.units)
        return y, *(keras.KerasTensor(state, dtype="float32") for _ in range(2))
