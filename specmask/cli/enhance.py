"""Enhance recordings: the noisy test files into ./enhanced, or IN ... into OUT.

Names, subfolders, rate, length, channels and format are kept. Files that are up to date are
skipped; those of earlier weights of the same run, or whose recordings have changed, are made again.
Files that cannot be used are skipped with a reason and do not stop the rest. Without a run of your
own (train.py, or [enhance] checkpoint) the default model is used.

examples:
  python enhance.py my_recordings/ cleaned/
  python enhance.py call.wav cleaned/ --max-suppression 12 --format flac
  python enhance.py monday.mp3 tuesday.flac cleaned/
  python enhance.py call.mp3 clean.wav
  python enhance.py                                      the test set that data_prep.py has made
  ffmpeg -i in.mp4 -f s16le -ac 1 -ar 48000 - | python enhance.py --stdin --stdout --rate 48000 |
      ffmpeg -f s16le -ac 1 -ar 48000 -i - out.wav
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specmask.cli import console

if TYPE_CHECKING:
    from specmask.enhancement.enhancer import Enhancer
    from specmask.enhancement.folder import Summary

MOST_LINES = 5  # of warnings of one kind
# Flag, option of [enhance], metavar, help.
FLAGS = (
    ("--mix", "mix", "SHARE", "share of the enhanced sound from 0 to 1, the rest is the input"),
    ("--max-suppression", "max_suppression_db", "DB", "largest attenuation in dB, e.g. 12"),
    ("--gain", "post_gain_db", "DB", "gain of the result in dB"),
    ("--format", "format", "NAME", "format of the results: as input, wav or flac"),
    ("--runtime", "runtime", "NAME", "what runs the network: auto, tensorflow, litert or onnx"),
)


def enhance(args: argparse.Namespace) -> None:
    from specmask import parallel
    from specmask.config import ini
    from specmask.errors import UserError

    *sources, last = args.paths or [None]
    if args.stdin != args.stdout or (args.stdin and last):
        raise UserError("--stdin and --stdout: expected both without IN and OUT, or none of them")
    if last and not sources:  # [enhance] output_path holds the scored test files
        raise UserError(f"{last}: no OUT; name a folder for the results after it")
    cfg = ini.load(args.config, args.set)
    from specmask.enhancement import enhancer, folder, inputs
    from specmask.training import advice

    sources, target = sources or [cfg.enhance.input_path], last or cfg.enhance.output_path
    format: str = cfg.enhance.format
    is_file = inputs.is_single(sources, target)
    if is_file:
        recording, format = inputs.single_recording(sources[0], target, args.overwrite)
    elif not args.stdin:
        recordings = inputs.find_recordings(sources, target, args.glob, format)
    model, path = enhancer.from_config(cfg)  # after a wrong path is reported
    messages = sys.stderr if args.stdout else sys.stdout
    default = "the default " if path.parent == enhancer.PRETRAINED else ""
    causal = "causal" if model.causal else "not causal"
    if model.lookahead_frames:
        causal += f", {1000 * model.lookahead_seconds:g} ms of look-ahead"
    weights = f"{default}weights of {path} in {model.runtime.name}"
    print(f"{weights} ({causal})", file=messages, flush=True)
    if path.is_dir() and (warning := advice.weak_run(path)):
        print(warning, file=sys.stderr)
    if args.stdin:
        enhance_pipe(args, model)
        return
    with parallel.engine(cfg.compute):
        if is_file:
            done = folder.enhance_single(
                recording, model, cfg.enhance.block_seconds, format, args.spectrograms
            )
        else:
            done = folder.enhance_folder(
                recordings,
                target,
                model,
                cfg.enhance.block_seconds,
                overwrite=args.overwrite,
                format=format,
                workers=cfg.compute.workers,
                spectrograms=args.spectrograms,
                run=path if path.is_dir() else None,
            )
    report(done, target)


def report(done: "Summary", target: Path) -> None:
    """Print the warnings about single files and the summary of a run."""
    from specmask.audio import media

    for rejected in done.rejected:
        if media.can_read(Path(rejected.path)):
            print(f"warning: {rejected.path}: {rejected.reason}; skipped", file=sys.stderr)
    if line := media.missing_line(r.path for r in done.rejected):
        print(f"warning: {line}", file=sys.stderr)
    for name, count in list(done.limited.items())[:MOST_LINES]:
        print(f"warning: {name}: {count} samples above full scale, clipped", file=sys.stderr)
    if len(done.limited) > MOST_LINES:
        print(f"warning: {len(done.limited)} files clipped in all", file=sys.stderr)
    if done.lost:
        name, lost = next(iter(done.lost.items()))
        files = "1 file" if len(done.lost) == 1 else f"{len(done.lost)} files, the first"
        print(f"warning: not kept: {', '.join(lost)} ({files}: {name})", file=sys.stderr)
    print(summary(done, target))


def summary(done: "Summary", target: Path) -> str:
    """Return the totals of a run in one line."""
    from specmask.enhancement.folder import REJECTED
    from specmask.progress import duration

    words = f"Enhanced {done.done} {'file' if done.done == 1 else 'files'}"
    if done.audio_seconds:
        seconds = done.audio_seconds
        length = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
        words += f" ({length}) in {duration(done.seconds)}"
    words += f" -> {target}"
    if done.renewed:
        words += f"; {done.renewed} of them were of earlier weights of this run"
    if done.changed:
        words += f"; {done.changed} of them from recordings that had changed"
    if done.up_to_date:
        words += f"; {done.up_to_date} up to date (--overwrite makes them again)"
    if done.rejected:
        words += f"; {len(done.rejected)} skipped, see {target / REJECTED}"
    return words


def enhance_pipe(args: argparse.Namespace, model: "Enhancer") -> None:
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
    if done.replaced:
        print(f"warning: {done.replaced} samples were not finite, taken as zero", file=sys.stderr)
    if done.clipped:
        print(f"warning: {done.clipped} samples above full scale, clipped", file=sys.stderr)
    if done.left_over_bytes:
        print(
            f"warning: {done.left_over_bytes} bytes at the end are no whole sample of "
            f"{args.channels} channels in {args.pcm}, left out; check --channels and --pcm",
            file=sys.stderr,
        )
    print(
        f"{done.samples / rate:.2f} s, latency {1000 * done.latency_seconds:.0f} ms and at most "
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


def add_flags(parser: argparse.ArgumentParser, flags: Sequence[tuple[str, str, str, str]]) -> None:
    """Add --model and other flags for options of [enhance]."""
    group = parser.add_argument_group("options of [enhance], in place of those of the INI file")
    console.add_option_flag(
        group,
        "--model",
        "enhance.checkpoint",
        "run folder, .npz or export; default: the model that comes with Specmask",
        metavar="RUN",
        type=model_path,
    )
    for flag, option, metavar, text in flags:
        console.add_option_flag(group, flag, f"enhance.{option}", text, metavar=metavar)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = console.parser(__doc__)
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="IN ... OUT: files and folders, then a folder for the results; or a file, then a file",
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
        help="also write the spectrograms of each file and its result, a.wav.png for a.wav",
    )
    add_flags(parser, FLAGS)
    raw = parser.add_argument_group("raw samples through a pipe")
    raw.add_argument("--stdin", action="store_true", help="read raw samples, no IN")
    raw.add_argument("--stdout", action="store_true", help="write raw samples, no OUT")
    raw.add_argument("--pcm", choices=["s16le", "f32le"], default="s16le", help="default: s16le")
    raw.add_argument(
        "--rate", type=console.positive, metavar="HZ", help="in Hz (default: the model's)"
    )
    raw.add_argument("--channels", type=console.positive, default=1, metavar="N", help="default: 1")
    return console.run(enhance, parser.parse_args(argv))
