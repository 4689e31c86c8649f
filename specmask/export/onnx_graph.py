"""ONNX graphs of Keras models: TensorFlow's trace of a model, written operation by operation.

What depends on no input is evaluated, so that a step, whose shapes are all fixed, has no shape
arithmetic left. The operations that the step of our networks, targets and features can have:

    Add Sub Mul Div Pow Max Min, Neg Sqrt Exp Log Sigmoid Tanh Relu LeakyRelu (alpha) Softplus,
        with the broadcasting of NumPy
    MatMul      of 2 or more axes
    Conv        weights constant, bias or none; strides, dilations, pads
    Softmax     the last axis
    ReduceSum   axes as an input, keepdims;  ReduceMean: axes as an attribute
    Reshape Transpose Concat Slice Split Pad (zeros) Gather (one index): all numbers constant

Tensors are float32; axes, shapes and limits int64 initializers. Convolutions see [batch, channels,
frames, bins], everything else the order of the Keras model. Slices may end beyond the axis, and
their limits may be negative, as in NumPy. A whole model, whose number of frames is open, has more:
LSTM, GRU, Shape, Range, Where, Mod, Expand, Tile, ConvTranspose, MaxPool.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from specmask.export import onnx_operations, onnx_recurrent

OPSET = 15
OUTPUT = "Identity:0"  # of a model with one output: the name that it has had from the beginning
IR_VERSION = 8  # of the first ONNX with that opset; older runtimes refuse newer ones

# Arguments whose names differ between a graph and tf.raw_ops.
RENAMED = {"dim": "axis", "squeeze_dims": "axis"}
OF_SHAPES: dict[str, Callable] = {"Shape": np.array, "OnesLike": np.ones, "ZerosLike": np.zeros}
TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # the axis of channels


def model_of(model: keras.Model, signature: Sequence[keras.InputSpec]) -> Any:
    """Return a Keras model as an onnx.ModelProto.

    Args:
        model: its weights become constants; its outputs are a tensor or a dictionary of them.
        signature: of its inputs, the batch fixed; at most one axis of each tensor may be open.

    Raises:
        RuntimeError: if an operation of the network has no writer.
    """
    import onnx

    specs = [tf.TensorSpec(s.shape, s.dtype, name=s.name) for s in signature]
    many = len(specs) > 1

    def call(*inputs: Any) -> Any:
        return model(list(inputs) if many else inputs[0], training=False)

    with onnx_recurrent.markers():
        traced = tf.function(call, autograph=False).get_concrete_function(*specs)
    graph = Graph(onnx, traced)
    outputs = traced.structured_outputs
    outputs = outputs if isinstance(outputs, dict) else {OUTPUT: outputs}
    return graph.finished([s.name for s in signature], outputs)


class Graph:
    """An ONNX graph that is written from the trace of a model."""

    def __init__(self, onnx: Any, traced: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.made: dict[tuple, list[str]] = {}  # kind, inputs, attributes -> outputs of a node
        self.shapes: dict[str, list[int | None]] = {}
        self.unshaped: dict[str, str] = {}  # reshaped tensor -> the one before
        self.convs: dict[str, tuple] = {}  # output -> input, weights, attributes
        self.initializers: dict[tuple, Any] = {}  # value -> tensor
        self.values: dict[str, np.ndarray] = {}  # constant tensors of TensorFlow, by name
        self.names: dict[str, str] = {}  # other tensors of TensorFlow -> of ONNX
        self.channels_first: dict[str, str] = {}  # [batch, frames, bins, n] -> [batch, n, ...]
        self.inputs = traced.inputs[: len(traced.inputs) - len(traced.captured_inputs)]
        for x in self.inputs:
            self._set_name(x, x.op.name)
        handles = {id(v.handle): v for v in traced.variables}
        captured = traced.inputs[len(self.inputs) :]
        for inside, outside in zip(captured, traced.captured_inputs, strict=True):
            self.values[inside.name] = np.asarray(handles.get(id(outside), outside))
        for operation in traced.graph.get_operations():
            self._add(operation)

    def _add(self, operation: tf.Operation) -> None:
        """Evaluate an operation, or write it."""
        if operation.type in ("Placeholder", "NoOp"):
            return
        if operation.type == "ReadVariableOp":
            self.values[operation.outputs[0].name] = self.values[operation.inputs[0].name]
        elif (constant := self._evaluated(operation)) is not None:
            for tensor, value in zip(operation.outputs, constant, strict=True):
                self.values[tensor.name] = np.asarray(value)
        else:
            made = self._written(operation)
            for tensor, name in zip(operation.outputs, made, strict=True):
                self._set_name(tensor, name)

    def _set_name(self, tensor: tf.Tensor, name: str) -> None:
        self.names[tensor.name] = name
        if tensor.shape.rank is not None:
            self.shapes[name] = tensor.shape.as_list()

    def _evaluated(self, operation: tf.Operation) -> Sequence | None:
        """Return the outputs of an operation that depends on no input."""
        kind = operation.type
        if kind == "Const":
            return [tf.make_ndarray(operation.get_attr("value"))]
        if kind in OF_SHAPES and None not in operation.inputs[0].shape:
            dtype = operation.outputs[0].dtype.as_numpy_dtype
            return [OF_SHAPES[kind](operation.inputs[0].shape, dtype)]
        if kind == "PyFunc" or any(x.name not in self.values for x in operation.inputs):
            static = tf.get_static_value(operation.outputs[0])  # parts of open shapes
            return None if static is None else [static]
        definition, inputs = operation.op_def, list(operation.inputs)
        arguments, inferred = {}, set()
        for argument in definition.input_arg:
            inferred |= {argument.type_attr, argument.number_attr, argument.type_list_attr}
            count = operation.get_attr(argument.number_attr) if argument.number_attr else 1
            values = [self.values[inputs.pop(0).name] for _ in range(count)]
            name = RENAMED.get(argument.name, argument.name)
            arguments[name] = values if argument.number_attr else values[0]
        for setting in {a.name for a in definition.attr} - inferred:
            arguments[RENAMED.get(setting, setting)] = operation.get_attr(setting)
        found = getattr(tf.raw_ops, kind)(**arguments)
        return found if len(operation.outputs) > 1 else [found]

    def _written(self, operation: tf.Operation) -> list[str]:
        """Write an operation and return the names of its outputs."""
        writer = onnx_operations.WRITERS.get(operation.type)
        if writer is None:
            raise RuntimeError(
                f"{operation.name}: the operation {operation.type} of TensorFlow has no line in "
                "specmask/export/onnx_operations.py, which writes it as ONNX"
            )
        made = writer(self, operation)
        return [made] if isinstance(made, str) else made

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node, or find the same one, and return the name of its output, or the names."""
        key = kind, inputs, repr(attributes)
        if key not in self.made:
            names = [f"{kind.lower()}{len(self.nodes)}_{k}" for k in range(outputs)]
            self.nodes.append(self.onnx.helper.make_node(kind, inputs, names, **attributes))
            self.made[key] = names
        names = self.made[key]
        return names if outputs > 1 else names[0]

    def name(self, tensor: tf.Tensor) -> str:
        """Return the name of a tensor of TensorFlow, which may be constant."""
        if tensor.name in self.values:
            return self.constant(self.values[tensor.name])
        return self.names[tensor.name]

    def constant(self, values: Any) -> str:
        """Return the name of a constant; integers are int64, as axes and shapes have to be."""
        array = np.asarray(values)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self.initializers:
            tensor = self.onnx.numpy_helper.from_array(array, f"constant{len(self.initializers)}")
            self.initializers[key] = tensor
        return self.initializers[key].name

    def value(self, tensor: tf.Tensor) -> np.ndarray | None:
        """Return a constant of TensorFlow, None where it depends on an input."""
        return self.values.get(tensor.name)

    def reshaped(self, x: str, shape: Sequence[int | None]) -> str:
        """Return a tensor in a shape, of which one axis may be open."""
        shape = list(shape)
        x = self.unshaped.get(x, x)
        if None not in shape and self.shapes.get(x) == shape:
            return x
        if shape.count(None) > 1:
            raise RuntimeError(f"{x}: more than one open axis in the shape {shape}")
        sizes = np.array([-1 if n is None else n for n in shape], np.int64)
        y = self.node("Reshape", x, self.constant(sizes))
        self.unshaped[y], self.shapes[y] = x, shape
        return y

    def first(self, x: str) -> str:
        """Return [batch, frames, bins, channels] as [batch, channels, frames, bins]."""
        return self.channels_first.get(x) or self.node("Transpose", x, perm=TO_FIRST)

    def last(self, x: str) -> str:
        """Return [batch, channels, frames, bins] as [batch, frames, bins, channels].

        Where nobody needs that order, the node is left out at the end.
        """
        y = self.node("Transpose", x, perm=TO_LAST)
        self.channels_first[y] = x
        return y

    def finished(self, inputs: Sequence[str], outputs: dict[str, tf.Tensor]) -> Any:
        """Return the model with the names of its inputs and outputs."""
        helper = self.onnx.helper
        for tensor, name in zip(self.inputs, inputs, strict=True):
            if self.names[tensor.name] != name:
                raise RuntimeError(f"{name}: TensorFlow calls this input {tensor.op.name}")
        for name, tensor in outputs.items():
            self.nodes.append(helper.make_node("Identity", [self.name(tensor)], [name]))
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        made = _without_identities(kept[::-1], {*inputs, *(t.name for t in self.constants())})
        graph = helper.make_graph(
            made,
            "specmask",
            [_described(helper, x, name) for x, name in zip(self.inputs, inputs, strict=True)],
            [_described(helper, x, name) for name, x in outputs.items()],
            [t for t in self.constants() if t.name in needed],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version, model.producer_name = IR_VERSION, "specmask"
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def constants(self) -> list[Any]:
        """Return the constants so far."""
        return list(self.initializers.values())


def _described(helper: Any, tensor: tf.Tensor, name: str) -> Any:
    open_axis = "frames" if tensor.shape.rank > 2 else "samples"
    shape = [open_axis if n is None else n for n in tensor.shape]
    return helper.make_tensor_value_info(name, 1, shape)  # 1: float32


def _without_identities(nodes: list[Any], fixed: set[str]) -> list[Any]:
    """Give outputs their names at the node that makes them, where it makes one output only."""
    names: dict[str, str] = {}
    for node in nodes:
        if node.op_type == "Identity" and node.input[0] not in fixed | names.keys():
            names[node.input[0]] = node.output[0]
    kept = []
    for node in nodes:
        if node.op_type == "Identity" and names.get(node.input[0]) == node.output[0]:
            continue
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
        kept.append(node)
    return kept
