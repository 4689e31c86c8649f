"""Writers of TensorFlow's operations as operations of ONNX: a line each in WRITERS.

A writer takes the graph and the operation, adds nodes, and returns the names of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from specmask.export import onnx_recurrent

if TYPE_CHECKING:
    from specmask.export.onnx_graph import Graph

Writer = Callable[["Graph", tf.Operation], "str | list[str]"]
_END = np.iinfo(np.int64).max  # of a slice to the end


def _renamed(kind: str) -> Writer:
    """Return the writer of an operation where nothing but the name differs."""
    return lambda graph, operation: graph.node(kind, *map(graph.name, operation.inputs))


def _elementwise(kind: str) -> Writer:
    """Return the writer of a function of each element, in the order of axes that is there."""

    def write(graph: Graph, operation: tf.Operation) -> str:
        settings = {"alpha": operation.get_attr("alpha")} if kind == "LeakyRelu" else {}
        x = graph.name(operation.inputs[0])
        if x in graph.channels_first:
            return graph.last(graph.node(kind, graph.channels_first[x], **settings))
        return graph.node(kind, x, **settings)

    return write


def _reduced(kind: str) -> Writer:
    def write(graph: Graph, operation: tf.Operation) -> str:
        x, axes = operation.inputs
        keep = int(operation.get_attr("keep_dims"))
        numbers = np.ravel(graph.values[axes.name]).tolist()
        if kind == "ReduceSum":  # the only one of this opset whose axes are an input
            return graph.node(kind, graph.name(x), graph.constant(numbers), keepdims=keep)
        return graph.node(kind, graph.name(x), axes=numbers, keepdims=keep)

    return write


def _first_input(graph: Graph, operation: tf.Operation) -> str:
    return graph.name(operation.inputs[0])


def _bias(graph: Graph, operation: tf.Operation) -> str:
    x, bias = map(graph.name, operation.inputs)
    values = graph.value(operation.inputs[1])
    conv = graph.convs.get(graph.channels_first.get(x, ""))
    if conv and values is not None and values.ndim == 1:
        *inputs, settings = conv
        return graph.last(graph.node("Conv", *inputs, bias, **settings))
    return graph.node("Add", x, bias)


def _divide(graph: Graph, operation: tf.Operation) -> str:
    x, divisor = operation.inputs
    if (values := graph.value(divisor)) is None:
        return graph.node("Div", graph.name(x), graph.name(divisor))
    return graph.node("Mul", graph.name(x), graph.constant(1 / values))


def _square(graph: Graph, operation: tf.Operation) -> str:
    # Not x · x: by this form ONNX Runtime knows layer normalisation, and makes it one operation.
    return graph.node("Pow", graph.name(operation.inputs[0]), graph.constant(np.float32(2)))


def _squared_difference(graph: Graph, operation: tf.Operation) -> str:
    x = graph.node("Sub", *map(graph.name, operation.inputs))
    return graph.node("Mul", x, x)


def _rsqrt(graph: Graph, operation: tf.Operation) -> str:
    root = graph.node("Sqrt", graph.name(operation.inputs[0]))
    return graph.node("Div", graph.constant(np.float32(1)), root)


def _softmax(graph: Graph, operation: tf.Operation) -> str:
    return graph.node("Softmax", graph.name(operation.inputs[0]), axis=-1)


def _matmul(graph: Graph, operation: tf.Operation) -> str:
    flags = ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
    factors = []
    for tensor, flag in zip(operation.inputs, flags, strict=True):
        if not operation.get_attr(flag):
            factors.append(graph.name(tensor))
        elif (values := graph.value(tensor)) is not None:
            factors.append(graph.constant(np.swapaxes(values, -1, -2)))
        else:
            axes = [*range(tensor.shape.rank - 2), tensor.shape.rank - 1, tensor.shape.rank - 2]
            factors.append(graph.node("Transpose", graph.name(tensor), perm=axes))
    x, weights = factors
    whole = graph.unshaped.get(x, "")  # of a dense layer, whose input TensorFlow makes a matrix
    if whole in graph.shapes and graph.value(operation.inputs[1]) is not None:
        *before, channels = graph.shapes[whole]
        if None not in before and channels == operation.inputs[0].shape[-1]:
            y = graph.node("MatMul", whole, weights)
            graph.shapes[y] = [*before, operation.outputs[0].shape[-1]]
            return graph.reshaped(y, operation.outputs[0].shape)
    return graph.node("MatMul", x, weights)


def _reshape(graph: Graph, operation: tf.Operation) -> str:
    x, y = graph.name(operation.inputs[0]), operation.outputs[0]
    if y.shape.rank is None or y.shape.as_list().count(None) > 1:
        return graph.node("Reshape", x, graph.name(operation.inputs[1]))
    return graph.reshaped(x, y.shape)


def _transpose(graph: Graph, operation: tf.Operation) -> str:
    x, axes = graph.name(operation.inputs[0]), graph.values[operation.inputs[1].name].tolist()
    shape = operation.inputs[0].shape
    if None not in shape and (long := [n for n in axes if shape[n] > 1]) == sorted(long):
        return graph.reshaped(x, operation.outputs[0].shape)
    return graph.node("Transpose", x, perm=axes)


def _concat(graph: Graph, operation: tf.Operation) -> str:
    *parts, axis = operation.inputs
    if len(parts) == 1:
        return graph.name(parts[0])
    return graph.node("Concat", *map(graph.name, parts), axis=int(graph.values[axis.name]))


def _pack(graph: Graph, operation: tf.Operation) -> str:
    axis = operation.get_attr("axis")
    shape = [1 if n is None else n for n in operation.inputs[0].shape]  # open: see reshaped
    axis = axis if axis >= 0 else axis + len(shape) + 1
    parts = []
    for tensor in operation.inputs:
        wide = list(tensor.shape)
        wide.insert(axis, 1)
        parts.append(graph.reshaped(graph.name(tensor), wide))
    if len(parts) == 1:
        return parts[0]
    return graph.node("Concat", *parts, axis=axis)


def _unpack(graph: Graph, operation: tf.Operation) -> list[str]:
    x, axis = graph.name(operation.inputs[0]), operation.get_attr("axis")
    if len(operation.outputs) == 1:
        return [graph.reshaped(x, operation.outputs[0].shape)]
    count = range(len(operation.outputs))
    return [graph.node("Gather", x, graph.constant(k), axis=axis) for k in count]


def _split(graph: Graph, operation: tf.Operation) -> list[str]:
    axis, x = operation.inputs
    count = len(operation.outputs)
    if count == 1:
        return [graph.name(x)]
    axis = int(graph.values[axis.name])
    sizes = graph.constant([operation.outputs[k].shape[axis] for k in range(count)])
    return graph.node("Split", graph.name(x), sizes, axis=axis, outputs=count)


def _strided_slice(graph: Graph, operation: tf.Operation) -> str:
    """Write NumPy's basic indexing: a Gather of one index, or a Slice and a Reshape."""
    tensor, begin, end, strides = operation.inputs
    masks = {
        name: operation.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    steps = graph.values[strides.name]
    rows, axis, changed = [], 0, False  # rows: (axis, begin, end, step) of what is cut
    taken = sum(not masks["new_axis"] >> k & 1 for k in range(len(steps)))
    for k, step in enumerate(steps):
        if masks["ellipsis"] >> k & 1:
            axis += tensor.shape.rank - (taken - 1)
            continue
        if masks["new_axis"] >> k & 1:
            changed = True
            continue
        if masks["shrink_axis"] >> k & 1:
            start = _element(graph, begin, k)
            stop = (
                start + 1
                if isinstance(start, int)
                else graph.node("Add", start, graph.constant([1]))
            )
            stop = _END if stop == 0 else stop
            rows.append((axis, start, stop, 1))
            changed = True
        else:
            start = 0 if step > 0 else _END
            start = start if masks["begin"] >> k & 1 else _element(graph, begin, k)
            stop = _END if step > 0 else -_END
            stop = stop if masks["end"] >> k & 1 else _element(graph, end, k)
            if (start, stop, step) != (0, _END, 1):
                rows.append((axis, start, stop, int(step)))
        axis += 1
    x = graph.name(tensor)
    if len(rows) == 1 and masks["shrink_axis"] and not masks["new_axis"]:
        axis, index, *_ = rows[0]
        if isinstance(index, int) and tensor.shape[axis] != 1:
            return graph.node("Gather", x, graph.constant(np.int64(index)), axis=axis)
    rows = [r for r in rows if not (r[1:] == (0, 1, 1) and tensor.shape[r[0]] == 1)]
    if rows:
        axes, *limits, by = zip(*rows, strict=True)
        limits = [_vector(graph, limit) for limit in limits]
        x = graph.node("Slice", x, *limits, graph.constant(axes), graph.constant(by))
        shape = tensor.shape.as_list()
        for axis, start, stop, step in rows:
            size, shape[axis] = shape[axis], None
            if size is not None and isinstance(start, int) and isinstance(stop, int):
                shape[axis] = len(range(size)[start:stop:step])
        graph.shapes[x] = shape
    return graph.reshaped(x, operation.outputs[0].shape) if changed else x


def _element(graph: Graph, vector: tf.Tensor, k: int) -> int | str:
    """Return an element of a vector: a number, or the name of a tensor [1]."""
    found = tf.get_static_value(vector, partial=True)
    found = graph.value(vector) if found is None else found
    if found is not None and found[k] is not None:
        return int(found[k])
    return graph.node("Gather", graph.name(vector), graph.constant([k]), axis=0)


def _vector(graph: Graph, elements: Sequence[int | str]) -> str:
    if all(isinstance(x, int) for x in elements):
        return graph.constant(elements)
    parts = [x if isinstance(x, str) else graph.constant([x]) for x in elements]
    return graph.node("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def _pad(graph: Graph, operation: tf.Operation) -> str:
    x, paddings = operation.inputs
    values = graph.value(paddings)
    if values is None:  # [axes, 2] -> all beginnings, all ends
        pads = graph.node("Transpose", graph.name(paddings), perm=[1, 0])
        pads = graph.reshaped(pads, [None])
    elif not values.any():
        return graph.name(x)
    else:
        pads = graph.constant(values.T.ravel())
    return graph.node("Pad", graph.name(x), pads)


def _conv(graph: Graph, operation: tf.Operation) -> str:
    x, kernel = operation.inputs
    dilations = operation.get_attr("dilations")[1:3]
    if x.op.type == "SpaceToBatchND":  # how TensorFlow dilates
        blocks = graph.values[x.op.inputs[1].name].tolist()
        dilations = [*blocks, 1][:2]
        x = x.op.inputs[0]
    settings = {"strides": operation.get_attr("strides")[1:3], "dilations": dilations}
    if operation.get_attr("padding") == b"SAME":
        settings["auto_pad"] = "SAME_UPPER"
    elif x.op.type == "Pad" and (pads := graph.value(x.op.inputs[1])) is not None:
        x, settings["pads"] = x.op.inputs[0], pads[1:3].T.ravel().tolist()
    inputs = (
        graph.first(graph.name(x)),
        graph.constant(graph.values[kernel.name].transpose(3, 2, 0, 1)),
    )
    y = graph.node("Conv", *inputs, **settings)
    graph.convs[y] = *inputs, settings
    return graph.last(y)


def _batch_to_space(graph: Graph, operation: tf.Operation) -> str:
    """Pass on what comes out of a dilated convolution."""
    conv = operation.inputs[0].op
    crops = graph.value(operation.inputs[2])
    before = conv.inputs[0].op
    pads = graph.value(before.inputs[2]) if before.type == "SpaceToBatchND" else None
    if pads is not None and crops is not None and (pads != crops).any():
        raise RuntimeError(f"{operation.name}: a dilated convolution that pads")
    return graph.name(operation.inputs[0])


def _transposed_conv(graph: Graph, operation: tf.Operation) -> str:
    _, kernel, x = operation.inputs
    weights, steps = graph.values[kernel.name], operation.get_attr("strides")[1:3]
    if operation.get_attr("padding") != b"SAME":
        raise RuntimeError(f"{operation.name}: a transposed convolution that does not pad")
    more = [max(size - step, 0) for size, step in zip(weights.shape[:2], steps, strict=True)]
    before = [n // 2 for n in more]
    after = [n - b for n, b in zip(more, before, strict=True)]
    missing = [max(s - size, 0) for size, s in zip(weights.shape[:2], steps, strict=True)]
    y = graph.node(
        "ConvTranspose",
        graph.first(graph.name(x)),
        graph.constant(weights.transpose(3, 2, 0, 1)),
        strides=steps,
        pads=before + after,
        output_padding=missing,
    )
    return graph.last(y)


def _max_pool(graph: Graph, operation: tf.Operation) -> str:
    y = graph.node(
        "MaxPool",
        graph.first(graph.name(operation.inputs[0])),
        kernel_shape=operation.get_attr("ksize")[1:3],
        strides=operation.get_attr("strides")[1:3],
        auto_pad={b"SAME": "SAME_UPPER"}.get(operation.get_attr("padding"), "VALID"),
    )
    return graph.last(y)


def _gather(graph: Graph, operation: tf.Operation) -> str:
    x, indices, axis = operation.inputs
    axis = int(graph.values[axis.name])
    return graph.node("Gather", graph.name(x), graph.name(indices), axis=axis)


def _fill(graph: Graph, operation: tf.Operation) -> str:
    shape, value = operation.inputs
    return graph.node("Expand", graph.name(value), graph.name(shape))


def _like(graph: Graph, operation: tf.Operation) -> str:
    value = graph.constant(np.float32(operation.type == "OnesLike"))
    return graph.node("Expand", value, graph.node("Shape", graph.name(operation.inputs[0])))


def _cast(graph: Graph, operation: tf.Operation) -> str:
    types = graph.onnx.TensorProto
    kinds = {"f": types.FLOAT, "i": types.INT64, "b": types.BOOL}
    kind = np.dtype(operation.outputs[0].dtype.as_numpy_dtype).kind
    return graph.node("Cast", graph.name(operation.inputs[0]), to=kinds[kind])


def _reverse(graph: Graph, operation: tf.Operation) -> str:
    x, axes = graph.name(operation.inputs[0]), graph.values[operation.inputs[1].name]
    limits = [np.full(len(axes), n) for n in (-1, -_END)]
    return graph.node("Slice", x, *map(graph.constant, (*limits, axes, np.full(len(axes), -1))))


WRITERS: dict[str, Writer] = {
    "Identity": _first_input,
    "StopGradient": _first_input,
    "AddV2": _renamed("Add"),
    "Sub": _renamed("Sub"),
    "Mul": _renamed("Mul"),
    "Pow": _renamed("Pow"),
    "Maximum": _renamed("Max"),
    "Minimum": _renamed("Min"),
    "FloorMod": _renamed("Mod"),
    "SelectV2": _renamed("Where"),
    "GreaterEqual": _renamed("GreaterOrEqual"),
    "Range": _renamed("Range"),
    "Tile": _renamed("Tile"),
    "Shape": _renamed("Shape"),
    "Sqrt": _elementwise("Sqrt"),
    "Exp": _elementwise("Exp"),
    "Log": _elementwise("Log"),
    "Neg": _elementwise("Neg"),
    "Sigmoid": _elementwise("Sigmoid"),
    "Tanh": _elementwise("Tanh"),
    "Relu": _elementwise("Relu"),
    "LeakyRelu": _elementwise("LeakyRelu"),
    "Softplus": _elementwise("Softplus"),
    "Sum": _reduced("ReduceSum"),
    "Mean": _reduced("ReduceMean"),
    "Prod": _reduced("ReduceProd"),
    "BiasAdd": _bias,
    "RealDiv": _divide,
    "Square": _square,
    "SquaredDifference": _squared_difference,
    "Rsqrt": _rsqrt,
    "Softmax": _softmax,
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "ExpandDims": _reshape,
    "Transpose": _transpose,
    "ConcatV2": _concat,
    "Pack": _pack,
    "Unpack": _unpack,
    "Split": _split,
    "StridedSlice": _strided_slice,
    "Pad": _pad,
    "Conv2D": _conv,
    "SpaceToBatchND": _first_input,
    "BatchToSpaceND": _batch_to_space,
    "Conv2DBackpropInput": _transposed_conv,
    "MaxPool": _max_pool,
    "GatherV2": _gather,
    "Fill": _fill,
    "OnesLike": _like,
    "ZerosLike": _like,
    "Cast": _cast,
    "ReverseV2": _reverse,
    "PyFunc": onnx_recurrent.write,
}
