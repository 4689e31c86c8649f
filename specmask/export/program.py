"""Programs: an exported step for the runtime in C, as operations on one array of floats.

The step is read from ONNX. What does not depend on the input is computed here; shapes are fixed.
Transposing, slicing, reshaping and broadcasting cost nothing later: they are views, and NumPy does
their arithmetic, on arrays whose values are never read. What remains are element by element
functions and matrix products (see native/specmask.c), in memory that is reused as soon as its
content is no longer needed.

Conventions:
    A program is little-endian words of 32 bits: a header, operations, float32 constants. Offsets
    and strides are in floats; an offset below zero is that of a constant, ~offset.
"""

import bisect
import itertools
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask.enhancement.runtimes import METADATA_KEY, NEXT, Description
from specmask.errors import UserError

MAGIC, VERSION, HEADER_WORDS = b"SPMK", 1, 23
DIMENSIONS = 4  # of an operation
NONE = -(2**31)  # offset of no view
ALIGNMENT = 16  # of tensors, in floats

# In the order of enum function in specmask.c.
FUNCTIONS = [
    *("copy", "negate", "absolute", "square_root", "reciprocal", "exponential", "logarithm"),
    *("tanh", "sigmoid", "relu", "leaky_relu", "softplus"),
    *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum"),
    *("greater", "greater_or_equal", "equal", "select", "sum", "largest", "matrix_product"),
]
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "softplus")
ELEMENTWISE = {
    "Neg": "negate",
    "Sqrt": "square_root",
    "Exp": "exponential",
    "Log": "logarithm",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Softplus": "softplus",
    "Add": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "Div": "divide",
    "Max": "maximum",
    "Min": "minimum",
    "GreaterOrEqual": "greater_or_equal",
    "Where": "select",
}


@dataclass(eq=False)
class Buffer:
    """A part of memory, or a constant.

    Attributes:
        values: a constant's, else of no meaning.
        constant: whether it is one.
        kept: whether its place is used for nothing else.
        offset: its place.
    """

    values: np.ndarray
    constant: bool = False
    kept: bool = False
    offset: int = 0


@dataclass(eq=False)
class Operation:
    """out = f(inputs): views of one shape; of a matrix product, see :meth:`Program.product`."""

    function: str
    out: np.ndarray
    inputs: list[np.ndarray]
    parameter: float = 0.0
    activation: str = "copy"
    bias: np.ndarray | None = None
    is_state: bool = False  # whether it writes the state of the next frame

    @property
    def reads(self) -> list[np.ndarray]:
        """All views that it reads."""
        return [*self.inputs, *([] if self.bias is None else [self.bias])]


