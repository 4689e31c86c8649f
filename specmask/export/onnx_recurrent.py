"""Recurrent layers over an open number of frames: one LSTM or GRU of ONNX, not a loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import tensorflow as tf

from specmask.models import recurrent

if TYPE_CHECKING:
    from specmask.export.onnx_graph import Graph


@contextlib.contextmanager
def markers() -> Iterator[None]:
    """Trace recurrent layers over more than one frame as one operation, not as a loop."""

    def lstm(self: recurrent.LSTM, x: Any, h: Any = None, c: Any = None) -> Any:
        if x.shape[1] == 1:
            return lstm_call(self, x, h, c)
        states = [] if h is None else [h, c]
        weights = self.project.kernel, self.project.bias, self.rnn.cell.recurrent_kernel
        y, *end = _marker("LSTM", x, self.units, 2, self.backwards, weights, states)
        return y, *end

    def gru(self: recurrent.BandGRU, x: Any, state: Any) -> Any:
        if x.shape[1] == 1:
            return gru_call(self, x, state)
        bands, channels = x.shape[2:]
        rows = tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (bands, -1, channels))
        cell = self.rnn.cell
        weights = self.project.kernel, self.project.bias, cell.recurrent_kernel, cell.bias
        states = [tf.reshape(state, (bands, self.units))]
        y, end = _marker("GRU", rows, self.units, 1, False, weights, states)
        y = tf.transpose(tf.reshape(y, (1, bands, -1, self.units)), (0, 2, 1, 3))
        return y, tf.reshape(end, (1, bands, self.units))

    lstm_call, gru_call = recurrent.LSTM.call, recurrent.BandGRU.call
    with (
        mock.patch.object(recurrent.LSTM, "call", lstm),
        mock.patch.object(recurrent.BandGRU, "call", gru),
    ):
        yield


def _marker(
    kind: str, x: Any, units: int, ends: int, backwards: bool, weights: Any, states: Any
) -> list[Any]:
    """Return the outputs [batch, frames, units], [batch, units] ... of an operation to be written.

    It is never run: NumPy's function stands for a node of ONNX.
    """
    inputs = [x, tf.constant(backwards), *map(tf.convert_to_tensor, weights), *states]
    outputs = tf.numpy_function(lambda *_: None, inputs, [tf.float32] * (1 + ends), name=kind)
    outputs[0].set_shape((x.shape[0], x.shape[1], units))
    for end in outputs[1:]:
        end.set_shape((x.shape[0], units))
    return outputs


def write(graph: Graph, operation: tf.Operation) -> list[str]:
    """Write a marker as an LSTM or a GRU."""
    x, backwards, *rest = operation.inputs
    kind = "LSTM" if operation.name.rpartition("/")[2].startswith("LSTM") else "GRU"
    count = 3 if kind == "LSTM" else 4
    kernel, bias, *recurrence = (graph.values[t.name] for t in rest[:count])
    units = recurrence[0].shape[0]
    gates = [0, 3, 1, 2] if kind == "LSTM" else [0, 1, 2]  # ONNX: input, output, forget, cell

    def ordered(matrix: np.ndarray) -> np.ndarray:
        parts = matrix.reshape(*matrix.shape[:-1], len(gates), units)[..., gates, :]
        return parts.reshape(*matrix.shape[:-1], -1).T[None]

    inner = np.zeros_like(bias)
    if kind == "GRU":
        inner[2 * units :] = recurrence[1]
    both = np.concatenate([ordered(bias), ordered(inner)], axis=-1)
    weights = map(graph.constant, (ordered(kernel), ordered(recurrence[0]), both))
    rows, frames, _ = x.shape
    states = [graph.reshaped(graph.name(t), (1, rows, units)) for t in rest[count:]]
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    y, *ends = graph.node(
        kind,
        graph.node("Transpose", graph.name(x), perm=[1, 0, 2]),
        *weights,
        *([""] if states else []),
        *states,
        outputs=len(operation.outputs),
        hidden_size=units,
        direction="reverse" if graph.values[backwards.name] else "forward",
        **more,
    )  # y [frames, 1, rows, units]
    y = graph.reshaped(graph.node("Transpose", y, perm=[2, 0, 3, 1]), (rows, frames, units))
    return [y, *(graph.reshaped(end, (rows, units)) for end in ends)]
