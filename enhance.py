"""Enhance recordings: the noisy test files into ./enhanced, or IN into OUT.

Names, subfolders, rate, length, channels and format stay. Files that are done are skipped.

examples:
  python enhance.py
  python enhance.py my_recordings/ cleaned/
  python enhance.py call.wav cleaned/
"""

import sys
from pathlib import Path

from specmask import cli


def enhance(args) -> None:
    from specmask import config

    cfg = config.load(args.config, args.set)
    source, target = args.input or cfg.enhance.input_path, args.output or cfg.enhance.output_path
    cli.import_tensorflow()
    from specmask import audio, enhancer

    run = enhancer.find(cfg)
    model = enhancer.load(run, cfg.enhance.channels)
    print(f"weights of {run} ({'causal' if model.network.causal else 'not causal'})")
    done = enhancer.enhance_folder(source, target, model, cfg.enhance.block_seconds, args.overwrite)
    for rejected in done.rejected:
        print(f"warning: {rejected.path}: {rejected.reason}; set aside", file=sys.stderr)
    audio.write_rejected(target / "enhance_rejected.csv", done.rejected)
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
    parser.add_argument("--overwrite", action="store_true", help="make existing results again")
    return cli.run(enhance, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
