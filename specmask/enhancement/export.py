"""Trained networks as files for other runtimes: ONNX, LiteRT (TensorFlow Lite) and SavedModel.

Conventions:
    The step takes one frame of one channel and the state, and gives the mask and the state
    after it: inputs ``noisy`` [1, 1, bins, 2] and one a state, outputs ``mask`` [1, 1, bins, 2]
    and ``<state>_next``.
    What the runtime does around it is in :mod:`specmask.enhancement.runtimes`.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from specmask import files, models
from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.enhancement import runtimes
from specmask.enhancement.keras_runtime import Trained
from specmask.enhancement.postprocess import SMALLEST, Knobs
from specmask.enhancement.runtimes import Description
from specmask.errors import UserError
from specmask.models import Network, targets
from specmask.models.stft import overlap_add


class Whole(keras.Model):
    """Enhance a recording in one call: float32 [1, samples] -> [1, samples].

    Memory grows with the square of the length (the level normaliser looks at all pairs of
    frames): meant for up to about a minute.

    Args:
        network: with its weights.
        stft: the transform that it was trained with.
        knobs: settings of the sound, part of the graph.
    """

    def __init__(self, network: Network, stft: Stft, knobs: Knobs):
        super().__init__(name="whole")
        self.network, self.stft, self.knobs = network, stft, knobs
        self.inner = network.model  # Keras tracks the weights of its attributes
        self.analysis = self._constant(analysis_matrix(stft)[:, None, :], "analysis")
        self.synthesis = self._constant(synthesis_matrix(stft), "synthesis")

    def _constant(self, values: np.ndarray, name: str) -> Any:
        constant = keras.initializers.Constant(values)
        return self.add_weight(shape=values.shape, initializer=constant, trainable=False, name=name)

    def call(self, x: Any) -> Any:
        """Return the enhanced samples."""
        stft, samples = self.stft, ops.shape(x)[1]
        x = ops.pad(x, ((0, 0), (stft.pad, stft.pad + stft.hop_length - 1)))
        noisy = ops.conv(x[..., None], self.analysis, strides=stft.hop_length, padding="valid")
        noisy = ops.reshape(noisy, (1, -1, stft.bins, 2))
        mask = turn(self.network.mask(noisy), self.knobs)
        enhanced = targets.apply_complex(mask, noisy)
        frames = ops.matmul(ops.reshape(enhanced, (1, -1, 2 * stft.bins)), self.synthesis)
        return overlap_add(frames, stft)[:, stft.pad : stft.pad + samples]


def turn(mask: Any, knobs: Knobs) -> Any:
    """:meth:`specmask.knobs.Knobs.turn` of a mask [..., 2]."""
    floor = 10 ** (-knobs.max_suppression_db / 20)
    size = ops.sqrt(ops.sum(ops.square(mask), axis=-1, keepdims=True))
    mask = mask * ops.maximum(1.0, floor / ops.maximum(size, SMALLEST))
    dry = np.array([1 - knobs.mix, 0], np.float32)
    return 10 ** (knobs.post_gain_db / 20) * (knobs.mix * mask + dry)


def analysis_matrix(stft: Stft) -> np.ndarray:
    """Return the windowed DFT, float32 [window_length, 2 bins]: real, imaginary, real, ..."""
    spectra = np.fft.rfft(np.diag(stft.window.astype(np.float64)), stft.n_fft)
    return spectra.view(np.float64).astype(np.float32)


def synthesis_matrix(stft: Stft) -> np.ndarray:
    """Return the inverse DFT with the synthesis window, float32 [2 bins, window_length]."""
    units = np.eye(stft.bins)[:, None, :] * np.array([1, 1j])[:, None]  # [bins, 2, bins]
    signals = np.fft.irfft(units, stft.n_fft)[..., : stft.window_length]
    return (signals * stft.synthesis_window).reshape(2 * stft.bins, -1).astype(np.float32)


INT8 = "_int8"


def step_model(config: Config, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Return the network of a configuration for one frame of one channel, all shapes fixed.

    Args:
        config: of the run.
        weights: of the network's variables; without them they are drawn.

    Raises:
        UserError: if the network is not causal.
    """
    network = _build(config, weights)
    if not network.causal:
        raise UserError(
            "[model]: the network is not causal and has no step for one frame; "
            "export a causal one, or the whole-utterance model alone"
        )
    for layer in network.model._flatten_layers():
        if isinstance(layer, keras.layers.RNN):
            layer.unroll = True  # one frame needs no loop, and loops are slow in both runtimes
    noisy, *states = network.model.inputs
    inputs = [keras.Input(batch_shape=(1, 1, *noisy.shape[2:]), name=noisy.name)]
    inputs += [keras.Input(batch_shape=(1, *x.shape[1:]), name=x.name) for x in states]
    # The same layers on inputs of fixed shape, as a model without the old one inside: exports
    # would trace that one too, and with an open number of frames.
    fixed = keras.models.clone_model(network.model, inputs, clone_function=lambda layer: layer)
    names = ["mask", *(x.name + runtimes.NEXT for x in states)]
    return keras.Model(fixed.inputs, dict(zip(names, fixed.outputs, strict=True)), name="step")


def whole_model(config: Config, weights: Sequence[np.ndarray], knobs: Knobs) -> Whole:
    """Return a network with its STFT around it: samples [1, samples] -> [1, samples]."""
    model = Whole(_build(config, weights), Stft.from_config(config), knobs)
    model(np.zeros((1, 1000), np.float32))
    return model


