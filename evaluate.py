#!/usr/bin/env python3
"""Score enhanced files against the clean ones: SI-SDR, SDR, PESQ, STOI, ESTOI, SNR improvement.

    python evaluate.py                     the test set of the config and [enhance] output_path
    python evaluate.py CLEAN ENHANCED      two folders; files belong together by their names

Prints a table and writes scores.csv (a row a file) and summary.json into the report folder.
"""

import shlex
import sys
from argparse import Namespace
from pathlib import Path

from specmask import cli
from specmask.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    p = cli.parser(__doc__)
    p.add_argument("clean", nargs="?", type=Path, metavar="CLEAN", help="folder of clean files")
    p.add_argument(
        "enhanced", nargs="?", type=Path, metavar="ENHANCED", help="folder of enhanced files"
    )
    p.add_argument(
        "--noisy", type=Path, metavar="DIR", help="folder of the noisy files, for improvements"
    )
    p.add_argument(
        "--by", type=Path, metavar="MANIFEST", help="JSON or CSV with SNR and noise of every file"
    )
    p.add_argument(
        "--system",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="also score this folder, under this name; may be given several times",
    )
    p.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME",
        help="also score a classical method, run on the noisy files: wiener",
    )
    p.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the report (default: report beside the INI file)",
    )
    args = p.parse_args(argv)
    args.command = shlex.join(["evaluate.py", *(sys.argv[1:] if argv is None else argv)])
    return cli.run(evaluate, args)


def evaluate(args: Namespace) -> None:
    """Score what the arguments name and write the report."""
    if args.clean and not args.enhanced:
        raise UserError(f"{args.clean}: one folder given, expected two: CLEAN ENHANCED")
    from specmask import config, evaluation, report  # only now: --help answers at once

    settings = config.load(args.config, args.set)
    clean, enhanced, noisy = args.clean, args.enhanced, args.noisy
    if clean is None:
        clean = settings.stft.folder("CleanSpeech", "testing")
        noisy = noisy or settings.stft.folder("NoisySpeech", "testing")
        enhanced = settings.enhance.output_path
        if not clean.is_dir():
            raise UserError(f"{clean}: no such folder; make the test set with data_prep.py")
        if not enhanced.is_dir():
            raise UserError(f"{enhanced}: no such folder; run enhance.py first")
    systems = {"enhanced": enhanced}
    for text in args.system:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder) or name in systems:
            raise UserError(f"--system {text}: expected NAME=DIR with a name of its own")
        systems[name] = Path(folder)
    rows = evaluation.evaluate(
        clean, systems, noisy, args.baseline, args.by, settings.compute.workers
    )
    out = args.out or args.config.resolve().parent / "report"
    report.write(out, rows, args.command)
    print(report.table(rows))
    print(f"\n{len(rows)} rows -> {out / 'scores.csv'}, means -> {out / 'summary.json'}")
    if not any(report.mean(rows, name).scored for name in report.columns(rows)):
        raise UserError(f"none of {len(rows)} files could be scored: {rows[0]['reason']}")


if __name__ == "__main__":
    sys.exit(main())
