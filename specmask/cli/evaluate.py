"""Score enhanced files against the clean ones and write the report.

Prints tables with 95 % intervals and paired tests, and writes scores.csv (one row per file),
summary.json and index.html (a page to listen to) into the report folder. Files that are scored
already are not scored again.

examples:
  python evaluate.py                       the test set of the config and [enhance] output_path
  python evaluate.py clean/ enhanced/      two folders; files are paired by their names
  python evaluate.py clean/ enhanced/ --noisy noisy/ --baseline wiener      improvements, too
  python evaluate.py --oracle              the limit of every target, with a perfect network,
                                           on the test set or on two folders: CLEAN NOISY
  python evaluate.py --gate                also checks that the model does no harm
  python evaluate.py --check report/summary.json      makes a report's figures again
"""

import shlex
import sys
from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from specmask.cli import console
from specmask.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    p = console.parser(__doc__, "--gate found a broken bound, or --check another figure")
    p.add_argument("clean", nargs="?", type=Path, metavar="CLEAN", help="folder of clean files")
    p.add_argument(
        "enhanced",
        nargs="?",
        type=Path,
        metavar="ENHANCED",
        help="folder of enhanced files; with --oracle of noisy ones",
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
        help="also score a method run on the noisy files: wiener, spectral_subtraction, or with "
        "the clean speech at hand oracle_TARGET, e.g. oracle_complex",
    )
    p.add_argument(
        "--oracle",
        action="store_true",
        help="score the oracles of all targets instead of enhanced files; the report goes into "
        "the folder oracles of [evaluate] report_path",
    )
    p.add_argument(
        "--transcripts",
        type=Path,
        metavar="FILE",
        help="lines of clean file, tab, words: also count the word errors of a recogniser",
    )
    p.add_argument(
        "--out", type=Path, metavar="DIR", help="report folder instead of [evaluate] report_path"
    )
    p.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="FILE",
        help="also put this file on the page, by its name in scores.csv",
    )
    p.add_argument(
        "--gate", action="store_true", help="exit 1 if a bound of [evaluate] gate_... is broken"
    )
    p.add_argument(
        "--check",
        type=Path,
        metavar="SUMMARY",
        help="score the files of a summary.json again and compare the figures",
    )
    args = p.parse_args(argv)
    args.command = shlex.join(["evaluate.py", *(sys.argv[1:] if argv is None else argv)])
    return console.run(check if args.check else evaluate, args)


def evaluate(args: Namespace) -> int:
    """Score what the arguments name, write the report, and return the exit code."""
    if args.clean and not args.enhanced:
        other = "NOISY" if args.oracle else "ENHANCED"
        raise UserError(f"{args.clean}: one folder given, expected two: CLEAN {other}")
    from specmask.config import ini
    from specmask.evaluation import (
        page,
        pairing,
        provenance,
        report,
        scoring,
    )  # here: --help is fast

    settings = ini.load(args.config, args.set)
    inputs = _inputs(args, settings)
    report_path = settings.evaluate.report_path
    out = args.out or (report_path / "oracles" if args.oracle else report_path)
    report.claim(out)
    tasks = pairing.tasks(**{k: v for k, v in inputs.items() if k != "names"})
    # before the work: packages, transcripts or a model may be missing
    recogniser = load_recogniser(args.transcripts) if args.transcripts else None
    gate = _load_gate(settings) if args.gate else None
    rows = scoring.evaluate(**inputs, workers=settings.compute.workers, folder=out)
    facts = provenance.facts(settings, inputs, out)
    words: list[dict] = []
    broken: list[str] = []
    if gate:
        figures, broken = _check_gate(gate, settings, inputs["clean_dir"], rows, recogniser)
        facts |= figures
    if recogniser:
        facts["words"], words = _words(recogniser, tasks, out)
    content = report.summary(rows, args.command, facts)
    report.write(out, rows, content)
    print(report.table(rows))
    print(f"\n{report.headline(rows)}\n")
    print(f"{len(rows)} rows -> {out / 'scores.csv'}, means -> {out / 'summary.json'}")
    if not any(report.mean(rows, name).scored for name in report.columns(rows)):
        raise UserError(
            f"none of {len(rows)} files could be scored: {rows[0]['reason']}; the reasons of all "
            f"are in {out / 'scores.csv'}"
        )
    count = settings.evaluate.page_files
    print(f"listen -> {page.write(out, rows, content, tasks, count, args.listen, words)}")
    for line in broken:
        print(f"gate: {line}", file=sys.stderr)
    if gate and not broken:
        print("gate: all bounds hold")
    return console.EXIT_BROKEN_BOUND if broken else console.EXIT_OK


