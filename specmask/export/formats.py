"""Trained networks as files for other runtimes: ONNX, LiteRT (TensorFlow Lite) and SavedModel.

Conventions:
    The step takes one frame of one channel and the state, and gives the mask and the state
    after it (:mod:`specmask.export.step`); the whole model takes samples and gives samples, the
    STFT inside (:mod:`specmask.export.whole`).
"""

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from specmask import files
from specmask.config import ini
from specmask.enhancement import enhancer, runtimes
from specmask.enhancement.keras_runtime import KerasRuntime
from specmask.enhancement.postprocess import Knobs
from specmask.enhancement.runtimes import Description
from specmask.errors import UserError
from specmask.export import c_source, onnx_graph, program, web_page
from specmask.export.step import step_model
from specmask.export.whole import WholeModel, whole_model
from specmask.silence import quiet

INT8 = "_int8"  # suffix of names and digests


def export_run(
    run: KerasRuntime, formats: Sequence[str], folder: Path, int8: bool, knobs: Knobs
) -> list[Path]:
    """Write a trained run in several formats and return the files.

    Args:
        run: the run.
        formats: any of onnx, litert, savedmodel, c, ladspa, web.
        folder: receives step.onnx, whole.onnx, step.tflite, step.json, saved_model, c, ladspa,
            web.
        int8: also step_int8.onnx and step_int8.tflite.
        knobs: settings of the post-processing, in the graph of the whole model and in the
            description of a step.
    """
    network, description = run.network, replace(run.description, knobs=knobs)
    whole = functools.cache(lambda: whole_model(network, description.stft, knobs))
    step = step_model(network) if description.causal else None
    written = []
    if "onnx" in formats:
        if step:
            written += write_onnx(step, folder / "step.onnx", description, int8)
        written += write_onnx(whole(), folder / "whole.onnx", description)
    if "litert" in formats and step:
        for quantised in (False, True)[: 1 + int8]:
            written.append(folder / f"step{INT8 * quantised}.tflite")
            write_litert(step, written[-1], description, quantised)
    if "savedmodel" in formats:
        written.append(folder / "saved_model")
        write_saved_model(step, whole(), written[-1])
    sources = [name for name in c_source.FORMATS if name in formats]
    if sources or web_page.FORMAT in formats:
        graph = _onnx_graph(step or step_model(network))
        made = program.make(graph, description)
        written += [c_source.write(name, made, description, folder) for name in sources]
        if web_page.FORMAT in formats:
            written.append(web_page.write(made, description, folder))
    return written


def renew_step(folder: Path) -> Path | None:
    """Write step.tflite of a run's best weights, which enhance.py runs without TensorFlow.

    Returns:
        the file; None where it is up to date, or the network is not causal and has no step.
    """
    weights, run_ini = enhancer.weights_and_config(folder)
    path = weights.parent / enhancer.EXPORTS / "step.tflite"
    if enhancer.opened_export(path, weights):
        return None
    run = KerasRuntime(weights, run_ini)
    if not run.description.causal:
        return None
    path.parent.mkdir(exist_ok=True)
    description = replace(run.description, knobs=Knobs.from_config(ini.load(run_ini)))
    with quiet():
        write_litert(step_model(run.network), path, description)
    return path


def write_onnx(
    model: keras.Model, path: Path, description: Description, int8: bool = False
) -> list[Path]:
    """Write a model as ONNX, with its description in the metadata; return the files.

    Args:
        int8: also a second file with the matrices (not the convolutions) in 8 bits.

    Raises:
        UserError: if the package for it is missing.
        RuntimeError: if an operation of the network cannot be written.
    """
    onnx = _onnx()
    graph = _onnx_graph(model)
    with files.replacing(path) as temporary:
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


def _onnx_graph(model: keras.Model) -> Any:
    _onnx()  # an error in one line where it is missing
    signature = _signature(model)
    return onnx_graph.model_of(model, signature[0] if isinstance(signature[0], list) else signature)


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


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise UserError(
            f'{error.name} is not installed; pip install ".[export]" in the clone'
        ) from None
    return onnx
