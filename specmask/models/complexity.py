"""What a network costs: parameters, multiply-adds for each second of audio, and look-ahead."""

import math
from typing import Any

import keras
import tensorflow as tf

from specmask.config.schema import Config

FRAMES = 256  # that are counted; padding to whole windows counts too, since it is computed


def description(model: keras.Model, config: Config) -> str:
    """Return what a network is and costs, for people."""
    late_ms = 1000 * config.lookahead_frames * config.hop_length / config.data.sample_rate
    return (
        f"{config.model.network}, {parameters(model):,} parameters, "
        f"{multiply_adds(model, config) / 1e6:.1f} M multiply-adds a second of audio"
        + (f", {late_ms:g} ms of look-ahead" if late_ms else "")
    )


def parameters(model: keras.Model) -> int:
    """Return the number of weights that are trained."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def multiply_adds(model: keras.Model, config: Config) -> float:
    """Return the multiply-adds a second of matrix products and convolutions, one channel.

    Element-wise operations are left out, as is usual. Counted in the traced graph, so nothing
    that a network does can be forgotten; the body of a loop counts once a frame.

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
            total += FRAMES * _count(_body(graph, op))
        elif op.type in COUNTED:
            total += COUNTED[op.type](op)
    return total


def _body(graph: Any, op: Any) -> Any:
    return graph._get_function(op.get_attr("body").name).graph


def _product(op: Any) -> float:
    """[..., n, k] times [..., k, m]: every value of the result takes k."""
    transposed = any(
        op.get_attr(name) for name in ("transpose_a", "adj_x") if name in op.node_def.attr
    )
    return _size(op.outputs[0]) * op.inputs[0].shape[-2 if transposed else -1]


def _convolution(op: Any) -> float:
    """Every value of the result takes the kernel's height x width x input channels."""
    return _size(op.outputs[0]) * math.prod(op.inputs[1].shape[:3])


def _transposed(op: Any) -> float:
    """Every value of the input gives the kernel's height x width x output channels."""
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
