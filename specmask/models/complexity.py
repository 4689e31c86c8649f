"""Complexity of a network: parameters, multiply-adds per second of audio, look-ahead."""

import math
from typing import Any

import keras
import tensorflow as tf

from specmask.config.schema import Config

FRAMES = 256  # counted, with the padding to whole windows, since it is computed too


def description(model: keras.Model, config: Config) -> str:
    """Return name and complexity of a network as a line of text."""
    late_ms = 1000 * config.lookahead_frames * config.hop_length / config.data.sample_rate
    return (
        f"{config.model.network}, {parameters(model):,} parameters, "
        f"{multiply_adds(model, config) / 1e6:.1f} M multiply-adds per second of audio"
        + (f", {late_ms:g} ms of look-ahead" if late_ms else "")
    )


def parameters(model: keras.Model) -> int:
    """Return the number of weights that are trained."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def multiply_adds(model: keras.Model, config: Config) -> float:
    """Return the multiply-adds per second of audio of one channel, in products and convolutions.

    Element-wise operations are left out, as is usual. The traced graph is counted, so that no
    operation is forgotten; the body of a loop counts once per frame.

    Args:
        model: of a :class:`specmask.models.Network`.
        config: what it was built from.
    """
    noisy, *states = model.inputs
    specs = [tf.TensorSpec((1, FRAMES, *noisy.shape[2:]))]
    specs += [tf.TensorSpec((1, *x.shape[1:])) for x in states]
    graph = tf.function(lambda *x: model(list(x))).get_concrete_function(*specs).graph
    frames_a_second = config.data.sample_rate / config.hop_length
    return _count(graph) / FRAMES * frames_a_second


def _count(graph: Any) -> float:
    total = 0.0
    for op in graph.get_operations():
        if op.type in ("While", "StatelessWhile"):
            total += FRAMES * _count(inner_graph(graph, op, "body"))
        elif op.type in COUNTED:
            total += COUNTED[op.type](op)
    return total


def inner_graph(graph: Any, op: Any, attribute: str) -> Any:
    """Return the graph of a function that an operation of a traced graph names."""
    # TensorFlow has no public way to it; test_models counts a loop by hand.
    return graph._get_function(op.get_attr(attribute).name).graph


def _product(op: Any) -> float:
    """[..., n, k] times [..., k, m]: k for every value of the result."""
    transposed = any(
        op.get_attr(name) for name in ("transpose_a", "adj_x") if name in op.node_def.attr
    )
    return _size(op.outputs[0]) * op.inputs[0].shape[-2 if transposed else -1]


def _convolution(op: Any) -> float:
    """Height x width x input channels of the kernel for every value of the result."""
    return _size(op.outputs[0]) * math.prod(op.inputs[1].shape[:3])


def _transposed(op: Any) -> float:
    """Height x width x output channels of the kernel for every value of the input."""
    return _size(op.inputs[2]) * math.prod(op.inputs[1].shape[:3])


def _size(tensor: Any) -> int:
    return math.prod(tensor.shape)


COUNTED = {
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
}
