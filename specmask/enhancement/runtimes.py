"""Runtimes: what runs a network, and exported networks in ONNX Runtime and LiteRT.

Conventions:
    A runtime gives masks for noisy spectra: ``mask(noisy, state) -> (mask, state)`` with noisy
    and mask float32 [batch, frames, bins, 2] (real, imaginary), any number of frames from 1 on.
    The masks are those of frames ``lookahead_frames`` earlier: the first ``lookahead_frames`` masks
    are meaningless.
    The state is the runtime's own; ``zero_state(batch)`` is the one before the first frame.
    An exported file needs a :class:`Description` besides its weights, in JSON: ONNX files carry
    it in their metadata, LiteRT files have it beside them (``step.json``).
"""

import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from specmask.audio.stft import Stft
from specmask.enhancement.postprocess import Knobs
from specmask.errors import UserError
from specmask.files import parse_json
from specmask.silence import quiet

METADATA_KEY = "specmask"  # of the JSON text in the metadata of an ONNX file
NEXT = "_next"  # a state's output has the name of its input with this suffix


@dataclass(frozen=True)
class Description:
    """What enhancing needs to know of a network; plain values, as JSON holds them."""

    sample_rate: int  # Hz
    stft: Stft
    causal: bool
    digest: str  # of the weights
    states: Mapping[str, list[int]]  # name -> shape without the batch, in the network's order
    knobs: Knobs = field(default_factory=Knobs)  # as set at the export
    lookahead_frames: int = 0  # delay of the masks; missing in older exports, which have none

    def to_json(self) -> str:
        """Return the description as JSON text, with the two windows for simple programs."""
        windows = {"window": self.stft.window, "synthesis_window": self.stft.synthesis_window}
        values = {**asdict(self), "states": dict(self.states)}
        return json.dumps(values | {name: w.tolist() for name, w in windows.items()})

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Return the description that :meth:`to_json` has written."""
        values = parse_json(text)
        del values["window"], values["synthesis_window"]
        parts = {"stft": Stft(**values["stft"]), "knobs": Knobs(**values["knobs"])}
        return cls(**values | parts)


class Runtime(Protocol):
    """A network in TensorFlow, ONNX Runtime or LiteRT.

    Attributes:
        name: of the runtime, for messages.
        description: of the network.
        batched: whether many rows in one call are quicker than one after the other.
    """

    name: str
    description: Description
    batched: bool

    def zero_state(self, batch: int) -> Any:
        """Return the state before the first frame."""

    def mask(self, noisy: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Return the masks of float32 [batch, frames, bins, 2] and the state after them."""


class _Step:
    """An exported step: one frame of one channel per call."""

    name: str
    description: Description
    path: Path
    batched = False

    def zero_state(self, batch: int) -> list[list[np.ndarray]]:
        """Return the state before the first frame: a list of arrays per row."""
        shapes = self.description.states.values()
        return [[np.zeros((1, *shape), np.float32) for shape in shapes] for _ in range(batch)]

    def mask(
        self, noisy: np.ndarray, state: list[list[np.ndarray]]
    ) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        """Return the masks of these frames and the state after them."""
        mask, after = np.empty_like(noisy), []
        for row, row_state in enumerate(state):
            for t in range(noisy.shape[1]):
                frame = noisy[row : row + 1, t : t + 1]
                mask[row, t], row_state = self.frame(frame, row_state)
            after.append(row_state)
        return mask, after

    def __reduce__(self) -> tuple:
        """Let other processes open the file again, once for all their tasks."""
        return _opened, (self.path, self.path.stat().st_mtime_ns)

    def frame(
        self, noisy: np.ndarray, state: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the mask [1, 1, bins, 2] of one frame and the state after it."""
        raise NotImplementedError


class Onnx(_Step):
    """A step in ONNX Runtime.

    Args:
        path: an .onnx file of export.py.

    Raises:
        UserError: if onnxruntime is missing, or the file is not a Specmask export.
    """

    name = "ONNX Runtime"

    def __init__(self, path: Path):
        self.path = path
        try:
            self.session = session(path)
            text = self.session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            self.description = Description.from_json(text)
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime's own have no common base
            raise _not_an_export(path, error) from None
        names = list(self.description.states)
        self.inputs = ["noisy", *names]
        self.outputs = ["mask", *(name + NEXT for name in names)]

    def frame(
        self, noisy: np.ndarray, state: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the mask [1, 1, bins, 2] of one frame and the state after it."""
        feed = dict(zip(self.inputs, (noisy, *state), strict=True))
        mask, *state = self.session.run(self.outputs, feed)
        return mask, state


class LiteRt(_Step):
    """A step in LiteRT, the runtime of TensorFlow Lite files.

    Args:
        path: a .tflite file of export.py, its .json beside it.

    Raises:
        UserError: if ai-edge-litert is missing, or the files are not a Specmask export.
    """

    name = "LiteRT"

    def __init__(self, path: Path):
        self.path = path
        litert = _module("ai_edge_litert.interpreter", "ai-edge-litert")
        try:
            text = path.with_suffix(".json").read_text(encoding="utf-8")
            self.description = Description.from_json(text)
            with quiet():  # it reports its delegate
                model = path.read_bytes()
                self.interpreter = litert.Interpreter(model_content=model, num_threads=1)
                self.interpreter.allocate_tensors()
            step = self.interpreter.get_signature_runner()
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise _not_an_export(path, error) from None
        names = list(self.description.states)
        inputs, outputs = step.get_input_details(), step.get_output_details()
        self.inputs = [inputs[name]["index"] for name in ("noisy", *names)]
        self.outputs = [outputs[name]["index"] for name in ("mask", *(n + NEXT for n in names))]

    def frame(
        self, noisy: np.ndarray, state: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the mask [1, 1, bins, 2] of one frame and the state after it."""
        # by index: a tenth quicker than calling the step with names
        for index, value in zip(self.inputs, (noisy, *state), strict=True):
            self.interpreter.set_tensor(index, value)
        self.interpreter.invoke()
        mask, *state = (self.interpreter.get_tensor(index) for index in self.outputs)
        return mask, state


PACKAGES = {".onnx": "onnxruntime", ".tflite": "ai_edge_litert"}
EXPORTED: dict[str, type[Onnx] | type[LiteRt]] = {".onnx": Onnx, ".tflite": LiteRt}


def load(path: Path) -> Onnx | LiteRt:
    """Open an exported step by its suffix, .onnx or .tflite.

    Raises:
        UserError: if it cannot be used.
    """
    if path.suffix not in EXPORTED or not path.is_file():
        raise UserError(f"{path}: expected an existing .onnx or .tflite file of export.py")
    return EXPORTED[path.suffix](path)


@functools.lru_cache(maxsize=2)
def _opened(path: Path, modified: int) -> "Onnx | LiteRt":
    return load(path)


def is_installed(path: Path) -> bool:
    """Return whether the runtime of a model file is installed."""
    return importlib.util.find_spec(PACKAGES.get(path.suffix, "tensorflow")) is not None


def session(path: Path) -> Any:
    """Open an ONNX file in ONNX Runtime, with one thread."""
    onnxruntime = _module("onnxruntime", "onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # bytes: names that are not Unicode cannot be handed over
    return onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def _not_an_export(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: not a Specmask export ({type(error).__name__}); make one with export.py"
    )


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{package} is not installed; pip install {package}") from None
