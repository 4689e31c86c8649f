"""Enhance recordings: the noisy test files into ./enhanced, or IN into OUT.

Names, subfolders, rate, length, channels and format are kept. Files that are up to date are
skipped; files that cannot be used are set aside with a reason and do not stop the rest. Without a
run of your own (train.py, or [enhance] checkpoint) the default model is used.

examples:
  python enhance.py my_recordings/ cleaned/
  python enhance.py call.wav cleaned/ --max-suppression 12 --format flac
  python enhance.py                                      the test set that data_prep.py has made
  ffmpeg -i in.mp4 -f s16le -ac 1 -ar 48000 - | python enhance.py --stdin --stdout --rate 48000 |
      ffmpeg -f s16le -ac 1 -ar 48000 -i - out.wav
"""

import argparse
import sys
from pathlib import Path

from specmask.cli import console

REJECTED = "enhance_rejected.csv"
# Flag, option of [enhance], metavar, help.
FLAGS = (
    ("--mix", "mix", "SHARE", "share of the enhanced sound from 0 to 1, the rest is the input"),
    ("--max-suppression", "max_suppression_db", "DB", "largest attenuation in dB, e.g. 12"),
    ("--gain", "post_gain_db", "DB", "gain of the result in dB"),
    ("--format", "format", "NAME", "format of the results: as input, wav or flac"),
    ("--runtime", "runtime", "NAME", "what runs the network: tensorflow or onnx"),
)


def enhance(args: argparse.Namespace) -> None:
    from specmask.config import ini
    from specmask.errors import UserError

    if args.stdin != args.stdout or (args.stdin and args.input):
        raise UserError("--stdin and --stdout: expected both without IN and OUT, or none of them")
    if args.input and not args.output:  # [enhance] output_path holds the scored test files
        raise UserError(f"{args.input}: no OUT; name a folder for the results after it")
    cfg = ini.load(args.config, args.set)
    source, target = args.input or cfg.enhance.input_path, args.output or cfg.enhance.output_path
    from specmask.audio import io as audio_io
    from specmask.enhancement import enhancer, folder

    if not args.stdin:  # a wrong path is reported before the model is loaded
        recordings = folder.find_recordings(source, target, args.glob, cfg.enhance.format)
    if enhancer.needs_tensorflow(cfg):
        console.import_tensorflow()
    model, path = enhancer.from_config(cfg)
    messages = sys.stderr if args.stdout else sys.stdout
    default = "the default " if path.parent == enhancer.PRETRAINED else ""
    causal = "causal" if model.causal else "not causal"
    if model.lookahead_frames:
        causal += f", {1000 * model.lookahead_seconds:g} ms of look-ahead"
    print(f"{default}weights of {path} ({causal})", file=messages)
    if args.stdin:
        enhance_pipe(args, model)
        return
    c = cfg.enhance
    done = folder.enhance_folder(
        recordings,
        target,
        model,
        c.block_seconds,
        overwrite=args.overwrite,
        format=c.format,
        workers=cfg.compute.workers,
        spectrograms=args.spectrograms,
    )
    for rejected in done.rejected:
        print(f"warning: {rejected.path}: {rejected.reason}; set aside", file=sys.stderr)
    audio_io.write_rejected(target / REJECTED, done.rejected)
    if done.limited:
        print(f"warning: {done.limited} samples were above full scale, limited", file=sys.stderr)
    print(f"{summary(done)} -> {target}")


def summary(done) -> str:
    """Return what a run over a folder did, in one line."""
    words = [f"{done.done} {'file' if done.done == 1 else 'files'} enhanced"]
    if done.audio_seconds:
        speed = done.seconds / done.audio_seconds
        words[0] += f", {done.audio_seconds / 60:.1f} min, real-time factor {speed:.3f}"
    if done.skipped:
        words.append(f"{done.skipped} skipped, up to date (--overwrite makes them again)")
    if done.rejected:
        words.append(f"{len(done.rejected)} set aside, the reasons are in {REJECTED}")
    return "; ".join(words)


def enhance_pipe(args: argparse.Namespace, model) -> None:
    """Enhance raw samples from stdin to stdout."""
    from specmask.enhancement import pipe

    rate = args.rate or model.rate
    try:
        done = pipe.enhance_pipe(
            sys.stdin.buffer, sys.stdout.buffer, model, args.pcm, rate, args.channels
        )
    except BrokenPipeError:  # the reader has closed the pipe
        sys.stdout = None  # type: ignore[assignment]  # what cannot be written is not flushed at exit
        return
    print(
        f"{done.samples / rate:.2f} s, latency {1000 * done.lag_seconds:.0f} ms and at most "
        f"{1000 * done.slowest_seconds:.0f} ms of work per block, real-time factor "
        f"{done.real_time_factor:.3f}",
        file=sys.stderr,
    )


def model_path(text: str) -> Path:
    """Return the path of a model, of which ``default`` comes with Specmask."""
    if text != "default":
        return Path(text)
    from specmask.enhancement import enhancer

    return enhancer.default_model()


def main(argv=None) -> int:
    parser = console.parser(__doc__)
    parser.add_argument("input", nargs="?", type=Path, metavar="IN", help="file or folder")
    parser.add_argument(
        "output", nargs="?", type=Path, metavar="OUT", help="folder for the results"
    )
    parser.add_argument(
        "--glob",
        default="*",
        help="only files whose path ends with this pattern, e.g. 'calls/*.wav'",
    )
    parser.add_argument("--overwrite", action="store_true", help="make existing results again")
    parser.add_argument(
        "--spectrograms",
        action="store_true",
        help="also write the spectrograms of each file and its result, NAME.png",
    )
    flags = parser.add_argument_group("options of [enhance], in place of those of the INI file")
    console.add_option_flag(
        flags,
        "--model",
        "enhance.checkpoint",
        "run folder, .npz or export; default: the model that comes with Specmask",
        metavar="RUN",
        type=model_path,
    )
    for flag, option, metavar, text in FLAGS:
        console.add_option_flag(flags, flag, f"enhance.{option}", text, metavar=metavar)
    raw = parser.add_argument_group("raw samples through a pipe")
    raw.add_argument("--stdin", action="store_true", help="read raw samples, no IN")
    raw.add_argument("--stdout", action="store_true", help="write raw samples, no OUT")
    raw.add_argument("--pcm", choices=["s16le", "f32le"], default="s16le", help="default: s16le")
    raw.add_argument(
        "--rate", type=console.positive, metavar="HZ", help="in Hz (default: the model's)"
    )
    raw.add_argument("--channels", type=console.positive, default=1, metavar="N", help="default: 1")
    return console.run(enhance, parser.parse_args(argv))
