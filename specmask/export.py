"""Trained networks as files for other runtimes: ONNX, LiteRT (TensorFlow Lite) and SavedModel.

Conventions:
    The step takes one frame of one channel and the state, and gives the mask and the state
    after it: inputs ``noisy`` [1, 1, bins, 2] and one a state, outputs ``mask`` [1, 1, bins, 2]
    and ``<state>_next``. What the runtime does around it is in :mod:`specmask.runtime`.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from specmask import audio, models, runtime
from specmask.config import Config
from specmask.errors import UserError
from specmask.knobs import Knobs
from specmask.models.whole import Whole
from specmask.runtime import Description
from specmask.spectral import Stft
from specmask.trained import Trained

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
    names = ["mask", *(x.name + runtime.NEXT for x in states)]
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
    with audio.replacing(path) as temporary:
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
    with audio.replacing(small) as temporary:
        # Dynamic convolutions are slower in 8 bits than in 32 (see docs/enhancement.md).
        quantize_dynamic(path, temporary, op_types_to_quantize=["MatMul", "Gemm"])
        about = replace(description, digest=description.digest + INT8)
        _save(onnx, onnx.load(temporary), temporary, about)
    return [path, small]


def _save(onnx: Any, graph: Any, path: Path, description: Description) -> None:
    del graph.metadata_props[:]
    graph.metadata_props.add(key=runtime.METADATA_KEY, value=description.to_json())
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
    with audio.replacing(path) as temporary:
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
    with audio.replacing(path.with_suffix(".json")) as temporary:
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


def milliseconds(step: runtime.Onnx | runtime.LiteRt, frames: int = 300, repeats: int = 5) -> float:
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
