"""Trained networks as files for other runtimes: ONNX, LiteRT (TensorFlow Lite) and SavedModel.

Conventions:
    The step takes one frame of one channel and the state, and gives the mask and the state
    after it: inputs ``noisy`` [1, 1, bins, 2] and one per state, outputs ``mask`` [1, 1, bins, 2]
    and ``<state>_next``. :mod:`specmask.enhancement.runtimes` runs it.
    The whole model takes samples and gives samples, the STFT inside.
"""

import tempfile
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
from specmask.enhancement.keras_runtime import KerasRuntime
from specmask.enhancement.postprocess import SMALLEST, Knobs
from specmask.enhancement.runtimes import Description
from specmask.errors import UserError
from specmask.models import Network, targets
from specmask.models.stft import overlap_add

INT8 = "_int8"  # suffix of names and digests


class WholeModel(keras.Model):
    """A recording enhanced in one call: float32 [1, samples] -> [1, samples].

    The transforms are matrix products: the converter to ONNX has no FFT. Memory grows with the
    square of the length (the level normaliser compares all pairs of frames): meant for up to about
    a minute.

    Args:
        network: with its weights.
        stft: the transform that it was trained with.
        knobs: settings of the post-processing, part of the graph.
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
        mask = apply_knobs(self.network.mask(noisy), self.knobs)
        enhanced = targets.apply_complex(mask, noisy)
        frames = ops.matmul(ops.reshape(enhanced, (1, -1, 2 * stft.bins)), self.synthesis)
        return overlap_add(frames, stft)[:, stft.pad : stft.pad + samples]


def apply_knobs(mask: Any, knobs: Knobs) -> Any:
    """Return what :meth:`specmask.enhancement.postprocess.Knobs.apply` does, of [..., bins, 2]."""
    floor = 10 ** (-knobs.max_suppression_db / 20)
    magnitude = ops.sqrt(ops.sum(ops.square(mask), axis=-1, keepdims=True))
    mask = mask * ops.maximum(1.0, floor / ops.maximum(magnitude, SMALLEST))
    dry = np.array([1 - knobs.mix, 0], np.float32)
    return knobs.gain * (knobs.mix * mask + dry)


def analysis_matrix(stft: Stft) -> np.ndarray:
    """Return the windowed DFT, float32 [window_length, 2 bins]: real, imaginary, real, ..."""
    spectra = np.fft.rfft(np.diag(stft.window.astype(np.float64)), stft.n_fft)
    return spectra.view(np.float64).astype(np.float32)


def synthesis_matrix(stft: Stft) -> np.ndarray:
    """Return the inverse DFT with the synthesis window, float32 [2 bins, window_length]."""
    units = np.eye(stft.bins)[:, None, :] * np.array([1, 1j])[:, None]  # [bins, 2, bins]
    signals = np.fft.irfft(units, stft.n_fft)[..., : stft.window_length]
    return (signals * stft.synthesis_window).reshape(2 * stft.bins, -1).astype(np.float32)


def step_model(config: Config, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Return the network of a configuration for one frame of one channel, all shapes fixed.

    Args:
        config: of the run.
        weights: values of the network's variables; without them they are random.

    Raises:
        UserError: if the network is not causal.
    """
    network = _build(config, weights)
    if not network.causal:
        raise UserError(
            "[model]: the network is not causal and has no step for one frame; "
            "export a causal one, or the whole model alone"
        )
    for layer in network.model._flatten_layers():  # private: no other way to nested layers
        if isinstance(layer, keras.layers.RNN):
            layer.unroll = True  # one frame needs no loop, and loops are slow in both runtimes
    noisy, *states = network.model.inputs
    inputs = [keras.Input(batch_shape=(1, 1, *noisy.shape[2:]), name=noisy.name)]
    inputs += [keras.Input(batch_shape=(1, *x.shape[1:]), name=x.name) for x in states]
    # The same layers on inputs of fixed shape, as a model without the old one inside: exports
    # would trace that one too, with an open number of frames.
    fixed = keras.models.clone_model(network.model, inputs, clone_function=lambda layer: layer)
    names = ["mask", *(x.name + runtimes.NEXT for x in states)]
    return keras.Model(fixed.inputs, dict(zip(names, fixed.outputs, strict=True)), name="step")


def whole_model(config: Config, weights: Sequence[np.ndarray], knobs: Knobs) -> WholeModel:
    """Return a network with its STFT around it: samples [1, samples] -> [1, samples]."""
    model = WholeModel(_build(config, weights), Stft.from_config(config), knobs)
    model(np.zeros((1, 1000), np.float32))
    return model


def _build(config: Config, weights: Sequence[np.ndarray] | None) -> models.Network:
    network = models.build(config)
    if weights is not None:
        for variable, value in zip(network.model.variables, weights, strict=True):
            variable.assign(value)
    return network


def export_run(
    run: KerasRuntime,
    config: Config,
    formats: Sequence[str],
    folder: Path,
    int8: bool,
    knobs: Knobs,
) -> list[Path]:
    """Write a trained run in several formats and return the files.

    Args:
        run: the run.
        config: its configuration.
        formats: any of onnx, litert, savedmodel.
        folder: receives step.onnx, whole.onnx, step.tflite, step.json, saved_model.
        int8: also step_int8.onnx and step_int8.tflite.
        knobs: settings of the post-processing, in the graph of the whole model and in the
            description of a step.
    """
    weights = [np.asarray(v) for v in run.network.model.variables]
    description = replace(run.description, knobs=knobs)
    whole = whole_model(config, weights, knobs)
    step = step_model(config, weights) if description.causal else None
    written = []
    if "onnx" in formats:
        if step:
            written += write_onnx(step, folder / "step.onnx", description, int8)
        written += write_onnx(whole, folder / "whole.onnx", description)
    if "litert" in formats and step:
        for quantised in (False, True)[: 1 + int8]:
            written.append(folder / f"step{INT8 * quantised}.tflite")
            write_litert(step, written[-1], description, quantised)
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
        captured = [x.name for x in graph.graph.input if x.name not in known]
        if captured:
            raise RuntimeError(
                f"{captured}: tensors from outside the graph; make them NumPy arrays or weights"
            )
        _save(onnx, graph, temporary, description)
    if not int8:
        return [path]
    from onnxruntime.quantization import quantize_dynamic

    small = path.with_stem(path.stem + INT8)
    with files.replacing(small) as temporary:
        # Dynamic convolutions are slower in 8 bits than in 32 (see docs/enhancement.md).
        quantize_dynamic(path, temporary, op_types_to_quantize=["MatMul", "Gemm"])
        description = replace(description, digest=description.digest + INT8)
        _save(onnx, onnx.load(temporary), temporary, description)
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


def write_saved_model(step: keras.Model | None, whole: WholeModel, folder: Path) -> None:
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
    if isinstance(model, WholeModel):
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
