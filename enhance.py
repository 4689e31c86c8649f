"""Enhance recordings: the noisy test files into ./enhanced, or IN into OUT.

Names, subfolders, rate, length, channels and format stay. Files that are done are skipped.

examples:
  python enhance.py
  python enhance.py my_recordings/ cleaned/
  python enhance.py call.wav cleaned/ --runtime onnx
"""

import sys
from pathlib import Path

from specmask import cli


def enhance(args) -> None:
    from specmask import config

    runtime = [f"enhance.runtime={args.runtime}"] if args.runtime else []
    cfg = config.load(args.config, args.set + runtime)
    source, target = args.input or cfg.enhance.input_path, args.output or cfg.enhance.output_path
    from specmask import audio, enhancer, folder

    if enhancer.needs_tensorflow(cfg):
        cli.import_tensorflow()
    model, path = enhancer.from_config(cfg)
    print(f"weights of {path} ({'causal' if model.causal else 'not causal'})")
    c = cfg.enhance
    done = folder.enhance_folder(
        source,
        target,
        model,
        c.block_seconds,
        overwrite=args.overwrite,
        glob=args.glob,
        format=c.format,
        workers=cfg.compute.workers,
    )
    for rejected in done.rejected:
        print(f"warning: {rejected.path}: {rejected.reason}; set aside", file=sys.stderr)
    audio.write_rejected(target / "enhance_rejected.csv", done.rejected)
    if done.limited:
        print(f"warning: {done.limited} samples were above full scale, limited", file=sys.stderr)
    speed = done.seconds / done.audio_seconds if done.audio_seconds else 0
    print(
        f"{done.done} files enhanced, {done.audio_seconds / 3600:.3f} h, real-time factor "
        f"{speed:.3f}; {done.skipped} skipped as done, {len(done.rejected)} set aside -> {target}"
    )


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("input", nargs="?", type=Path, metavar="IN", help="file or folder")
    parser.add_argument(
        "output", nargs="?", type=Path, metavar="OUT", help="folder for the results"
    )
    parser.add_argument(
        "--glob", default="*", help="only files whose path ends like this, e.g. 'calls/*.wav'"
    )
    parser.add_argument(
        "--runtime", choices=["tensorflow", "onnx"], help="short for --set enhance.runtime=..."
    )
    parser.add_argument("--overwrite", action="store_true", help="make existing results again")
    return cli.run(enhance, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
