"""The runtime in C, its WebAssembly and the LADSPA plugin equal the Python implementation."""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import ROOT, SMALL_8K, error_db, speechlike, white_noise, write_audio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specmask.audio.stft import Stft, to_complex
from specmask.enhancement import array, enhancer, runtimes, streaming
from specmask.enhancement.postprocess import Knobs
from specmask.enhancement.runtimes import Description
from specmask.errors import UserError
from specmask.export import c_source

onnx = pytest.importorskip("onnx", reason="needs the extra export")
from specmask.export import check, program  # noqa: E402

NATIVE = c_source.SOURCES
DEFAULT = enhancer.PRETRAINED / "default.onnx"
STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"]
ROOM = tempfile.TemporaryDirectory(prefix="specmask-")  # of the library, as long as the tests run
needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")

# ---------------------------------------------------------------- the library


@functools.cache
def library() -> ctypes.CDLL:
    """The runtime as a shared library."""
    path = Path(ROOM.name) / "specmask.so"
    command = ["cc", *STRICT, "-fPIC", "-shared", "-o", path, NATIVE / "specmask.c"]
    subprocess.run(command, check=True)
    found = ctypes.CDLL(str(path))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, *arguments in (
        ("bytes", size, pointer, size),
        ("create", pointer, pointer, size, pointer),
        ("latency", ctypes.c_int, pointer),
        ("hop_length", ctypes.c_int, pointer),
        ("set", None, pointer, *[ctypes.c_float] * 3),
        ("process", None, pointer, pointer, pointer, ctypes.c_int),
        ("analyse", None, pointer, pointer),
        ("link", None, pointer, ctypes.c_int),
        ("synthesise", None, pointer, pointer, pointer),
        ("step", None, pointer, pointer, pointer),
        ("reset", None, pointer),
    ):
        function = getattr(found, f"specmask_{name}")
        function.restype, function.argtypes = result, arguments
    return found