def _inputs(args: Namespace, settings) -> dict:
    from specmask.evaluation import oracles
    from specmask.evaluation.metrics import table

    clean, enhanced, noisy = _folders(args, settings)
    systems = {"enhanced": enhanced} if enhanced else {}
    for text in args.system:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder) or name in {"enhanced", *systems}:
            raise UserError(f"--system {text}: expected NAME=DIR with a name of its own")
        systems[name] = Path(folder)
    methods = list(dict.fromkeys([*args.baseline, *(oracles.ORACLES if args.oracle else ())]))
    ideal = any(name in oracles.ORACLES for name in methods)
    return {
        "clean_dir": clean,
        "systems": systems,
        "noisy_dir": noisy,
        "baseline_names": methods,
        "by": args.by,
        "ideal": oracles.Settings.from_config(settings) if ideal else None,
        "names": [*table.METRICS, *(table.DNSMOS if settings.evaluate.dnsmos else ())],
    }


def _folders(args: Namespace, settings) -> tuple[Path, Path | None, Path | None]:
    """Return the folders of clean, enhanced (with --oracle none) and noisy files."""
    clean, enhanced, noisy = args.clean, args.enhanced, args.noisy
    if args.oracle and (noisy or args.gate):
        raise UserError(
            "--oracle: goes without --noisy and --gate; expected the folders CLEAN NOISY, or none "
            "for the test set"
        )
    if args.oracle:
        enhanced, noisy = None, enhanced
    if clean is None:
        clean = settings.stft.folder("CleanSpeech", "testing")
        noisy = noisy or settings.stft.folder("NoisySpeech", "testing")
        enhanced = None if args.oracle else settings.enhance.output_path
        if not clean.is_dir():
            raise UserError(
                f"{clean}: no such folder; make the test set with data_prep.py, or name two "
                "folders: CLEAN ENHANCED"
            )
        if enhanced and not enhanced.is_dir():
            raise UserError(
                f"{enhanced}: no such folder; run enhance.py, or correct [enhance] output_path"
            )
    return clean, enhanced, noisy


def load_recogniser(path: Path) -> tuple:
    """Return transcripts, and pocketsphinx with a grammar over their words."""
    from specmask.evaluation import word_errors

    transcripts = word_errors.read_transcripts(path)
    return transcripts, word_errors.sphinx(transcripts.values())


def _words(recogniser: tuple, tasks: list, out: Path) -> tuple[dict, list[dict]]:
    """Return the word errors of the files that have a transcript, and their rows; print them."""
    from specmask.evaluation import word_errors

    rows = word_errors.recognise(tasks, *recogniser)
    found = word_errors.summary(rows)
    word_errors.write(out, rows)
    print(word_errors.table(found), end="\n\n")
    return found, rows


def _load_gate(settings) -> tuple[Any, list[Path]]:
    """Return the model and the music of the do-no-harm check."""
    console.import_tensorflow()
    from specmask.audio import io as audio_io
    from specmask.enhancement import enhancer

    folder = settings.evaluate.music_path
    music = [folder / name for name in audio_io.files(folder)] if folder != Path() else []
    if folder != Path() and not music:
        raise UserError(f"[evaluate] music_path = {folder}: no audio files; correct the path")
    return enhancer.load(enhancer.find(settings), settings.enhance.channels), music


def _check_gate(
    gate: tuple[Any, list[Path]],
    settings,
    clean_dir: Path,
    rows: list[dict],
    recogniser: tuple | None,
) -> tuple[dict, list[str]]:
    """Return the figures of the do-no-harm check and the broken bounds; print the figures."""
    from specmask.audio import io as audio_io
    from specmask.enhancement import array
    from specmask.evaluation import gate as harm
    from specmask.evaluation import report, word_errors

    model, music = gate
    enhance, count = partial(array.enhance, model=model), settings.evaluate.harm_files
    speech = audio_io.files(clean_dir)
    found = harm.check(enhance, [clean_dir / n for n in speech], music, model.rate, count)
    errors = None
    if recogniser:
        transcript = word_errors.finder(recogniser[0])
        known = [(clean_dir / n, text) for n in speech if (text := transcript(n.as_posix()))]
        errors = harm.words(enhance, known, recogniser[1], count)
    print(harm.table(found, errors), end="\n\n")
    enhanced = [row for row in rows if row["system"] == "enhanced"]
    mean = report.mean(enhanced, "si_sdr_improvement")
    if not mean.scored:
        print("gate: no SI-SDR improvement to hold; name noisy files with --noisy")
    figures: dict[str, Any] = {
        "harm": harm.means(found),
        "harm_words": errors and {name: asdict(e) for name, e in errors.items()},
    }
    return figures, harm.broken(found, mean.mean if mean.scored else None, settings, errors)


def check(args: Namespace) -> int:
    """Score the files of a summary.json again, and return 1 if a figure differs."""
    from specmask.config import ini
    from specmask.evaluation import provenance, report, scoring

    settings = ini.load(args.config, args.set)
    old, inputs = provenance.read(args.check)
    rows = scoring.evaluate(**inputs, workers=settings.compute.workers)
    new = report.summary(rows, args.command, provenance.facts(settings, inputs, args.check.parent))
    differences = provenance.differences(old, new)
    for line in differences:
        print(f"different: {line}", file=sys.stderr)
    if not differences:
        print(f"{args.check}: {len(rows)} rows scored again, all figures are the same")
    return console.EXIT_BROKEN_BOUND if differences else console.EXIT_OK
