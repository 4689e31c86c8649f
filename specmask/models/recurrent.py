"""Recurrent layers that take a state and return it: over time, or on every band by itself."""

from typing import Any

import keras
import numpy as np
from keras import ops


class LSTMCell(keras.layers.Layer):
    """An LSTM cell whose input is already multiplied by its kernel.

    The product over all frames at once is one large matrix product instead of a small one per
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


class LSTM(keras.layers.Layer):
    """An LSTM over time, the products with its input done for all frames at once.

    Called as ``layer(x, h, c) -> (y, h, c)`` with x [batch, frames, features] and states
    [batch, units], zero where they are left out.

    Args:
        backwards: from the last frame to the first.
    """

    def __init__(self, units: int, backwards: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.backwards = units, backwards
        self.project = keras.layers.Dense(
            4 * units, bias_initializer=open_gate(units), name="project"
        )
        self.rnn = keras.layers.RNN(
            LSTMCell(units, name="cell"),
            return_sequences=True,
            return_state=True,
            go_backwards=backwards,
            name="rnn",
        )

    def build(self, x_shape: tuple, h_shape: tuple | None = None, c_shape: Any = None) -> None:
        """Create the weights."""
        self.project.build((None, None, x_shape[-1]))
        self.rnn.build((None, None, 4 * self.units))

    def call(self, x: Any, h: Any = None, c: Any = None) -> tuple[Any, Any, Any]:
        """Return y [batch, frames, units] and the states after the last frame."""
        y, h, c = self.rnn(self.project(x), initial_state=None if h is None else [h, c])
        return (ops.flip(y, axis=1) if self.backwards else y), h, c


class BandLSTM(keras.layers.Layer):
    """An LSTM over time that runs on every bin by itself, with the same weights for all.

    Called as ``layer(x, h, c) -> (y, h, c)`` with x [batch, frames, bins, channels] and states
    [batch, bins, units].
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.lstm = LSTM(units, name="lstm")

    def build(self, x_shape: tuple, h_shape: tuple, c_shape: tuple) -> None:
        """Create the weights."""
        self.lstm.build((None, None, x_shape[-1]))

    def call(self, x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        """Return y [batch, frames, bins, units] and the states after the last frame."""
        batch, frames, bins = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
        rows = ops.reshape(ops.swapaxes(x, 1, 2), (batch * bins, frames, x.shape[3]))
        y, *end = self.lstm(rows, *(ops.reshape(s, (batch * bins, self.units)) for s in (h, c)))
        y = ops.swapaxes(ops.reshape(y, (batch, bins, frames, self.units)), 1, 2)
        return y, *(ops.reshape(s, (batch, bins, self.units)) for s in end)

    def compute_output_spec(self, x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        """Return the shapes, which Keras cannot find where the number of frames is open."""
        y = keras.KerasTensor((*x.shape[:3], self.units), dtype="float32")
        state = (h.shape[0], h.shape[1], self.units)
        return y, *(keras.KerasTensor(state, dtype="float32") for _ in range(2))


class GRUCell(keras.layers.Layer):
    """A GRU cell whose input is already multiplied by its kernels.

    Cho et al. 2014 with the reset gate behind the recurrent product, so that one product per step
    serves all gates: z = σ(xz + h Uz), r = σ(xr + h Ur), n = tanh(xn + r · (h Un + b)),
    h' = z h + (1 − z) n.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, shape: tuple) -> None:
        """Create the recurrent kernel and the bias of the candidate."""
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 3 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x: Any, states: list[Any], training: bool | None = None) -> tuple[Any, list]:
        """Take x [batch, 3 units] and h; return h and [h]."""
        (hidden,) = states
        u = self.units
        product = ops.matmul(hidden, self.recurrent_kernel)
        gates = ops.sigmoid(x[:, : 2 * u] + product[:, : 2 * u])
        candidate = ops.tanh(x[:, 2 * u :] + gates[:, u:] * (product[:, 2 * u :] + self.bias))
        hidden = candidate + gates[:, :u] * (hidden - candidate)
        return hidden, [hidden]


class BandGRU(keras.layers.Layer):
    """A GRU over time that runs on every band by itself, with the same weights for all.

    Called as ``layer(x, state) -> (y, state)`` with a state [batch, bands, units].
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.project = keras.layers.Dense(3 * units, name="project")
        self.rnn = keras.layers.RNN(
            GRUCell(units, name="cell"), return_sequences=True, return_state=True, name="rnn"
        )

    def build(self, x_shape: tuple, state_shape: tuple) -> None:
        """Create the weights."""
        self.project.build((None, None, x_shape[-1]))
        self.rnn.build((None, None, 3 * self.units))

    def call(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return y [batch, frames, bands, units] and the state after the last frame."""
        batch, frames, bands = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
        start = ops.reshape(state, (batch * bands, self.units))
        if x.shape[1] == 1:  # an exported step: no loop
            rows = ops.reshape(x, (batch * bands, x.shape[3]))
            y, _ = self.rnn.cell(self.project(rows), [start])
            shape = batch, bands, self.units
            return ops.reshape(y, (batch, 1, bands, self.units)), ops.reshape(y, shape)
        rows = ops.reshape(ops.swapaxes(x, 1, 2), (batch * bands, frames, x.shape[3]))
        y, end = self.rnn(self.project(rows), initial_state=start)
        y = ops.swapaxes(ops.reshape(y, (batch, bands, frames, self.units)), 1, 2)
        return y, ops.reshape(end, (batch, bands, self.units))

    def compute_output_spec(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return the shapes, which Keras cannot find where the number of frames is open."""
        y = keras.KerasTensor((*x.shape[:3], self.units), dtype="float32")
        return y, keras.KerasTensor((state.shape[0], state.shape[1], self.units), dtype="float32")
