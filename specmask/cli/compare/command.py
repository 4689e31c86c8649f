"""Train recipes on the same data at the same budget, and score them on the same files.

Trains each RECIPE (an INI file) with several seeds, each training in a process of its own, and
writes tables, scores and figures into the output folder: mean and 95 % interval over files and
seeds, by SNR and by noise type, with a paired test, and quality against latency and multiply-adds.
Stopped or killed, the same command goes on where it was; what is finished is not done again.

All recipes share [data], [augment] and [audio] of the first one, or of --config; a recipe of
another sampling rate or file length gets its own data set from the same recordings.

A training that does not come to its end is left out of the tables, and the exit code is 2.

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

    spectrogram.import_matplotlib("compare.py")  # before the work, not after it
    if args.by and not args.test:
        raise UserError(
            f"--by {args.by}: belongs to --test; the data's own test set has a manifest"
        )
    whole = runner.Comparison(
        args.out,
        recipes.recipes(args.recipes, args.vary),
        args.seeds,
        recipes.Budget.parse(args.budget),
        args.set,
        args.config,
        args.test and runner.TestSet(*args.test, args.by),
    )
    rows = whole.run()
    print(report.write(whole, rows, args.command))
    print(f"\ntables, scores, figures -> {whole.out}")
    if whole.failed:
        names = ", ".join(part.name for part in whole.failed)
        raise UserError(
            f"{len(whole.failed)} of {len(whole.parts)} trainings failed ({names}) for the reasons "
            "above; the same command goes on with them"
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
