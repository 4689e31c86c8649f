"""Recurrent layers that take a state and return it: over time, or on every band by itself.

A cell has two forms: for one frame (exported steps) and for all frames, with a hand-written
gradient. Its loop back through time carries the gradient of the state alone; what does not
depend on the frame after, the gates and the gradient of the weights, comes from one product over
all frames. Automatic differentiation adds up the gradient of the weights frame by frame. A loop is
over one tensor: over several, Keras's scan fails where the number of frames is open.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


class LSTMCell(keras.layers.Layer):
    """An LSTM cell whose input is already multiplied by its kernel.

    The product over all frames at once is one large matrix product instead of a small one per
    frame. Hochreiter and Schmidhuber 1997 with forget gate; gates in the order of Keras (i, f,
    g, o): a = x + h[t−1] U, c[t] = σ(a_f) c[t−1] + σ(a_i) tanh(a_g), h[t] = σ(a_o) tanh(c[t]).
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape: tuple) -> None:
        """Create the recurrent kernel."""
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )

    def call(self, x: Any, hidden: Any, cell: Any) -> tuple[Any, Any]:
        """Return h and c [batch, units] after a frame x [batch, 4 units]."""
        return self._after(x, hidden, cell, self.recurrent_kernel)

    def _after(self, x: Any, hidden: Any, cell: Any, kernel: Any) -> tuple[Any, Any]:
        i, f, g, o = _lstm_gates(x + ops.matmul(hidden, kernel))
        cell = f * cell + i * g
        return o * ops.tanh(cell), cell

    def over_time(self, x: Any, hidden: Any, cell: Any, *, training: bool) -> tuple[Any, Any]:
        """Return h and c [frames, batch, units] after each of the frames x [frames, ...]."""
        u = self.units

        def states(x: Any, hidden: Any, cell: Any, kernel: Any) -> tuple[Any, Any]:
            def step(before: Any, frame: Any) -> tuple[Any, Any]:
                after = self._after(frame, before[0], before[1], kernel)
                return after, after

            _, (h, c) = ops.scan(step, (hidden, cell), x)

            def gradient(h_out: Any, c_out: Any) -> tuple[Any, ...]:
                h_before, c_before = _before(h, hidden), _before(c, cell)
                i, f, g, o = _lstm_gates(x + ops.matmul(h_before, kernel))
                end = ops.tanh(c)
                # slopes of c[t] and h[t] by the sums a of the gates
                of_cell = [g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g)]
                slopes = ops.concatenate([*of_cell, end * o * (1 - o)], axis=-1)
                to_cell, back = o * (1 - end * end), ops.transpose(kernel)

                def step(after: Any, frame: Any) -> tuple[Any, Any]:
                    h_out, c_out, slope, to_cell, f = ops.split(frame, [u, 2 * u, 6 * u, 7 * u], -1)
                    dh, dc = after[0] + h_out, after[1] + c_out
                    dc = dc + dh * to_cell
                    sums = ops.concatenate([dc, dc, dc, dh], axis=-1) * slope
                    return (ops.matmul(sums, back), dc * f), (dh, dc)

                zeros = ops.zeros_like(hidden), ops.zeros_like(cell)
                frames = ops.concatenate([h_out, c_out, slopes, to_cell, f], axis=-1)
                (dh_start, dc_start), (dh, dc) = ops.scan(step, zeros, frames, reverse=True)
                sums = ops.concatenate([dc, dc, dc, dh], axis=-1) * slopes
                return sums, dh_start, dc_start, _weights(h_before, sums)

            return (h, c), gradient

        kernel = ops.copy(self.recurrent_kernel)  # a tensor, not a variable
        return _with_gradient(states, training)(x, hidden, cell, kernel)


def _with_gradient(states: Callable, training: bool) -> Callable:
    """Return a function whose gradient is the second thing that ``states`` returns.

    Outside of training without it: a SavedModel would want to hold it.
    """
    return ops.custom_gradient(states) if training else lambda *inputs: states(*inputs)[0]


def _lstm_gates(sums: Any) -> tuple[Any, Any, Any, Any]:
    i, f, g, o = ops.split(sums, 4, axis=-1)
    return ops.sigmoid(i), ops.sigmoid(f), ops.tanh(g), ops.sigmoid(o)


def _before(states: Any, start: Any) -> Any:
    """Return the state before each frame [frames, ...] of those after it."""
    return ops.concatenate([start[None], states[:-1]], axis=0)


def _weights(hidden: Any, sums: Any) -> Any:
    """Return the gradient of a recurrent kernel: Σ over frames and rows of hᵀ ∂sums."""
    rows, sums = (ops.reshape(x, (-1, x.shape[-1])) for x in (hidden, sums))
    return ops.matmul(ops.transpose(rows), sums)


