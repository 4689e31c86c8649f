"""Trained networks as files for other runtimes: ONNX, LiteRT (TensorFlow Lite) and SavedModel.

Conventions:
    The step takes one frame of one channel and the state, and gives the mask and the state
    after it: inputs ``noisy`` [1, 1, bins, 2] and one a state, outputs ``mask`` [1, 1, bins, 2]
    and ``<state>_next``. What the runtime does around it is in :mod:`specmask.runtime`.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from specmask import audio, models, runtime
from specmask.config import Config
from specmask.errors import UserError
from specmask.runtime import Description
from specmask.spectral import Stft


def describe(config: Config, network: models.Network, digest: str = "") -> Description:
    """Return what a runtime has to know of the network of a configuration."""
    states = {x.name: list(x.shape[1:]) for x in network.model.inputs[1:]}
    stft = Stft.from_config(config)
    return Description(config.data.sample_rate, stft, network.causal, digest, states)


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


def _build(config: Config, weights: Sequence[np.ndarray] | None) -> models.Network:
    network = models.build(config)
    if weights is not None:
        for variable, value in zip(network.model.variables, weights, strict=True):
            variable.assign(value)
    return network


def write_onnx(model: keras.Model, path: Path, description: Description) -> None:
    """Write a model as ONNX, with its description in the metadata.

    Raises:
        UserError: if the package for it is missing.
        RuntimeError: if the graph holds a tensor from outside the model.
    """
    onnx = _onnx()
    with audio.replacing(path) as temporary:
        model.export(temporary, format="onnx", verbose=False, input_signature=[_signature(model)])
        graph = onnx.load(temporary)
        known = {x.name for x in model.inputs}
        strange = [x.name for x in graph.graph.input if x.name not in known]
        if strange:
            raise RuntimeError(
                f"{strange}: tensors from outside the graph; make them NumPy arrays or weights"
            )
        graph.metadata_props.add(key=runtime.METADATA_KEY, value=description.to_json())
        onnx.save(graph, temporary)


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
            input_signature=[_signature(model)],
            target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
            **options,
        )
    with audio.replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(description.to_json(), encoding="utf-8")


def _signature(model: keras.Model) -> list:
    return [keras.InputSpec(shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]


def _onnx():
    try:
        import onnx
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install 'specmask[export]'") from None
    return onnx


def milliseconds(step: runtime.Onnx | runtime.LiteRt, frames: int = 300, repeats: int = 5) -> float:
    """Measure the time of an exported step in ms a frame: the median of the repeats."""
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
    return float(np.median(times)) / frames * 1000
