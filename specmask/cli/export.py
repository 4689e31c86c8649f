"""Write a trained run for other runtimes, and compare the results with the Keras model.

  step.onnx, step.tflite   one frame and the state -> its mask and the state (causal networks)
  whole.onnx               samples -> samples, the STFT inside; up to about a minute
  saved_model              both, for TensorFlow; endpoints step and enhance
  c                        step and STFT as C source without dependencies, with an example
  ladspa                   the same as a plugin for audio programs under Linux
  web                      a page for browsers: recordings and the microphone, before and after
  parity.md, parity.json   differences, quality, size, speed

Needs the extra export, and recordings to compare on: the test set, or those of --noisy.

examples:
  python export.py
  python export.py --checkpoint cp/run --format onnx,litert --int8
  python export.py --checkpoint default --format c,ladspa,web --output for_others
  python export.py --checkpoint default --output exported --noisy my_recordings
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from specmask.cli import console

FORMATS = ("onnx", "litert", "savedmodel")  # that are written without --format
SOURCES = ("c", "ladspa", "web")
# What a format replaces in the folder; step.tflite is written by train.py too.
RESULTS = {"onnx": ("step.onnx", "whole.onnx"), "litert": (), "savedmodel": ("saved_model",)}
RESULTS |= {name: (name,) for name in SOURCES}
OTHER_NAMES = {"tflite": "litert", "saved_model": "savedmodel"}


def export(args: argparse.Namespace) -> int:
    from specmask.config import ini
    from specmask.errors import UserError

    formats = [OTHER_NAMES.get(n, n) for n in map(str.strip, args.format.lower().split(","))]
    if unknown := sorted(set(formats) - {*FORMATS, *SOURCES}):
        expected = ", ".join((*FORMATS, *SOURCES))
        raise UserError(f"--format {unknown[0]}: expected some of {expected}")
    cfg = ini.load(args.config, args.set)
    console.import_tensorflow()
    from specmask import files
    from specmask.enhancement import enhancer
    from specmask.enhancement.keras_runtime import KerasRuntime
    from specmask.enhancement.postprocess import Knobs
    from specmask.export import check
    from specmask.export.formats import export_run
    from specmask.silence import quiet

    model = trained(args.checkpoint or enhancer.find(cfg))
    weights, run_ini = enhancer.weights_and_config(model)
    folder = args.output or weights.parent / enhancer.EXPORTS
    replaced = [name for key in formats for name in RESULTS[key] if (folder / name).exists()]
    if ((folder / "parity.json").exists() or replaced) and not args.overwrite:
        raise UserError(
            f"{folder}: holds {(*replaced, 'exports')[0]}; --overwrite makes it again, or name "
            "another --output"
        )
    noisy = args.noisy or cfg.enhance.input_path
    clean = args.clean
    if clean and not clean.is_dir():
        raise UserError(f"--clean {clean}: no such folder; name that of the clean recordings")
    if clean is None and noisy == cfg.stft.folder("NoisySpeech", "testing"):
        clean = cfg.stft.folder("CleanSpeech", "testing")
    pairs = check.find_pairs(noisy, clean, args.files)  # errors come before the work
    knobs = Knobs.from_config(cfg)
    run = KerasRuntime(weights, run_ini)
    of_steps = {"litert", *SOURCES} & set(formats)
    if not run.description.causal and ({*SOURCES} & of_steps or of_steps == set(formats)):
        raise UserError(
            f"--format {args.format}: the network of {weights} is not causal and has no step of "
            "one frame; expected onnx or savedmodel"
        )
    if args.int8 and not {"onnx", "litert"} & set(formats):
        raise UserError(f"--int8: no effect on --format {args.format}; add onnx or litert")
    reference = enhancer.Enhancer(run, knobs=knobs)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        paths = export_run(run, formats, folder, args.int8, knobs)
    rows = check.compare(paths, reference, *zip(*pairs, strict=True))
    with_clean = sum(c is not None for _, c in pairs)
    text = f"{check.table(rows)}\n\n{len(pairs)} recordings, {with_clean}"
    text += f" with their clean ones; weights {weights.name}, {reference.digest}\n"
    numbers = json.dumps([asdict(row) for row in rows])
    for name, content in (("parity.md", text), ("parity.json", numbers)):
        with files.replacing(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(f"{text}\n{len(paths)} exports -> {folder}")
    differing = check.differing(rows)
    for line in differing:
        print(f"different: {line}", file=sys.stderr)
    return console.EXIT_BROKEN_BOUND if differing else console.EXIT_OK


def trained(model: Path) -> Path:
    """Return the run or .npz file of a model as enhance.py names it; that of an export: beside it.

    Raises:
        UserError: if the model is an export without its weights.
    """
    from specmask.enhancement import enhancer
    from specmask.errors import UserError

    if model == Path(enhancer.DEFAULT):
        return enhancer.default_model("tensorflow")
    if model.suffix not in enhancer.EXPORT_SUFFIXES.values():
        return model
    weights = model.with_suffix(".npz")
    if not weights.is_file():
        raise UserError(
            f"{model}: an export, without weights of its name beside it; name the run folder or "
            "the .npz file that it was made from"
        )
    return weights


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = console.parser(__doc__, broken="a float export differs from the Keras model")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="RUN",
        help="run folder, .npz or default, the model that comes with Specmask (default: as "
        "enhance.py)",
    )
    parser.add_argument(
        "--format",
        default=",".join(FORMATS),
        help=f"some of {','.join((*FORMATS, *SOURCES))}; tflite is litert "
        f"(default: {','.join(FORMATS)})",
    )
    parser.add_argument("--int8", action="store_true", help="also steps with weights in 8 bits")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="default: the folder exports of the run"
    )
    parser.add_argument(
        "--noisy", type=Path, metavar="DIR", help="recordings to compare on (default: test set)"
    )
    parser.add_argument(
        "--clean", type=Path, metavar="DIR", help="their clean ones (default: test set)"
    )
    parser.add_argument(
        "--files",
        type=console.positive,
        default=5,
        metavar="N",
        help="recordings to take (default: 5)",
    )
    parser.add_argument("--overwrite", action="store_true", help="make existing exports again")
    return console.run(export, parser.parse_args(argv))
