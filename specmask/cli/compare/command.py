"""Train recipes on the same data at the same budget, and score them on the same files.

Trains each RECIPE (an INI file) with several seeds, each training in a process of its own, and
writes tables, scores and figures into the output folder: mean and 95 % interval over files and
seeds, by SNR and by noise type, with a paired test, and quality against latency and multiply-adds.
After a stop or a kill, run the same command to resume; finished work is not repeated.

All recipes share [data], [augment] and [audio] of the first one, or of --config; a recipe of
another sampling rate or file length gets its own data set from the same recordings.

A training that fails is left out of the tables, and the exit code is 2.

examples:
  python compare.py recipes/bench.ini recipes/default.ini --seeds 3 --budget "20 minutes"
  python compare.py config.ini config.ini@model.recurrent_units=64@train.learning_rate=1e-3
  python compare.py config.ini --vary model.recurrent_units=16,32,64 --budget "1500 steps"
"""

import shlex
import sys
from argparse import Namespace
from pathlib import Path

from specmask.cli import console


def compare(args: Namespace) -> None:
    from specmask.audio import spectrogram
    from specmask.cli.compare import recipes, report, runner
    from specmask.errors import UserError

    spectrogram.import_matplotlib("compare.py")  # fails now, not after the work
    if args.by and not args.test:
        raise UserError(f"--by {args.by}: needs --test; the data's own test set has a manifest")
    comparison = runner.Comparison(
        args.out,
        recipes.parse(args.recipes, args.vary),
        args.seeds,
        recipes.Budget.parse(args.budget),
        args.set,
        args.config,
        runner.TestSet(args.test[0], args.test[1], args.by) if args.test else None,
    )
    rows = comparison.run()
    print(report.write(comparison, rows, args.command))
    print(f"\ntables, scores, figures -> {comparison.out}")
    if comparison.failed:
        names = ", ".join(training.name for training in comparison.failed)
        raise UserError(
            f"{len(comparison.failed)} of {len(comparison.trainings)} trainings failed ({names}) "
            "for the reasons above; run the same command to resume them"
        )


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    p = console.parser(__doc__, config_help="INI whose data all share (default: the first recipe)")
    p.set_defaults(config=[])
    p.add_argument(
        "recipes", nargs="+", metavar="RECIPE", help="INI file, or FILE@section.key=value@..."
    )
    p.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="SECTION.KEY=A,B,...",
        help="take every recipe with each of these values; several times: every combination",
    )
    p.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="trainings of each recipe (default: 3)"
    )
    p.add_argument(
        "--budget",
        default="20 minutes",
        metavar="TEXT",
        help='of a training: "20 minutes", "90 s", "1 hour", "1500 steps" (default: 20 minutes)',
    )
    p.add_argument(
        "--test",
        nargs=2,
        type=Path,
        metavar=("CLEAN", "NOISY"),
        help="folders to score on (default: the test set of the data)",
    )
    p.add_argument("--by", type=Path, metavar="MANIFEST", help="SNR and noise of the --test files")
    p.add_argument(
        "--out", type=Path, default=Path("comparison"), metavar="DIR", help="default: ./comparison"
    )
    args = p.parse_args(argv)
    args.command = shlex.join(["compare.py", *(sys.argv[1:] if argv is None else argv)])
    return console.run(compare, args)