class GRUCell(keras.layers.Layer):
    """A GRU cell whose input is already multiplied by its kernels.

    Cho et al. 2014 with the reset gate behind the recurrent product, so that one product per step
    serves all gates: z = σ(xz + h Uz), r = σ(xr + h Ur), n = tanh(xn + r · (h Un + b)),
    h' = z h + (1 − z) n.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape: tuple) -> None:
        """Create the recurrent kernel and the bias of the candidate."""
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 3 * self.units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x: Any, hidden: Any) -> tuple[Any]:
        """Return h [batch, units] after a frame x [batch, 3 units]."""
        return (self._after(x, hidden, self.recurrent_kernel, self.bias),)

    def _after(self, x: Any, hidden: Any, kernel: Any, bias: Any) -> Any:
        z, _, n, _ = self._gates(x, hidden, kernel, bias)
        return n + z * (hidden - n)

    def _gates(self, x: Any, hidden: Any, kernel: Any, bias: Any) -> tuple[Any, Any, Any, Any]:
        """Return z, r, n and what r is multiplied by."""
        u = self.units
        product = ops.matmul(hidden, kernel)
        both = ops.sigmoid(x[..., : 2 * u] + product[..., : 2 * u])
        z, r, inner = both[..., :u], both[..., u:], product[..., 2 * u :] + bias
        return z, r, ops.tanh(x[..., 2 * u :] + r * inner), inner

    def over_time(self, x: Any, hidden: Any, *, training: bool) -> tuple[Any]:
        """Return h [frames, batch, units] after each of the frames x [frames, ...]."""
        u = self.units

        def states(x: Any, hidden: Any, kernel: Any, bias: Any) -> Any:
            def step(before: Any, frame: Any) -> tuple[Any, Any]:
                after = self._after(frame, before, kernel, bias)
                return after, after

            _, h = ops.scan(step, hidden, x)

            def gradient(h_out: Any) -> tuple[Any, ...]:
                before = _before(h, hidden)
                z, r, n, inner = self._gates(x, before, kernel, bias)
                # slopes of h' by the sums in z and r, by that in n, and by the product in it
                to_n = (1 - z) * (1 - n * n)
                of_gates = [(before - n) * z * (1 - z), to_n * inner * r * (1 - r)]
                slopes = ops.concatenate([*of_gates, to_n * r], axis=-1)
                back = ops.transpose(kernel)

                def step(after: Any, frame: Any) -> tuple[Any, Any]:
                    h_out, slope, z = ops.split(frame, [u, 4 * u], -1)
                    dh = after + h_out
                    products = ops.concatenate([dh, dh, dh], axis=-1) * slope
                    return dh * z + ops.matmul(products, back), dh

                frames = ops.concatenate([h_out, slopes, z], axis=-1)
                start, dh = ops.scan(step, ops.zeros_like(hidden), frames, reverse=True)
                products = ops.concatenate([dh, dh, dh], axis=-1) * slopes
                sums = ops.concatenate([products[..., : 2 * u], dh * to_n], axis=-1)
                d_bias = ops.sum(products[..., 2 * u :], axis=(0, 1))
                return sums, start, _weights(before, products), d_bias

            return h, gradient

        weights = map(ops.copy, (self.recurrent_kernel, self.bias))  # tensors, not variables
        return (_with_gradient(states, training)(x, hidden, *weights),)


class OverTime(keras.layers.Layer):
    """A cell over frames: ``layer(x, *states) -> (y, *states)`` with x [batch, frames, ...]."""

    def __init__(self, cell: LSTMCell | GRUCell, **kwargs: Any):
        super().__init__(**kwargs)
        self.cell = cell

    def build(self, x_shape: tuple, *state_shapes: tuple) -> None:
        """Create the weights."""
        self.cell.build(x_shape)

    def call(self, x: Any, *states: Any, training: bool = False) -> tuple[Any, ...]:
        """Return y [batch, frames, units] and the states after the last frame."""
        if x.shape[1] == 1:  # an exported step
            after = self.cell(x[:, 0], *states)
            return after[0][:, None], *after
        after = self.cell.over_time(ops.swapaxes(x, 0, 1), *states, training=training)
        return ops.swapaxes(after[0], 0, 1), *(x[-1] for x in after)


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
        self.rnn = OverTime(LSTMCell(units, name="cell"), name="rnn")

    def build(self, x_shape: tuple, h_shape: tuple | None = None, c_shape: Any = None) -> None:
        """Create the weights."""
        self.project.build((None, None, x_shape[-1]))
        self.rnn.build((None, None, 4 * self.units))

    def call(self, x: Any, h: Any = None, c: Any = None) -> tuple[Any, Any, Any]:
        """Return y [batch, frames, units] and the states after the last frame."""
        if h is None:
            h = c = ops.zeros((ops.shape(x)[0], self.units), x.dtype)
        x = ops.flip(x, axis=1) if self.backwards else x
        y, h, c = self.rnn(self.project(x), h, c)
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


class BandGRU(keras.layers.Layer):
    """A GRU over time that runs on every band by itself, with the same weights for all.

    Called as ``layer(x, state) -> (y, state)`` with a state [batch, bands, units].
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.project = keras.layers.Dense(3 * units, name="project")
        self.rnn = OverTime(GRUCell(units, name="cell"), name="rnn")

    def build(self, x_shape: tuple, state_shape: tuple) -> None:
        """Create the weights."""
        self.project.build((None, None, x_shape[-1]))
        self.rnn.build((None, None, 3 * self.units))

    def call(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return y [batch, frames, bands, units] and the state after the last frame."""
        batch, frames, bands = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
        start = ops.reshape(state, (batch * bands, self.units))
        if x.shape[1] == 1:  # an exported step: a matrix from here on, and so fewer operations
            rows = ops.reshape(x, (batch * bands, x.shape[3]))
            (y,) = self.rnn.cell(self.project(rows), start)
            shape = batch, bands, self.units
            return ops.reshape(y, (batch, 1, bands, self.units)), ops.reshape(y, shape)
        rows = ops.reshape(ops.swapaxes(x, 1, 2), (batch * bands, frames, x.shape[3]))
        y, end = self.rnn(self.project(rows), start)
        y = ops.swapaxes(ops.reshape(y, (batch, bands, frames, self.units)), 1, 2)
        return y, ops.reshape(end, (batch, bands, self.units))

    def compute_output_spec(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return the shapes, which Keras cannot find where the number of frames is open."""
        y = keras.KerasTensor((*x.shape[:3], self.units), dtype="float32")
        return y, keras.KerasTensor((state.shape[0], state.shape[1], self.units), dtype="float32")