class Handle:
    """A handle of the runtime in C."""

    def __init__(self, made: bytes):
        self.library = library()
        self.program = np.frombuffer(made, np.uint32).copy()
        size = self.library.specmask_bytes(self.program.ctypes.data, self.program.nbytes)
        self.memory = np.full(size // 8 + 1, np.nan)  # nothing may depend on what was there
        self.handle = self.library.specmask_create(
            self.program.ctypes.data, self.program.nbytes, self.memory.ctypes.data
        )
        assert self.handle

    def masks(self, noisy: np.ndarray) -> np.ndarray:
        """Masks of frames [frames, bins, 2]."""
        masks = np.empty_like(noisy)
        for frame, mask in zip(noisy, masks, strict=True):
            self.library.specmask_step(self.handle, frame.ctypes.data, mask.ctypes.data)
        return masks

    def enhanced(self, x: np.ndarray) -> np.ndarray:
        """A recording [samples], aligned."""
        return enhanced([self], x[:, None])[:, 0]


def enhanced(handles: list[Handle], x: np.ndarray) -> np.ndarray:
    """A recording [samples, channels] through linked handles, aligned."""
    lib, first = library(), handles[0].handle
    hop, latency = lib.specmask_hop_length(first), lib.specmask_latency(first)
    hops = -(-(len(x) + latency) // hop)
    padded = np.zeros((x.shape[1], hops * hop), np.float32)
    padded[:, : len(x)] = x.T
    pointers = (ctypes.c_void_p * len(handles))(*(h.handle for h in handles))
    for start in range(0, hops * hop, hop):
        blocks = [row[start : start + hop] for row in padded]
        if len(handles) == 1:
            lib.specmask_process(first, blocks[0].ctypes.data, blocks[0].ctypes.data, 1)
            continue
        for h, block in zip(handles, blocks, strict=True):
            lib.specmask_analyse(h.handle, block.ctypes.data)
        lib.specmask_link(pointers, len(handles))
        for h, block in zip(handles, blocks, strict=True):
            lib.specmask_synthesise(h.handle, block.ctypes.data, None)
    return padded[:, latency : latency + len(x)].T


@functools.cache
def default_program() -> bytes:
    return program.from_onnx(DEFAULT)


# ---------------------------------------------------------------- operations

BINS = 5


def model(nodes: list, constants: dict, states: dict, shape: list[int]):
    """An ONNX model with the inputs and outputs of a step."""
    info = onnx.helper.make_tensor_value_info
    single = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "step",
        [info("noisy", single, [1, 1, BINS, 2])]
        + [info(name, single, shape) for name, shape in states.items()],
        [info("mask", single, shape)]
        + [info(name + "_next", single, shape) for name, shape in states.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


class Graph:
    """A random graph that grows by one operation after the other."""

    UNARY = ("Neg", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Softplus", "Exp")
    BINARY = ("Add", "Sub", "Mul", "Max", "Min")
    KINDS = (
        *("unary", "binary", "pair", "transpose", "reshape", "slice", "concat", "reduce"),
        *("softmax", "matmul", "product", "conv", "pad", "power"),
        *("gather", "select", "split"),
    )

    def __init__(self, draw):
        self.draw = draw
        self.nodes, self.constants = [], {}
        self.rng = np.random.default_rng(draw(st.integers(0, 2**31)))
        self.tensors = {"noisy": [1, 1, BINS, 2], "memory": [1, 3, BINS, 2]}

    def constant(self, values) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(values)
        return name

    def random(self, *shape: int) -> str:
        return self.constant(0.5 * self.rng.standard_normal(shape).astype(np.float32))

    def add(self, op: str, inputs: list[str], shape: list[int], **attributes) -> str:
        name = f"tensor{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, inputs, [name], **attributes))
        self.tensors[name] = list(shape)
        return name

    def grow(self) -> None:
        name = self.draw(st.sampled_from(sorted(self.tensors)))
        shape = self.tensors[name]
        axis = self.draw(st.integers(0, len(shape) - 1))
        kind = self.draw(st.sampled_from(self.KINDS))
        if kind == "unary":
            bounded = self.add("Tanh", [name], shape)
            self.add(self.draw(st.sampled_from(self.UNARY)), [bounded], shape)
        elif kind == "binary":
            broadcast = [1 if self.draw(st.booleans()) else n for n in shape]
            other = self.random(*broadcast)
            inputs = [name, other] if self.draw(st.booleans()) else [other, name]
            self.add(self.draw(st.sampled_from(self.BINARY)), inputs, shape)
        elif kind == "pair":
            same = [other for other, s in self.tensors.items() if s == shape]
            other = self.draw(st.sampled_from(same))
            self.add(self.draw(st.sampled_from(self.BINARY)), [name, other], shape)
        elif kind == "transpose":
            perm = self.draw(st.permutations(range(len(shape))))
            self.add("Transpose", [name], [shape[i] for i in perm], perm=perm)
        elif kind == "reshape":
            size = int(np.prod(shape))
            n = self.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
            new = [n, size // n] if len(shape) == 4 else [1, n, size // n, 1]
            self.add("Reshape", [name, self.constant(np.array(new))], new)
        elif kind == "slice" and shape[axis] > 1:
            start = self.draw(st.integers(0, shape[axis] - 1))
            end = self.draw(st.integers(start + 1, shape[axis]))
            numbers = [self.constant(np.array([n])) for n in (start, end, axis, 1)]
            self.add(
                "Slice",
                [name, *numbers],
                [end - start if i == axis else n for i, n in enumerate(shape)],
            )
        elif kind == "concat" and shape[axis] < 8:
            same = [other for other, s in self.tensors.items() if s == shape]
            other = self.draw(st.sampled_from(same))
            new = [2 * n if i == axis else n for i, n in enumerate(shape)]
            self.add("Concat", [name, other], new, axis=axis)
        elif kind == "reduce":
            keep = self.draw(st.booleans()) or len(shape) == 1
            new = [1 if i == axis else n for i, n in enumerate(shape)]
            new = new if keep else [n for i, n in enumerate(shape) if i != axis]
            if self.draw(st.booleans()):
                self.add("ReduceMean", [name], new, axes=[axis], keepdims=int(keep))
            else:
                self.add(
                    "ReduceSum", [name, self.constant(np.array([axis]))], new, keepdims=int(keep)
                )
        elif kind == "softmax":
            self.add("Softmax", [name], shape, axis=axis)
        elif kind == "matmul" and len(shape) >= 2:
            columns = self.draw(st.integers(1, 20))
            made = self.add(
                "MatMul", [name, self.random(shape[-1], columns)], [*shape[:-1], columns]
            )
            if self.draw(st.booleans()):
                made = self.add("Add", [made, self.random(columns)], self.tensors[made])
                self.add("Relu", [made], self.tensors[made])
        elif kind == "product" and len(shape) >= 2:
            perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
            other = self.add("Transpose", [name], [shape[i] for i in perm], perm=perm)
            self.add("MatMul", [name, other], [*shape[:-1], shape[-2]])
        elif kind == "conv" and len(shape) == 4 and shape[0] == 1:
            filters, width = self.draw(st.integers(1, 5)), self.draw(st.integers(1, 3))
            stride = self.draw(st.integers(1, 2))
            height = self.draw(st.integers(1, min(2, shape[2])))
            dilation = self.draw(st.integers(1, 2)) if height == 2 and shape[2] > 2 else 1
            left, right = self.draw(st.integers(0, 1)), self.draw(st.integers(0, 1))
            if shape[3] + left + right < width:
                return
            rows = shape[2] - (height - 1) * dilation
            columns = (shape[3] + left + right - width) // stride + 1
            new = [1, filters, rows, columns]
            weights = self.random(filters, shape[1], height, width)
            options = {"pads": [0, left, 0, right], "strides": [1, stride]}
            options["dilations"] = [dilation, 1]
            if self.draw(st.booleans()):
                options["auto_pad"] = "SAME_UPPER"
                del options["pads"]
                new = [1, filters, shape[2], -(-shape[3] // stride)]
            made = self.add("Conv", [name, weights, self.random(filters)], new, **options)
            if self.draw(st.booleans()):
                self.add("LeakyRelu", [made], new, alpha=0.2)
        elif kind == "pad" and shape[axis] < 8:
            pads = np.zeros(2 * len(shape), np.int64)
            pads[axis], pads[len(shape) + axis] = 1, 2
            new = [n + 3 if i == axis else n for i, n in enumerate(shape)]
            self.add("Pad", [name, self.constant(pads)], new)
        elif kind == "gather":
            if self.draw(st.booleans()) and len(shape) > 1:
                index = np.array(self.draw(st.integers(0, shape[axis] - 1)))
                new = [n for i, n in enumerate(shape) if i != axis]
            else:
                numbers = st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=4)
                index = np.array(self.draw(numbers))
                new = [len(index) if i == axis else n for i, n in enumerate(shape)]
            self.add("Gather", [name, self.constant(index)], new, axis=axis)
        elif kind == "select":
            above = self.add("GreaterOrEqual", [name, self.random(1)], shape)
            del self.tensors[above]  # truth values
            self.add("Where", [above, name, self.random(*shape)], shape)
        elif kind == "split" and shape[axis] > 1:
            first, second = f"first{len(self.nodes)}", f"second{len(self.nodes)}"
            sizes = [1, shape[axis] - 1]
            node = onnx.helper.make_node(
                "Split", [name, self.constant(np.array(sizes))], [first, second], axis=axis
            )
            self.nodes.append(node)
            for made, size in zip((first, second), sizes, strict=True):
                self.tensors[made] = [size if i == axis else n for i, n in enumerate(shape)]
        elif kind == "power":
            positive = self.add("Sqrt", [self.add("Mul", [name, name], shape)], shape)
            positive = self.add("Add", [positive, self.constant(np.float32(1e-3))], shape)
            exponent = self.draw(st.sampled_from([0.15, -0.35, 0.5, 2.0, 3.3]))
            self.add("Pow", [positive, self.constant(np.float32(exponent))], shape)

    def end(self):
        """The mask and the next state depend on all that was made."""
        parts = []
        for name, shape in list(self.tensors.items()):
            rows = self.constant(np.array([1, int(np.prod(shape))]))
            flat = self.add("Reshape", [name, rows], [1, int(np.prod(shape))])
            weights = self.random(int(np.prod(shape)), 4 * 2 * BINS)
            parts.append(self.add("MatMul", [flat, weights], [1, 4 * 2 * BINS]))
        total = parts[0]
        for part in parts[1:]:
            total = self.add("Add", [total, part], [1, 4 * 2 * BINS])
        total = self.add("Tanh", [total], [1, 4 * 2 * BINS])
        four = self.constant(np.array([1, 4, BINS, 2]))
        total = self.add("Reshape", [total, four], [1, 4, BINS, 2])
        pieces = onnx.helper.make_node("Split", [total, self.constant(np.array([1, 3]))],
                                       ["mask", "memory_next"], axis=1)  # fmt: skip
        self.nodes.append(pieces)
        states = {"memory": [1, 3, BINS, 2]}
        return model(self.nodes, self.constants, states, [1, 1, BINS, 2])


@needs_compiler
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_graphs_equal_onnx_runtime(data):
    """Random graphs, three frames with a state, against another implementation."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    graph = Graph(data.draw)
    for _ in range(12):
        graph.grow()
    made = graph.end()
    description = describe(Stft("hann", 8, 4, 8), states={"memory": [3, BINS, 2]})
    handle = Handle(program.make(made, description))
    session = onnxruntime.InferenceSession(made.SerializeToString())
    noisy = graph.rng.standard_normal((3, BINS, 2)).astype(np.float32)
    memory, wanted = np.zeros((1, 3, BINS, 2), np.float32), []
    for frame in noisy:
        feeds = {"noisy": frame[None, None], "memory": memory}
        names = {x.name for x in session.get_inputs()}
        mask, memory = session.run(
            ["mask", "memory_next"], {k: feeds[k] for k in names & set(feeds)}
        )
        wanted.append(mask[0, 0])
    np.testing.assert_allclose(handle.masks(noisy), wanted, atol=1e-3)


@needs_compiler
@pytest.mark.parametrize(
    "op, function, low, high",
    [
        ("Exp", np.exp, -80, 80),
        ("Log", np.log, 1e-30, 1e30),
        ("Sqrt", np.sqrt, 0, 1e30),
        ("Tanh", np.tanh, -20, 20),
        ("Sigmoid", lambda x: 1 / (1 + np.exp(-x)), -30, 80),
        ("Softplus", lambda x: np.logaddexp(0, x), -5, 80),
    ],
)
def test_elementary_functions(op, function, low, high):
    node = onnx.helper.make_node(op, ["noisy"], ["mask"])
    handle = Handle(
        program.make(model([node], {}, {}, [1, 1, BINS, 2]), describe(Stft("hann", 8, 4, 8)))
    )
    rng = np.random.default_rng(0)
    if low > 0 or op == "Sqrt":
        x = 10 ** rng.uniform(np.log10(max(low, 1e-30)), np.log10(high), (400, BINS, 2))
    else:
        x = np.concatenate([np.linspace(low, high, 2000), rng.uniform(-1, 1, 2000)])
        x = x.reshape(400, BINS, 2)
    x = x.astype(np.float32)
    np.testing.assert_allclose(
        handle.masks(x), function(x.astype(np.float64)), rtol=3e-6, atol=1e-37
    )


def describe(stft: Stft, rate: int = 16000, lookahead: int = 0, **options) -> Description:
    return Description(rate, stft, True, "of a test", options.get("states", {}),
                       options.get("knobs", Knobs()), lookahead)  # fmt: skip


def test_what_the_runtime_lacks_is_refused():
    node = onnx.helper.make_node("Sin", ["noisy"], ["mask"])
    with pytest.raises(UserError, match="Sin"):
        program.make(model([node], {}, {}, [1, 1, BINS, 2]), describe(Stft("hann", 8, 4, 8)))
    with pytest.raises(UserError, match="n_fft = 9"):
        program.make(onnx.load(DEFAULT), describe(Stft("hann", 8, 4, 9)))


# ---------------------------------------------------------------- the stream


@dataclass
class Plain:
    """A network without one: the mask is tanh of the spectrum, times a number."""

    description: Description
    name: str = "NumPy"
    batched: bool = True

    def zero_state(self, batch: int) -> list:
        return []

    def mask(self, noisy: np.ndarray, state: list) -> tuple[np.ndarray, list]:
        return (np.tanh(noisy) * np.float32(1.5)).astype(np.float32), state


def plain_program(description: Description) -> bytes:
    bins = description.stft.bins
    nodes = [onnx.helper.make_node("Tanh", ["noisy"], ["t"])]
    nodes += [onnx.helper.make_node("Mul", ["t", "c"], ["mask"])]
    made = model(nodes, {"c": np.float32(1.5)}, {}, [1, 1, bins, 2])
    made.graph.input[0].type.tensor_type.shape.dim[2].dim_value = bins
    return program.make(made, description)


@needs_compiler
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_streams_equal_the_streamer(data):
    """Any transform, look-ahead, settings and length; NaN and infinity count as zero."""
    n_fft = 2 * data.draw(st.one_of(st.integers(4, 40), st.sampled_from([128, 200, 256, 257])))
    window_length = data.draw(st.integers(4, n_fft))
    hop = data.draw(st.integers(1, window_length))
    name = data.draw(st.sampled_from(["hann", "hamming", "blackman", "cosine", "boxcar"]))
    stft = Stft(name, window_length, hop, n_fft)
    if not stft.is_invertible():
        return
    knobs = Knobs(
        data.draw(st.sampled_from([0, 6.0, 20, 200])),
        data.draw(st.sampled_from([0, 0.3, 1])),
        data.draw(st.sampled_from([-20, 0, 3.5])),
    )
    description = describe(stft, lookahead=data.draw(st.integers(0, 3)), knobs=knobs)
    x = white_noise(data.draw(st.integers(1, 900)), data.draw(st.integers(0, 99)))
    x[:: data.draw(st.integers(50, 200))] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    stream = streaming.Streamer(enhancer.Enhancer(Plain(description), knobs=knobs))
    wanted = np.concatenate([stream.feed(x), stream.flush()])
    found = Handle(plain_program(description)).enhanced(x)
    np.testing.assert_allclose(found, wanted, atol=3e-5 * max(1, np.abs(wanted).max()))


@needs_compiler
@pytest.mark.parametrize("seconds", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_long_sound_equals_the_default_model(seconds):
    """No drift of the states; digital silence in between."""
    rng = np.random.default_rng(0)
    x = np.concatenate([speechlike(rng, 10), speechlike(rng, seconds)])
    x = (x + 0.02 * rng.standard_normal(len(x))).astype(np.float32)
    x[16000 * 10 : 16000 * 12] = 0
    model = enhancer.load(DEFAULT)
    handle = Handle(default_program())
    wanted = array.enhance(x, 16000, model)
    assert np.abs(handle.enhanced(x) - wanted).max() < 1e-5
    library().specmask_reset(handle.handle)  # as new
    assert np.abs(handle.enhanced(x[:50000]) - array.enhance(x[:50000], 16000, model)).max() < 1e-5


@needs_compiler
def test_linked_channels():
    rng = np.random.default_rng(0)
    x = np.stack([speechlike(rng, 2), 0.3 * speechlike(rng, 2)], axis=1)
    x += (0.02 * rng.standard_normal(x.shape)).astype(np.float32)
    wanted = array.enhance(x, 16000, enhancer.load(DEFAULT))
    found = enhanced([Handle(default_program()), Handle(default_program())], x)
    assert np.abs(found - wanted).max() < 1e-5


@needs_compiler
@pytest.mark.parametrize(
    "recipe, options",
    [
        ("recipes/default.ini", []),  # as large as it is trained
        ("config.ini", [*SMALL_8K, "model.network=band_lstm", "model.target=magnitude_mapping"]),
        ("config.ini", [*SMALL_8K, "model.network=crn", "model.target=noise_db"]),
        (
            "config.ini",
            [
                *(*SMALL_8K, "model.target=complex_mapping", "model.normalisation=batch"),
                *("model.features=log_magnitude, mel, real", "model.delta_phase=both"),
                *("model.lookahead_ms=20", "model.low_hz=100"),
            ],
        ),
    ],
)
def test_networks(recipe, options, tmp_path):
    """Enhanced spectra of networks with weights as they are drawn."""
    keras = pytest.importorskip("keras", reason="needs the extra train")
    from specmask import models
    from specmask.config import ini
    from specmask.enhancement import keras_runtime
    from specmask.export import formats
    from specmask.export.step import step_model

    config = ini.load(ROOT / recipe, options)
    keras.utils.set_random_seed(0)
    network = models.build(config)
    step = step_model(network)
    description = keras_runtime.describe(config, network, "of nothing")
    formats.write_onnx(step, tmp_path / "step.onnx", description)
    rng = np.random.default_rng(0)
    noisy = rng.standard_normal((1, 100, config.bins, 2)).astype(np.float32)
    noisy *= 10 ** rng.uniform(-3, 0, (1, 100, 1, 1)).astype(np.float32)
    wanted, _ = network(noisy, network.zero_state(1))
    found = Handle(program.from_onnx(tmp_path / "step.onnx")).masks(noisy[0])
    spectra = [to_complex(mask) * to_complex(noisy[0]) for mask in (found, np.asarray(wanted[0]))]
    np.testing.assert_allclose(*spectra, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- damaged programs

FUZZ = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "specmask.h"
static unsigned r = 1;
static unsigned next(void) { return (r = r * 1664525u + 1013904223u) >> 4; }
int main(int n, char **arguments) {
  static unsigned good[200000], bad[200000];
  FILE *file = fopen(arguments[1], "rb");
  size_t words = fread(good, 4, 200000, file), runs = 0, refused = 0;
  float x[4096] = {0};
  for (int i = 0; i < 4096; i++) x[i] = 1e-3f * (float)(i % 37);
  for (int round = 0; round < 400; round++) {
    memcpy(bad, good, 4 * words);
    unsigned at = round % 3 ? 24 + next() % (good[16] ? good[16] : 1) : 4 + next() % 20;
    bad[at] = round % 2 ? next() % 100000 : bad[at] + (next() % 64) - 32;
    unsigned sum = 0;
    for (size_t i = 4; i < words; i++) sum += (2 * (unsigned)(i - 4) + 1) * bad[i];
    bad[3] = sum;
    size_t bytes = specmask_bytes(bad, 4 * words);
    if (!bytes) { refused++; continue; }
    if (bytes > 20000000) continue;
    void *memory = malloc(bytes);
    specmask *s = specmask_create(bad, 4 * words, memory);
    if (!s) return 3;
    if (specmask_hop_length(s) <= 4096) specmask_process(s, x, x, 1), runs++;
    free(memory);
  }
  printf("%zu %zu\\n", runs, refused);
  return n != 2;
}
"""


@needs_compiler
def test_damaged_programs(tmp_path):
    """Any damaged word is noticed; what has a right checksum never leaves its memory."""
    made = np.frombuffer(default_program(), np.uint32)
    rng = np.random.default_rng(0)
    check = library().specmask_bytes
    assert check(made.ctypes.data, made.nbytes) > 0
    for place in [0, 1, 2, 3, *rng.integers(4, len(made), 200)]:
        damaged = made.copy()
        damaged[place] ^= np.uint32(1 << rng.integers(32))
        assert check(damaged.ctypes.data, damaged.nbytes) == 0
    for size in (0, 4, 95, made.nbytes - 4):
        assert check(made.ctypes.data, size) == 0
    (tmp_path / "fuzz.c").write_text(FUZZ)
    (tmp_path / "program").write_bytes(made.tobytes())
    command = ["cc", "-O1", "-fsanitize=address,bounds", "-fno-sanitize-recover=all", "-I", NATIVE]
    command += ["-o", "fuzz", "fuzz.c", NATIVE / "specmask.c"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("the compiler has no address sanitizer")
    done = subprocess.run(
        ["./fuzz", "program"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:2000]
    runs, refused = map(int, done.stdout.split())
    assert runs > 40 and refused > 40


# ---------------------------------------------------------------- WebAssembly

WASM = ("specmask.wasm", "specmask_scalar.wasm")
SCRIPT = """
const [wasm, program, input, output] = process.argv.slice(2), fs = require("fs");
const x = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(wasm))).exports;
let end = x.__heap_base.value;
function take(bytes) {
  const start = (end + 63) & ~63;
  end = start + bytes;
  const missing = ((end + 65535) >> 16) - (x.memory.buffer.byteLength >> 16);
  if (missing > 0) x.memory.grow(missing);
  return start;
}
const data = fs.readFileSync(program), at = take(data.length);
new Uint8Array(x.memory.buffer).set(data, at);
const s = x.specmask_create(at, data.length, take(x.specmask_bytes(at, data.length)));
const audio = fs.readFileSync(input), block = take(audio.length);
new Uint8Array(x.memory.buffer).set(audio, block);
x.specmask_process(s, block, block, audio.length / 4 / x.specmask_hop_length(s));
fs.writeFileSync(output, new Uint8Array(x.memory.buffer, block, audio.length));
"""


def through_node(wasm: Path, folder: Path) -> np.ndarray:
    if not shutil.which("node"):
        pytest.skip("needs node")
    x = white_noise(300 * description().stft.hop_length).reshape(300, -1)
    x[100:150] *= 1e-3
    (folder / "run.cjs").write_text(SCRIPT)
    (folder / "program").write_bytes(default_program())
    (folder / "noisy").write_bytes(x.tobytes())
    command = ["node", "run.cjs", wasm, "program", "noisy", "enhanced"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return np.frombuffer((folder / "enhanced").read_bytes(), np.float32)


@pytest.mark.parametrize("name", WASM)
def test_webassembly_equals_the_default_model(name, tmp_path):
    found = through_node(NATIVE / name, tmp_path)
    x = np.frombuffer((tmp_path / "noisy").read_bytes(), np.float32)
    wanted, late = array.enhance(x, 16000, enhancer.load(DEFAULT)), delay()
    assert np.abs(found[late:] - wanted[:-late]).max() < 1e-5


def test_webassembly_is_made_from_these_sources():
    lines = (NATIVE / "specmask.sha256").read_text().split("\n")[:-1]
    assert "specmask.c" in {line.split()[1] for line in lines}
    for line in lines:
        digest, name = line.split()
        found = hashlib.sha256((NATIVE / name).read_bytes()).hexdigest()
        assert found == digest, f"{name} has changed: make -C {NATIVE}"


@pytest.mark.parametrize("name", WASM)
def test_webassembly_built_here_behaves_alike(name, tmp_path):
    if not shutil.which("clang") or not shutil.which("wasm-ld") or not shutil.which("make"):
        pytest.skip("needs clang, lld and make")
    shutil.copytree(NATIVE.parent, tmp_path / "export", ignore=shutil.ignore_patterns("*.wasm"))
    subprocess.run(["make", "-s", name], cwd=tmp_path / "export/native", check=True)
    found = through_node(tmp_path / "export/native" / name, tmp_path)
    np.testing.assert_array_equal(found, through_node(NATIVE / name, tmp_path))


# ---------------------------------------------------------------- what is written


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Folder with c and ladspa of the default model."""
    folder = tmp_path_factory.mktemp("sources")
    for format in c_source.FORMATS:
        c_source.write(format, default_program(), description(), folder)
    return folder


def description() -> Description:
    return runtimes.load(DEFAULT).description


def delay() -> int:
    """Samples by which the network's output is late where it comes hop by hop."""
    stft = description().stft
    return stft.window_length - stft.hop_length


def model_latency() -> float:
    return enhancer.load(DEFAULT).latency_seconds


@needs_compiler
def test_the_example_in_c(sources, tmp_path):
    """Warnings are errors; 16 bits and float, and files that it cannot take."""
    folder = sources / "c"
    command = ["cc", *STRICT, "-o", tmp_path / "specmask", "main.c", "specmask.c", "model.c"]
    subprocess.run(command, cwd=folder, check=True)
    readme = (folder / "README.md").read_text()
    late = f"{delay()} samples ({delay() / 16:g} ms)"
    assert "{" not in readme and late in readme and description().digest in readme
    x = speechlike(np.random.default_rng(0), 1.234)
    for subtype in ("PCM_16", "FLOAT"):
        noisy = write_audio(tmp_path / "noisy.wav", x, 16000, subtype=subtype)
        subprocess.run(["./specmask", noisy, "enhanced.wav"], cwd=tmp_path, check=True)
        y, rate = sf.read(tmp_path / "enhanced.wav", dtype="float32")
        assert rate == 16000 and sf.info(tmp_path / "enhanced.wav").subtype == subtype
        wanted = array.enhance(sf.read(noisy, dtype="float32")[0], 16000, enhancer.load(DEFAULT))
        np.testing.assert_allclose(y, wanted, atol=1e-5 if subtype == "FLOAT" else 2**-15)
    write_audio(tmp_path / "stereo.wav", np.stack([x, x], 1), 16000)
    write_audio(tmp_path / "rate.wav", x, 8000)
    (tmp_path / "none.wav").write_bytes(b"RIFF")
    for name, problem in (("stereo", "one channel"), ("rate", "16000 Hz"), ("none", "not a WAV")):
        done = subprocess.run(
            ["./specmask", f"{name}.wav", "out.wav"], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 2 and f"{name}.wav: " in done.stderr and problem in done.stderr
    hostile_lengths(tmp_path)


def hostile_lengths(folder: Path) -> None:
    """Headers that promise no or other samples than there are; the recording as its own result."""
    good = (folder / "noisy.wav").read_bytes()  # float
    place = good.index(b"data") + 4
    data = len(good) - place - 4
    promised = int.from_bytes(good[place : place + 4], "little")
    whole = (folder / "enhanced.wav").read_bytes()
    for size, kept in ((0, data), (2**32 - 1, data), (promised, data // 2 + 3), (8000, data)):
        content = good[:place] + size.to_bytes(4, "little") + good[place + 4 : place + 4 + kept]
        (folder / "odd.wav").write_bytes(content)
        done = subprocess.run(
            ["./specmask", "odd.wav", "out.wav"], cwd=folder, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        truncated = kept < data
        assert (
            done.stderr.count("\n") == truncated and ("odd.wav: ends" in done.stderr) == truncated
        )
        count = size // 4 if size == 8000 else kept // 4
        found = (folder / "out.wav").read_bytes()
        assert len(found) == 44 + 4 * count and sf.info(folder / "out.wav").frames == count
        overlap = 44 + 4 * (
            count - description().stft.window_length
        )  # after the end there are zeros instead of sound
        assert found[44:overlap] == whole[44:overlap]
    (folder / "link.wav").symlink_to("odd.wav")
    for name in ("odd.wav", "./odd.wav", "link.wav"):
        done = subprocess.run(
            ["./specmask", "odd.wav", name], cwd=folder, capture_output=True, check=False
        )
        assert done.returncode == 2 and (folder / "odd.wav").read_bytes() == content


def test_the_readme_of_the_plugin_has_the_settings(tmp_path):
    made = replace(description(), knobs=Knobs(max_suppression_db=12, mix=0.75, post_gain_db=-3))
    text = (c_source.write("ladspa", default_program(), made, tmp_path) / "README.md").read_text()
    assert "./specmask.so specmask 0.75 12 -3 0\n" in text
    assert '"Mix" = 0.75 "Max suppression (dB)" = 12 "Gain (dB)" = -3\n' in text


def test_what_fails_is_not_compared_and_said_in_a_line(tmp_path, monkeypatch):
    """A compiler that hangs, and a Node that fails, with its whole stack."""
    hanging = tmp_path / "cc"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    node = tmp_path / "node"
    node.write_text(
        "#!/bin/sh\nprintf 'a.js:1\\n  let\\n\\nSyntaxError: bad\\n at b\\n' >&2; exit 1\n"
    )
    for script in (hanging, node):
        script.chmod(0o755)
    monkeypatch.setenv("CC", str(hanging))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(c_source, "SECONDS_TO_RUN", 0.5)
    (tmp_path / "web").mkdir()
    paths = [c_source.write("c", default_program(), description(), tmp_path), tmp_path / "web"]
    noisy = write_audio(tmp_path / "noisy.wav", white_noise(8000), 16000)
    rows = check.compare(paths, enhancer.load(DEFAULT), [noisy], [None])
    assert [row.name for row in rows] == [
        "c (not compared: cc: not done after 0.5 seconds)",
        "web (not compared: node: SyntaxError: bad)",
    ]
    assert not check.differing(rows)


@pytest.mark.parametrize("gain_db", [6, 50, -60])
def test_a_plugin_with_gain_is_compared_below_full_scale(gain_db, sources, tmp_path):
    if not shutil.which("applyplugin"):
        pytest.skip("needs applyplugin (package ladspa-sdk)")
    x = speechlike(np.random.default_rng(0), 2)
    noisy = write_audio(tmp_path / "noisy.wav", x / np.abs(x).max(), 16000)
    model = enhancer.load(DEFAULT, knobs=Knobs(post_gain_db=gain_db))
    (row,) = check.compare([sources / "ladspa"], model, [noisy], [None])
    assert row.difference is not None and not check.differing([row])


# ---------------------------------------------------------------- the plugin


class Descriptor(ctypes.Structure):
    """The beginning of LADSPA_Descriptor, with the functions that a host calls."""

    _fields_ = [
        ("id", ctypes.c_ulong),
        ("label", ctypes.c_char_p),
        ("properties", ctypes.c_int),
        *[(name, ctypes.c_char_p) for name in ("title", "maker", "copyright")],
        ("port_count", ctypes.c_ulong),
        *[(name, ctypes.c_void_p) for name in ("ports", "port_names", "hints", "data")],
        *[
            (name, ctypes.c_void_p)
            for name in ("instantiate", "connect", "activate", "run", "adding", "adding_gain",
                         "deactivate", "cleanup")
        ],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def plugin(sources, tmp_path_factory):
    """The plugin, built by its Makefile with all warnings as errors."""
    if not shutil.which("make") or not Path("/usr/include/ladspa.h").exists():
        pytest.skip("needs make and ladspa.h (package ladspa-sdk)")
    folder = tmp_path_factory.mktemp("plugin") / "ladspa"
    shutil.copytree(sources / "ladspa", folder)
    flags = " ".join(STRICT)
    subprocess.run(["make", "-s", f"CFLAGS={flags}"], cwd=folder, check=True)
    return folder / "specmask.so"


def host(plugin: Path, x: np.ndarray, rate: int, block: int, controls=(1, 200, 0, 0)):
    """Run the plugin on [samples, channels], and return the output and the reported latency."""
    lib = ctypes.CDLL(str(plugin))
    lib.ladspa_descriptor.restype = ctypes.POINTER(Descriptor)
    channels = x.shape[1]
    d = lib.ladspa_descriptor(channels - 1).contents
    assert d.label == (b"specmask" if channels == 1 else b"specmask_stereo")
    pointer = ctypes.c_void_p
    create = ctypes.CFUNCTYPE(pointer, pointer, ctypes.c_ulong)(d.instantiate)
    connect = ctypes.CFUNCTYPE(None, pointer, ctypes.c_ulong, pointer)(d.connect)
    run = ctypes.CFUNCTYPE(None, pointer, ctypes.c_ulong)(d.run)
    instance = create(ctypes.addressof(d), rate)
    assert instance
    values = np.array([*controls, -1], np.float32)
    for port in range(5):
        connect(instance, port, values.ctypes.data + 4 * port)
    ctypes.CFUNCTYPE(None, pointer)(d.activate)(instance)
    y = np.array(x.T, np.float32, order="C")  # in place, as hosts may
    for start in range(0, len(x), block):
        count = min(block, len(x) - start)
        for c in range(channels):
            for port in (5 + c, 5 + channels + c):
                connect(instance, port, y[c, start:].ctypes.data)
        run(instance, count)
    ctypes.CFUNCTYPE(None, pointer)(d.cleanup)(instance)
    return y.T, int(values[4])


@pytest.mark.parametrize("controls", [(0, 200, 0, 0), (1, 200, 0, 1)])
@pytest.mark.parametrize("rate, block", [(16000, 64), (44100, 1000), (48000, 1), (96000, 4096)])
def test_plugin_without_effect_delays_by_what_it_reports(plugin, rate, block, controls):
    """No mix, or bypass: the input sample by sample, what is above the model's band too."""
    x = white_noise(rate // 2).reshape(-1, 1)
    y, latency = host(plugin, x, rate, block, controls)
    late = y[latency + rate // 10 :, 0] - x[rate // 10 : len(x) - latency, 0]
    assert np.abs(late).max() < 2e-6
    assert latency < (model_latency() + 0.01) * rate


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_plugin_equals_the_enhancer(plugin, rate, channels):
    rng = np.random.default_rng(1)
    x = np.stack([speechlike(rng, 3, rate) * 0.5**c for c in range(channels)], axis=1)
    x += (0.01 * rng.standard_normal(x.shape)).astype(np.float32)
    x = np.concatenate([x, np.zeros((rate, channels), np.float32)])
    y, latency = host(plugin, x, rate, 512, (1, 20, -3, 0))
    knobs = Knobs(max_suppression_db=20, post_gain_db=-3)
    wanted = array.enhance(x, rate, enhancer.load(DEFAULT, knobs=knobs))
    # apart from another resampler, whose band ends elsewhere
    limit = -110 if rate == 16000 else -35
    assert error_db(y[latency:], wanted[: len(wanted) - latency]) < limit


def test_plugin_and_what_is_not_finite(plugin):
    x = white_noise(48000).reshape(-1, 1)
    bad = x.copy()
    bad[1000], bad[2000] = np.nan, np.inf
    zero = x.copy()
    zero[[1000, 2000]] = 0
    np.testing.assert_array_equal(
        host(plugin, bad, 48000, 512)[0], host(plugin, zero, 48000, 512)[0]
    )


def test_plugin_in_a_host(plugin, tmp_path):
    if not shutil.which("applyplugin"):
        pytest.skip("needs applyplugin (package ladspa-sdk)")
    listing = subprocess.run(["analyseplugin", plugin], capture_output=True, text=True, check=True)
    assert '"latency" output, control' in listing.stdout and "specmask_stereo" in listing.stdout
    x = speechlike(np.random.default_rng(0), 2, 48000)
    noisy = write_audio(tmp_path / "noisy.wav", x, 48000)
    controls = ["specmask", "1", "200", "0", "0"]
    command = ["applyplugin", "-s", "1", noisy, tmp_path / "enhanced.wav", plugin, *controls]
    subprocess.run(command, check=True, capture_output=True)
    y = sf.read(tmp_path / "enhanced.wav", dtype="float32")[0]
    padded = np.concatenate([sf.read(noisy, dtype="float32")[0], np.zeros(48000, np.float32)])
    wanted, latency = host(plugin, padded[:, None], 48000, 512)
    assert 0 < latency < (model_latency() + 0.01) * 48000
    np.testing.assert_allclose(y, wanted[: len(y), 0], atol=1e-4)