def _build(config: Config, weights: Sequence[np.ndarray] | None) -> models.Network:
    network = models.build(config)
    if weights is not None:
        for variable, value in zip(network.model.variables, weights, strict=True):
            variable.assign(value)
    return network


def write(
    run: Trained, config: Config, formats: Sequence[str], folder: Path, int8: bool, knobs: Knobs
) -> list[Path]:
    """Write a trained run in several formats.

    Args:
        run: the run.
        config: its configuration.
        formats: any of onnx, litert, savedmodel.
        folder: receives step.onnx, whole.onnx, step.tflite, step.json, saved_model.
        int8: also step_int8.onnx and step_int8.tflite.
        knobs: settings of the sound: in the graph of what is whole, told by the description of
            a step.

    Returns:
        what was written.
    """
    weights = [np.asarray(v) for v in run.network.model.variables]
    about = replace(run.description, knobs=knobs)
    whole = whole_model(config, weights, knobs)
    step = step_model(config, weights) if about.causal else None
    written = []
    if "onnx" in formats:
        if step:
            written += write_onnx(step, folder / "step.onnx", about, int8)
        written += write_onnx(whole, folder / "whole.onnx", about)
    if "litert" in formats and step:
        for wanted in (False, True)[: 1 + int8]:
            written.append(folder / f"step{INT8 * wanted}.tflite")
            write_litert(step, written[-1], about, wanted)
    if "savedmodel" in formats:
        written.append(folder / "saved_model")
        write_saved_model(step, whole, written[-1])
    return written


def write_onnx(
    model: keras.Model, path: Path, description: Description, int8: bool = False
) -> list[Path]:
    """Write a model as ONNX, with its description in the metadata; return the files.

    Args:
        int8: also a second file with the matrices (not the convolutions) in 8 bits.

    Raises:
        UserError: if the package for it is missing.
        RuntimeError: if the graph holds a tensor from outside the model.
    """
    onnx = _onnx()
    signature = _signature(model)
    with files.replacing(path) as temporary:
        model.export(temporary, format="onnx", verbose=False, input_signature=signature)
        graph = onnx.load(temporary)
        known = {x.name for x in _flat(signature)}
        strange = [x.name for x in graph.graph.input if x.name not in known]
        if strange:
            raise RuntimeError(
                f"{strange}: tensors from outside the graph; make them NumPy arrays or weights"
            )
        _save(onnx, graph, temporary, description)
    if not int8:
        return [path]
    from onnxruntime.quantization import quantize_dynamic

    small = path.with_stem(path.stem + INT8)
    with files.replacing(small) as temporary:
        # Dynamic convolutions are slower in 8 bits than in 32 (see docs/enhancement.md).
        quantize_dynamic(path, temporary, op_types_to_quantize=["MatMul", "Gemm"])
        about = replace(description, digest=description.digest + INT8)
        _save(onnx, onnx.load(temporary), temporary, about)
    return [path, small]


def _save(onnx: Any, graph: Any, path: Path, description: Description) -> None:
    del graph.metadata_props[:]
    graph.metadata_props.add(key=runtimes.METADATA_KEY, value=description.to_json())
    onnx.save(graph, path)


def write_litert(
    model: keras.Model, path: Path, description: Description, int8: bool = False
) -> None:
    """Write a model for LiteRT, and its description beside it.

    Args:
        int8: weights in 8 bits, activations quantised on the fly; inputs and outputs stay float.
    """
    import tensorflow as tf

    options = {"optimizations": [tf.lite.Optimize.DEFAULT]} if int8 else {}
    with files.replacing(path) as temporary:
        model.export(
            temporary,
            format="litert",
            verbose=False,
            input_signature=_signature(model),
            target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
            **options,
        )
    if int8:
        description = replace(description, digest=description.digest + INT8)
    with files.replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(description.to_json(), encoding="utf-8")


def write_saved_model(step: keras.Model | None, whole: Whole, folder: Path) -> None:
    """Write a SavedModel with the endpoints ``step`` (of causal networks) and ``enhance``."""
    archive = keras.export.ExportArchive()
    for name, model in (("step", step), ("enhance", whole)):
        if model is not None:
            archive.track(model)
            archive.add_endpoint(name, model, input_signature=_signature(model))
    with tempfile.TemporaryDirectory(prefix=".specmask-", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        archive.write_out(new, verbose=False)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)


def _signature(model: keras.Model) -> list:
    if isinstance(model, Whole):
        return [keras.InputSpec(shape=(1, None), dtype="float32", name="noisy")]
    return [[keras.InputSpec(shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]]


def _flat(signature: list) -> list:
    return signature[0] if isinstance(signature[0], list) else signature


def _onnx() -> Any:
    try:
        import onnx
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'{error.name} is not installed; pip install ".[export]" in the clone'
        ) from None
    return onnx


def milliseconds(
    step: runtimes.Onnx | runtimes.LiteRt, frames: int = 300, repeats: int = 5
) -> float:
    """Measure the time of an exported step in ms a frame.

    Of the repeats the quickest counts: what else the machine does only adds to the others.
    """
    rng = np.random.default_rng(0)
    shape = (1, frames, step.description.stft.bins, 2)
    noisy = rng.standard_normal(shape).astype(np.float32)
    state = step.zero_state(1)
    step.mask(noisy[:, :20], state)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step.mask(noisy, state)
        times.append(time.perf_counter() - started)
    return min(times) / frames * 1000
