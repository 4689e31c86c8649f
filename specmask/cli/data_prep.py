"""Make the data set: mix clean speech and noise at stepped SNRs.

Reads clean_train_path, noise_train_path, clean_test_path and noise_test_path of [data] and writes
CleanSpeech_*, Noise_* and NoisySpeech_* folders with a manifest each. Files that are up to date
are kept; a run that was stopped resumes.

--check examines the recordings and writes no mixture, --verify compares a finished data set with
its manifest, --render makes one file of it again.

examples:
  python data_prep.py --set data.total_training_files=2000
  python data_prep.py --check
  python data_prep.py --verify
  python data_prep.py --render training 12 --output again/
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specmask.cli import console

if TYPE_CHECKING:
    from specmask.config.schema import Config

MAX_LINES = 20  # of a list on the screen; all are in its file


def prepare(args: argparse.Namespace) -> int:
    from specmask import parallel
    from specmask.config import ini
    from specmask.data.prepare import make

    cfg = ini.load(args.config, args.set)
    with parallel.engine(cfg.compute):
        if args.check:
            return check(cfg)
        if args.verify:
            return verify(cfg)
        if args.render:
            return render(cfg, args)
        make(cfg, args.overwrite)
    return console.EXIT_OK


def check(cfg: "Config") -> int:
    from specmask.data.corpus import doctor

    report = doctor.check(cfg)
    path = doctor.write(cfg.data.data_path / "check.csv", report.findings)
    for line in doctor.summary(report):
        print(line)
    print(f"all findings: {path}" if path else "nothing found")
    if report.stops:
        print(f"{report.stops} must be solved first; see the plan of each in {path}")
    return console.EXIT_BROKEN_BOUND if report.stops else console.EXIT_OK


def verify(cfg: "Config") -> int:
    from specmask.data.mixtures import verify as verification

    verdicts = verification.verify(cfg)
    path = verification.write(cfg.data.data_path / "verify.csv", verdicts)
    for v in verdicts:
        result = f"{len(v.mismatches)} mismatches" if v.mismatches else "all as in the manifest"
        print(f"{v.split}: {v.rows} rows, {3 * v.rows} files read: {result}")
        for m in v.mismatches[:MAX_LINES]:
            print(f"  {m.index} {m.file}: {m.mismatch}")
        if len(v.mismatches) > MAX_LINES:
            print(f"  ... and {len(v.mismatches) - MAX_LINES} more")
    if path:
        print(f"all mismatches: {path}")
    return console.EXIT_BROKEN_BOUND if path else console.EXIT_OK


def render(cfg: "Config", args: argparse.Namespace) -> int:
    from specmask.data.mixtures import verify as verification

    split, index = args.render[0], int(args.render[1])
    files, same = verification.render(cfg, split, index, args.output or Path(), args.overwrite)
    for path in files:
        print(path)
    if same:
        print("the same samples as in the data set")
        return console.EXIT_OK
    print("not the samples of the manifest: a source or the configuration has changed")
    return console.EXIT_BROKEN_BOUND


class _Item(argparse.Action):
    """SPLIT INDEX of --render."""

    def __call__(self, parser, namespace, values, option=None):
        if values[0] not in ("training", "validation", "testing") or not values[1].isdecimal():
            parser.error(f"{option}: expected training, validation or testing, and a row from 0")
        setattr(namespace, self.dest, values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    broken = "--check found what must be solved first, or --verify or --render a difference"
    parser = console.parser(__doc__, broken)
    parser.add_argument("--overwrite", action="store_true", help="make existing files again")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--check", action="store_true", help="examine the recordings only")
    modes.add_argument(
        "--verify", action="store_true", help="compare a finished data set with its manifest"
    )
    modes.add_argument(
        "--render", nargs=2, metavar=("SPLIT", "INDEX"), action=_Item, help="make one file again"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        metavar="PATH",
        help="with --render: a folder, or a .wav file for noisy alone (default: this folder)",
    )
    args = parser.parse_args(argv)
    if args.output is not None and not args.render:
        parser.error("--output goes with --render SPLIT INDEX; [data] data_path names the data set")
    if args.overwrite and (args.check or args.verify):
        parser.error("--overwrite makes files again, --check and --verify make none; leave it out")
    return console.run(prepare, args)