class Program:
    """A step while it is translated.

    Args:
        graph: the graph of an ONNX model.

    Raises:
        UserError: if it has an operation that the runtime lacks.
    """

    def __init__(self, graph: Any):
        from onnx import helper, numpy_helper

        self.buffers: list[Buffer] = []
        self.starts: list[int] = []  # addresses, in order
        self.buffers_by_start: dict[int, Buffer] = {}
        self.constants: dict[tuple[bytes, tuple], np.ndarray] = {}
        self.operations: list[Operation] = []
        # Name -> what it stands for: a view of a buffer, or a constant.
        self.views: dict[str, np.ndarray] = {}
        self.known: dict[str, np.ndarray] = {
            x.name: numpy_helper.to_array(x) for x in graph.initializer
        }
        for x in graph.input:
            if x.name not in self.known:
                shape = [d.dim_value or 1 for d in x.type.tensor_type.shape.dim]
                self.views[x.name] = self.new(shape, kept=True)
        self.states = {name: view for name, view in self.views.items() if name != "noisy"}
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            self.translate(node, attributes)
        self.mask = self.copied(self.view("mask"), kept=True)
        ends = {name: self.view(name + NEXT) for name in self.states}
        for name, end in ends.items():  # before any state is overwritten
            if any(self.buffer(end) is self.buffer(state) for state in self.states.values()):
                ends[name] = self.copied(end)
        for name, end in ends.items():
            state = self.states[name]
            self.operations.append(Operation("copy", state, [end.reshape(state.shape)]))
            self.operations[-1].is_state = True
        self.fuse()

    # ------------------------------------------------------------ buffers and views

    def new(self, shape: Sequence[int], like: Any = None, kept: bool = False) -> np.ndarray:
        """Return a new tensor, with its dimensions in memory in the order of a view's."""
        order = list(range(len(shape)))
        if like is not None:
            order.sort(key=lambda i: -abs(like.strides[i]))
        values = np.empty([shape[i] for i in order], np.float32)
        self.add(Buffer(values, kept=kept))
        return values.transpose(np.argsort(order)) if len(order) else values

    def constant(self, values: Any) -> np.ndarray:
        """Return a constant; equal ones share their memory."""
        values = np.ascontiguousarray(values, np.float32)
        key = values.tobytes(), values.shape
        if key not in self.constants:
            self.constants[key] = values.copy()
            self.add(Buffer(self.constants[key], constant=True, kept=True))
        return self.constants[key]

    def add(self, buffer: Buffer) -> None:
        """Add a buffer."""
        start = address(buffer.values)
        self.buffers.append(buffer)
        self.buffers_by_start[start] = buffer
        bisect.insort(self.starts, start)

    def buffer(self, view: np.ndarray) -> Buffer:
        """Return the buffer of a view."""
        at = address(view)
        place = bisect.bisect(self.starts, at) - 1
        return self.buffers_by_start[self.starts[place]]

    def view(self, name: str) -> np.ndarray:
        """Return a tensor, constant or not."""
        return self.views[name] if name in self.views else self.constant(self.known[name])

    def emit(
        self, function: str, out: np.ndarray, *inputs: np.ndarray, parameter: float = 0
    ) -> np.ndarray:
        """Add an operation; its inputs are broadcast."""
        views = [np.broadcast_to(x, out.shape) for x in inputs]
        self.operations.append(Operation(function, out, views, parameter))
        return out

    def apply(self, function: str, *inputs: np.ndarray, parameter: float = 0) -> np.ndarray:
        """Return f(inputs) in a new tensor."""
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        full = [x for x in inputs if x.shape == shape]
        variable = [x for x in full if not self.buffer(x).constant]
        out = self.new(shape, like=next(iter(variable or full), None))
        return self.emit(function, out, *inputs, parameter=parameter)

    def copied(self, x: np.ndarray, kept: bool = False) -> np.ndarray:
        """Return a copy without gaps, the dimensions in order."""
        if self.buffer(x).constant:
            return self.constant(x)
        return self.emit("copy", self.new(x.shape, kept=kept), x)

    def reshaped(self, x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return a tensor in another shape, copied only if it has to be."""
        y = x.reshape(shape)
        return y if np.may_share_memory(x, y) else self.copied(x).reshape(shape)

    # ------------------------------------------------------------ ONNX

    def translate(self, node: Any, attributes: dict[str, Any]) -> None:
        """Translate a node, or compute it where its inputs are known."""
        names = list(node.input)
        if all(name in self.known for name in names if name):
            from onnx.reference import ReferenceEvaluator

            feeds = {name: self.known[name] for name in names if name}
            values = ReferenceEvaluator(node).run(None, feeds)
            self.known |= dict(zip(node.output, map(np.asarray, values), strict=True))
        else:
            method: Callable | None = getattr(self, f"onnx_{node.op_type.lower()}", None)
            if node.op_type in ELEMENTWISE:
                function = ELEMENTWISE[node.op_type]
                parameter = attributes.get("alpha", 0.01) if function == "leaky_relu" else 0
                found = self.apply(function, *map(self.view, names), parameter=parameter)
            elif method:
                found = method(names, attributes)
            else:
                raise UserError(
                    f"{node.op_type}: an operation that the runtime in C does not have; "
                    "choose other formats by --format"
                )
            results = found if isinstance(found, list) else [found]
            self.views |= dict(zip(node.output, results, strict=False))

    def numbers(self, name: str) -> list[int]:
        """Return whole numbers that are an input."""
        return [int(x) for x in np.ravel(self.known[name])]

    def onnx_identity(self, names: list[str], _: dict) -> np.ndarray:
        return self.view(names[0])

    onnx_cast = onnx_identity  # truth values are 0 and 1

    def onnx_reshape(self, names: list[str], _: dict) -> np.ndarray:
        return self.reshaped(self.view(names[0]), self.numbers(names[1]))

    def onnx_transpose(self, names: list[str], attributes: dict) -> np.ndarray:
        return self.view(names[0]).transpose(attributes["perm"])

    def onnx_slice(self, names: list[str], _: dict) -> np.ndarray:
        x = self.view(names[0])
        cut = [slice(None)] * x.ndim
        starts, ends, axes, steps = map(self.numbers, names[1:])
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            cut[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
        return x[tuple(cut)]

    def onnx_split(self, names: list[str], attributes: dict) -> list[np.ndarray]:
        ends = np.cumsum(self.numbers(names[1]))
        return np.split(self.view(names[0]), ends[:-1], attributes["axis"])

    def onnx_gather(self, names: list[str], attributes: dict) -> np.ndarray:
        x, axis = self.view(names[0]), attributes["axis"]
        index = np.asarray(self.known[names[1]])
        if index.ndim == 0:
            return np.moveaxis(x, axis, 0)[int(index)]
        parts = [np.moveaxis(x, axis, 0)[i : i + 1 or None] for i in index.ravel().tolist()]
        y = self.joined([np.moveaxis(part, 0, axis) for part in parts], axis)
        return self.reshaped(y, [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])

    def onnx_concat(self, names: list[str], attributes: dict) -> np.ndarray:
        return self.joined([self.view(name) for name in names], attributes["axis"])

    def joined(self, parts: list[np.ndarray], axis: int) -> np.ndarray:
        """Return views one after the other along an axis."""
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        out = self.new(shape, like=max(parts, key=lambda part: part.size))
        ends = np.cumsum([part.shape[axis] for part in parts])
        for part, place in zip(parts, np.split(out, ends[:-1], axis), strict=True):
            self.emit("copy", place, part)
        return out

    def onnx_pad(self, names: list[str], _: dict) -> np.ndarray:
        x, pads = self.view(names[0]), self.numbers(names[1])
        before, after = pads[: x.ndim], pads[x.ndim :]
        # memory is zero at the start, and nothing else is written to it
        shape = [b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]
        out = self.new(shape, like=x, kept=True)
        self.emit(
            "copy", out[tuple(slice(b, b + n) for b, n in zip(before, x.shape, strict=True))], x
        )
        return out

    def onnx_pow(self, names: list[str], _: dict) -> np.ndarray:
        x, exponent = self.view(names[0]), self.view(names[1])
        value = self.known.get(names[1])
        if value is not None and np.size(value) == 1 and float(np.ravel(value)[0]) in (2, 0.5):
            return (
                self.apply("multiply", x, x)
                if float(np.ravel(value)[0]) == 2
                else self.apply("square_root", x)
            )
        return self.apply("power", x, exponent)

    # ------------------------------------------------------------ reductions

    def reduced(self, x: np.ndarray, axes: Any, function: str, keep: bool = True) -> np.ndarray:
        """Return the sum, mean or largest over axes."""
        axes = {axis % x.ndim for axis in axes}
        out = self.new([1 if i in axes else n for i, n in enumerate(x.shape)])
        self.emit("copy", out, self.constant(-3e38 if function == "largest" else 0))
        count = int(np.prod([x.shape[axis] for axis in axes]))
        parameter = 1 / count if function == "mean" else 1
        self.emit(
            "sum" if function == "mean" else function,
            np.broadcast_to(out, x.shape),
            x,
            parameter=parameter,
        )
        return out if keep else out.squeeze(tuple(axes))

    def onnx_reducesum(self, names: list[str], attributes: dict) -> np.ndarray:
        axes = self.numbers(names[1])
        return self.reduced(self.view(names[0]), axes, "sum", bool(attributes["keepdims"]))

    def onnx_reducemean(self, names: list[str], attributes: dict) -> np.ndarray:
        axes = attributes["axes"]
        return self.reduced(self.view(names[0]), axes, "mean", bool(attributes["keepdims"]))

    def onnx_softmax(self, names: list[str], attributes: dict) -> np.ndarray:
        x, axis = self.view(names[0]), attributes["axis"]
        x = self.apply("exponential", self.apply("subtract", x, self.reduced(x, [axis], "largest")))
        return self.apply("divide", x, self.reduced(x, [axis], "sum"))

    # ------------------------------------------------------------ matrix products

    def product(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Add out[o, i, m, n] = Σ over k, l of a[o, i, m, k, l] · b[o, i, k, l, n]."""
        self.operations.append(Operation("matrix_product", out, [a, b]))
        return out

    def onnx_matmul(self, names: list[str], _: dict) -> np.ndarray:
        return self.multiplied(self.view(names[0]), self.view(names[1]))

    def multiplied(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the matrix product [..., m, n] of [..., m, k] and [..., k, n]."""
        if b.shape[-1] > 1 and b.strides[-1] != b.itemsize:
            b = self.copied(b)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = self.new([*batch, a.shape[-2], b.shape[-1]])
        a = np.broadcast_to(a, [*batch, *a.shape[-2:]])
        b = np.broadcast_to(b, [*batch, *b.shape[-2:]])
        # Batches that share b are rows of one product.
        sizes = [*batch, a.shape[-2]]
        strides = [[*x.strides[:-1]] for x in (a, b, out)]
        strides[1][-1] = 0
        sizes, strides = merged(sizes, strides)
        shared = [i for i in range(len(sizes)) if strides[1][i] == 0]
        rows = shared[-1] if shared else None
        others = [i for i in range(len(sizes)) if i != rows]
        if len(others) > 2:
            raise UserError("MatMul: more than two batches; choose other formats by --format")
        order = [None] * (2 - len(others)) + others + [rows]
        size, (a_at, b_at, out_at) = (
            [1 if i is None else sizes[i] for i in order],
            ([0 if i is None else stride[i] for i in order] for stride in strides),
        )
        k, n = b.shape[-2:]
        self.product(
            strided(a, [*size, 1, k], [*a_at, 0, a.strides[-1]]),
            strided(b, [*size[:2], 1, k, n], [*b_at[:2], 0, b.strides[-2], b.itemsize]),
            strided(out, [*size, n], [*out_at, out.itemsize]),
        )
        return out

    def onnx_conv(self, names: list[str], attributes: dict) -> np.ndarray:
        """A convolution as a matrix product whose rows overlap: [1, channels, height, width]."""
        x, kernel = self.view(names[0]), self.known[names[1]]
        strides, dilations = attributes["strides"], attributes["dilations"]
        rows, width = kernel.shape[2:]
        reach = (rows - 1) * dilations[0], (width - 1) * dilations[1]
        if x.shape[0] != 1 or (width > 1 and dilations[1] != 1):
            raise UserError(
                "Conv: batches, and dilation along frequency, are not in the runtime in C; "
                "choose other formats by --format"
            )
        pads = attributes.get("pads", [0] * 4)
        before, after = pads[:2], pads[2:]
        if "auto_pad" in attributes:  # half of the zeros at both ends, the odd one at the second
            missing = [
                max(0, (-(-n // s) - 1) * s + r + 1 - n)
                for n, s, r in zip(x.shape[2:], strides, reach, strict=True)
            ]
            before, after = [m // 2 for m in missing], [m - m // 2 for m in missing]
        x = x[0].transpose(1, 2, 0)  # [height, width, channels], as it is in memory
        height, bins, channels = x.shape
        out_rows = (height + before[0] + after[0] - reach[0] - 1) // strides[0] + 1
        out_width = (bins + before[1] + after[1] - reach[1] - 1) // strides[1] + 1
        step = dilations[0]
        if out_rows == 1:  # one frame: only the rows that it sees
            places = [row * step - before[0] for row in range(rows)]
            if all(0 <= place < height for place in places):
                x = x[places[0] : places[-1] + 1 : step]
                height, before[0], after[0], step = rows, 0, 0, 1
        if any(before) or any(after) or x.strides[1:] != (channels * x.itemsize, x.itemsize):
            shape = [height + before[0] + after[0], bins + before[1] + after[1], channels]
            padded = self.new(shape, kept=any(before) or any(after))
            inner = padded[before[0] : before[0] + height, before[1] : before[1] + bins]
            self.emit("copy", inner, x)
            x = padded
        filters = len(kernel)
        weights = kernel.transpose(2, 3, 1, 0).reshape(rows, width * channels, filters)
        weights = self.constant(weights)
        out = self.new([1, out_rows, out_width, filters])
        down, along = x.strides[:2]
        self.product(
            strided(
                x,
                [1, out_rows, out_width, rows, width * channels],
                [0, strides[0] * down, strides[1] * along, step * down, x.itemsize],
            ),
            strided(weights, [1, out_rows, *weights.shape], [0, 0, *weights.strides]),
            out,
        )
        y = out.transpose(0, 3, 1, 2)
        if len(names) > 2:
            y = self.apply("add", y, self.constant(self.known[names[2]][:, None, None]))
        return y

    # ------------------------------------------------------------ fusing

    def fuse(self) -> None:
        """Let producers write where a copy would bring it; biases and activations into products."""
        before = None
        while before != len(self.operations):
            before = len(self.operations)
            writers: dict[Buffer, list[Operation]] = defaultdict(list)
            readers: dict[Buffer, list[Operation]] = defaultdict(list)
            for operation in self.operations:
                writers[self.buffer(operation.out)].append(operation)
                for view in operation.reads:
                    readers[self.buffer(view)].append(operation)
            for consumer in list(self.operations):
                producer = self._fused(consumer, writers, readers)
                if producer:
                    self.operations.remove(consumer)
                    written = writers[self.buffer(consumer.out)]
                    written[written.index(consumer)] = producer

    def _fused(
        self,
        consumer: Operation,
        all_writers: dict[Buffer, list[Operation]],
        all_readers: dict[Buffer, list[Operation]],
    ) -> Operation | None:
        """Return the operation that has taken this one's work, if any."""
        if consumer.is_state or consumer.function not in ("copy", "add", *ACTIVATIONS):
            return None
        for place, x in enumerate(consumer.inputs):
            buffer = self.buffer(x)
            writers, readers = all_writers[buffer], all_readers[buffer]
            if buffer.kept or len(writers) != 1 or len(readers) != 1:
                continue
            (producer,) = writers
            is_product = producer.function == "matrix_product"
            if producer.function in ("sum", "largest") or producer.out.size != buffer.values.size:
                continue
            if consumer.function != "copy" and (not is_product or producer.activation != "copy"):
                continue
            out = moved(producer.out, x, consumer.out)
            bias = None
            if consumer.function == "add":
                other = consumer.inputs[1 - place]
                bias = moved(producer.out, x, other) if self.buffer(other).constant else None
                if bias is None or producer.bias is not None or any(bias.strides[:-1]):
                    continue
            if out is None or (is_product and out.shape[-1] > 1 and out.strides[-1] != 4):
                continue
            if bias is not None and bias.shape[-1] > 1 and bias.strides[-1] != 4:
                bias = self.constant(np.array(bias[0, 0, 0]))
            producer.out = out
            if consumer.function == "add":
                producer.bias = bias
            elif consumer.function != "copy":
                producer.activation, producer.parameter = consumer.function, consumer.parameter
            return producer
        return None

    # ------------------------------------------------------------ memory

    def place(self) -> tuple[int, np.ndarray]:
        """Give every buffer its place; return the size of the memory, and the constants."""
        life: dict[Buffer, list[int]] = {}
        for time, operation in enumerate(self.operations):
            for view in (operation.out, *operation.reads):
                life.setdefault(self.buffer(view), []).append(time)
        end = 0
        constants: list[np.ndarray] = []
        at = 0
        for buffer in self.buffers:
            if buffer.constant:
                if buffer in life:
                    buffer.offset = at
                    constants.append(buffer.values.ravel())
                    at += buffer.values.size
            elif buffer.kept:
                buffer.offset = end
                end += rounded(buffer.values.size)
        placed: list[Buffer] = []
        size = end
        for buffer in sorted(
            (b for b in life if not b.kept), key=lambda b: (-b.values.size, life[b][0])
        ):
            neighbours = sorted(
                (other.offset, other.offset + rounded(other.values.size))
                for other in placed
                if life[other][0] <= life[buffer][-1] and life[buffer][0] <= life[other][-1]
            )
            offset = end
            for start, stop in neighbours:
                if start - offset >= rounded(buffer.values.size):
                    break
                offset = max(offset, stop)
            buffer.offset = offset
            placed.append(buffer)
            size = max(size, offset + rounded(buffer.values.size))
        return size, np.concatenate([*constants, np.zeros(0, np.float32)])

    def offset(self, view: np.ndarray) -> int:
        """Return a view's place in memory, or ~place in the constants."""
        buffer = self.buffer(view)
        offset = buffer.offset + (address(view) - address(buffer.values)) // 4
        return ~offset if buffer.constant else offset

    def encode(self, operation: Operation) -> list[int]:
        """Return the words of an operation."""
        function = FUNCTIONS.index(operation.function)
        parameter = struct.unpack("<i", struct.pack("<f", operation.parameter))[0]
        if operation.function == "matrix_product":
            a, b = operation.inputs
            out, bias = operation.out, operation.bias
            words = [FUNCTIONS.index(operation.activation), *a.shape, b.shape[-1]]
            words += [self.offset(out), *floats(out.strides[:3])]
            words += [self.offset(a), *floats(a.strides)]
            words += [self.offset(b), *floats([*b.strides[:2], b.strides[3]])]
            words += [NONE if bias is None else self.offset(bias)]
            return [function, len(words) + 3, parameter, *words]
        views = [operation.out, *operation.inputs]
        first = operation.inputs[0] if operation.function in ("sum", "largest") else operation.out
        order = sorted(range(first.ndim), key=lambda i: -abs(first.strides[i]))
        sizes = [first.shape[i] for i in order]
        sizes, strides = merged(sizes, [[x.strides[i] for i in order] for x in views])
        missing = DIMENSIONS - len(sizes)
        if missing < 0:
            raise UserError(
                f"a tensor of {len(sizes)} dimensions that cannot be joined is not in the runtime "
                "in C; choose other formats by --format"
            )
        words = [1] * missing + sizes
        for view, stride in zip(views, strides, strict=True):
            words += [self.offset(view), *[0] * missing, *floats(stride)]
        return [function, len(words) + 3, parameter, *words]


def address(view: np.ndarray) -> int:
    """Return the address of a view's first element."""
    return int(view.__array_interface__["data"][0])


def rounded(size: int) -> int:
    """Return a size, rounded up for alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def floats(strides: Sequence[int]) -> list[int]:
    """Return strides in bytes as such in floats."""
    return [stride // 4 for stride in strides]


def strided(x: np.ndarray, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Return a view from the start of another, strides in bytes."""
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def merged(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list, list[list]]:
    """Join dimensions that follow each other in all views, and drop those of one element.

    >>> merged([2, 1, 3, 4], [[12, 9, 4, 1], [0, 9, 4, 1]])
    ([2, 12], [[12, 1], [0, 1]])
    """
    sizes_left: list[int] = []
    left: list[list[int]] = [[] for _ in strides]
    for i, size in enumerate(sizes):
        if size == 1:
            continue
        if sizes_left and all(x[-1] == s[i] * size for x, s in zip(left, strides, strict=True)):
            sizes_left[-1] *= size
            for x, s in zip(left, strides, strict=True):
                x[-1] = s[i]
        else:
            sizes_left.append(size)
            for x, s in zip(left, strides, strict=True):
                x.append(s[i])
    return sizes_left, left


def moved(produced: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Return where a producer has to write what is copied from source to target.

    Args:
        produced: the view that it writes; it fills its buffer.
        source: another view of all of this buffer.
        target: of the shape of source.

    Returns:
        a view of the shape of ``produced``, or None where there is no such view.
    """
    if source.size != produced.size:
        return None
    order = sorted(range(source.ndim), key=lambda i: -source.strides[i])
    sizes, (old, new) = merged(
        [source.shape[i] for i in order], [[x.strides[i] for i in order] for x in (source, target)]
    )
    dense = source.itemsize
    for size, stride in zip(reversed(sizes), reversed(old), strict=True):
        if stride != dense:
            return None
        dense *= size
    strides = []
    for size, stride in zip(produced.shape, produced.strides, strict=True):
        if size == 1:
            strides.append(0)
            continue
        for n, a, b in zip(sizes, old, new, strict=True):
            if a <= stride and stride * size <= a * n and stride % a == 0:
                strides.append(b * (stride // a))
                break
        else:
            return None
    return strided(target, produced.shape, strides)


def make(model: Any, description: Description) -> bytes:
    """Return the program of a step.

    Args:
        model: in ONNX, as export.py writes it.
        description: of the step.

    Raises:
        UserError: if the runtime in C cannot run it.
    """
    stft = description.stft
    if stft.n_fft % 2:
        raise UserError(
            f"[STFT] n_fft = {stft.n_fft}: the runtime in C expects an even one; "
            "choose other formats by --format"
        )
    program = Program(model.graph)
    turns = 2 * np.pi * np.arange(stft.n_fft) / stft.n_fft
    arrays = [stft.window, stft.synthesis_window, np.cos(turns), -np.sin(turns)]
    arena, constants = program.place()
    operations = list(itertools.chain.from_iterable(map(program.encode, program.operations)))
    lengths = np.cumsum([len(constants), *map(len, arrays)])
    constants = np.concatenate([constants, *arrays]).astype("<f4")
    words = HEADER_WORDS + len(operations) + len(constants)
    knobs = description.knobs
    body = struct.pack("<5i", description.sample_rate, stft.window_length, stft.hop_length,
                       stft.n_fft, description.lookahead_frames)  # fmt: skip
    body += struct.pack("<3f", knobs.mix, knobs.max_suppression_db, knobs.gain)
    body += struct.pack(
        "<11i", arena, program.offset(program.views["noisy"]), program.offset(program.mask),
        HEADER_WORDS, len(operations), HEADER_WORDS + len(operations), len(constants),
        *lengths[:-1],
    )  # fmt: skip
    body += np.array(operations, "<i4").tobytes() + constants.tobytes()
    return MAGIC + struct.pack("<2iI", VERSION, words, checksum(body)) + body


def checksum(body: bytes) -> int:
    """Σ (2i + 1) · word i of 32-bit words, modulo 2^32: one damaged word always changes it."""
    words = np.frombuffer(body, "<u4").astype(np.uint32)
    weights = 2 * np.arange(len(words), dtype=np.uint32) + np.uint32(1)
    return int(np.sum(words * weights, dtype=np.uint32))


def from_onnx(path: Path) -> bytes:
    """Return the program of a step.onnx of export.py."""
    import onnx

    model = onnx.load(path)
    text = {x.key: x.value for x in model.metadata_props}[METADATA_KEY]
    return make(model, Description.from_json(text))
