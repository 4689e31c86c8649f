"""Exported networks behind one interface, without TensorFlow: ONNX Runtime and LiteRT.

Conventions:
    A runtime gives masks for noisy spectra: ``mask(noisy, state) -> (mask, state)`` with noisy
    and mask float32 [batch, frames, bins, 2] (real, imaginary), any number of frames from 1 on.
    The masks are those of frames ``lookahead_frames`` earlier: the first ones are of no frame.
    The state is the runtime's own; ``zero_state(batch)`` is the one before the first frame.
    What an exported file needs besides its weights is a :class:`Description` in JSON: ONNX
    files carry it in their metadata, LiteRT files have it beside them (``step.json``).
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio.stft import Stft
from specmask.enhancement.postprocess import Knobs
from specmask.errors import UserError

METADATA_KEY = "specmask"  # of the JSON text in the metadata of an ONNX file
NEXT = "_next"  # a state's output is called as its input, with this behind


@dataclass(frozen=True)
class Description:
    """What is to be known of a network to enhance with it; plain values, as JSON holds them."""

    sample_rate: int  # Hz
    stft: Stft
    causal: bool
    digest: str  # of the weights
    states: Mapping[str, list[int]]  # name -> shape without the batch, in the network's order
    knobs: Knobs = field(default_factory=Knobs)  # as set at the export
    lookahead_frames: int = 0  # by which the masks are late; older exports do not tell it

    def to_json(self) -> str:
        """Return the description as JSON text, with the two windows for simple programs."""
        windows = {"window": self.stft.window, "synthesis_window": self.stft.synthesis_window}
        values = {**asdict(self), "states": dict(self.states)}
        return json.dumps(values | {name: w.tolist() for name, w in windows.items()})

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Read what :meth:`to_json` has written."""
        values = json.loads(text)
        del values["window"], values["synthesis_window"]
        parts = {"stft": Stft(**values["stft"]), "knobs": Knobs(**values["knobs"])}
        return cls(**values | parts)


class _OneFrame:
    """An exported step: one frame of one channel a call."""

    description: Description
    arguments: tuple[Path, int]
    batches = False  # many rows in a call cost as much as one after the other

    def zero_state(self, batch: int) -> list[list[np.ndarray]]:
        """Return the state before the first frame: one list of arrays a row."""
        shapes = self.description.states.values()
        return [[np.zeros((1, *shape), np.float32) for shape in shapes] for _ in range(batch)]

    def mask(self, noisy: np.ndarray, state: list) -> tuple[np.ndarray, list]:
        """Return the masks of these frames and the state after them."""
        out, after = np.empty_like(noisy), []
        for row, own in enumerate(state):
            for t in range(noisy.shape[1]):
                out[row, t], own = self.frame(noisy[row : row + 1, t : t + 1], own)
            after.append(own)
        return out, after

    def __reduce__(self) -> tuple:
        """Other processes open the file again."""
        return type(self), self.arguments

    def frame(self, noisy: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list]:
        """Return the mask [1, 1, bins, 2] of one frame and the state after it."""
        raise NotImplementedError


class Onnx(_OneFrame):
    """A step in ONNX Runtime.

    Args:
        path: what ``export.py`` has written.
        threads: that one frame may use.

    Raises:
        UserError: if onnxruntime is missing, or the file is none of ours.
    """

    def __init__(self, path: Path, threads: int = 1):
        self.arguments = path, threads
        try:
            self.session = session(path, threads)
            text = self.session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            self.description = Description.from_json(text)
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime's own have no common base
            raise UserError(
                f"{path}: no network of export.py ({type(error).__name__}); make one with export.py"
            ) from None
        names = list(self.description.states)
        self.inputs = ["noisy", *names]
        self.outputs = ["mask", *(name + NEXT for name in names)]

    def frame(self, noisy: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list]:
        """Return the mask [1, 1, bins, 2] of one frame and the state after it."""
        feed = dict(zip(self.inputs, (noisy, *state), strict=True))
        mask, *state = self.session.run(self.outputs, feed)
        return mask, state


class LiteRt(_OneFrame):
    """A step in LiteRT, the runtime of TensorFlow Lite files.

    Args:
        path: what ``export.py`` has written, its ``.json`` beside it.
        threads: that one frame may use.

    Raises:
        UserError: if ai-edge-litert is missing, or the files are none of ours.
    """

    def __init__(self, path: Path, threads: int = 1):
        self.arguments = path, threads
        litert = _module("ai_edge_litert.interpreter", "ai-edge-litert")
        try:
            text = path.with_suffix(".json").read_text(encoding="utf-8")
            self.description = Description.from_json(text)
            interpreter = litert.Interpreter(model_content=path.read_bytes(), num_threads=threads)
            self.run = interpreter.get_signature_runner()
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{path}: no network of export.py ({type(error).__name__}); make one with export.py"
            ) from None

    def frame(self, noisy: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list]:
        """Return the mask [1, 1, bins, 2] of one frame and the state after it."""
        names = list(self.description.states)
        out = self.run(noisy=noisy, **dict(zip(names, state, strict=True)))
        return out["mask"], [out[name + NEXT] for name in names]


KINDS = {".onnx": Onnx, ".tflite": LiteRt}


def load(path: Path, threads: int = 1) -> Onnx | LiteRt:
    """Open an exported step by its suffix, .onnx or .tflite.

    Raises:
        UserError: if it cannot be used.
    """
    if path.suffix not in KINDS or not path.is_file():
        raise UserError(f"{path}: expected an existing .onnx or .tflite file of export.py")
    return KINDS[path.suffix](path, threads)


def session(path: Path, threads: int = 1) -> Any:
    """Open an ONNX file in ONNX Runtime."""
    ort = _module("onnxruntime", "onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # bytes: names that are not Unicode cannot be handed over
    return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{package} is not installed; pip install {package}") from None
