"""Score enhanced files against the clean ones and write the report.

Prints the means with 95 % intervals, and writes scores.csv (a row per file), summary.json (all
means and paired tests) and index.html (a listening page) into the report folder. Files that have
been scored already are not scored again.

examples:
  python evaluate.py                       the test set of the config and [enhance] output_path
  python evaluate.py enhanced/             one folder: metrics that need no reference
  python evaluate.py clean/ enhanced/      two folders; files are paired by their names
  python evaluate.py clean/ enhanced/ --noisy noisy/ --baseline wiener      improvements, too
  python evaluate.py --oracle              the limit of every target, that of a perfect network,
                                           on the test set or on two folders: CLEAN NOISY
  python evaluate.py --gate                also checks clean speech of any pitch, level and band,
                                           silence and music
  python evaluate.py --check report/summary.json      reproduces the figures of a report
  python evaluate.py --add report/summary.json --system NAME=DIR      adds a system to a report
  python evaluate.py --probe default clean/           what a model does to clean speech of other
                                           pitches, levels and conditions
  python evaluate.py --probe-set set/ clean/          writes the same for another program: it reads
                                           set/input, and --probe OUT --probe-set set/ rates its OUT

In place of a folder, a list of files may be named: wav.scp of Kaldi, CSV with the columns id and
path, or JSON. Endings of names that a tool has added (NAME_TOOL.wav) are ignored.
"""

import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from specmask.cli import console
from specmask.errors import UserError

if TYPE_CHECKING:
    from specmask.config.schema import Config
    from specmask.evaluation.word_errors import Recogniser


# Parts of a summary that --add keeps unless it makes them again.
KEPT = ("harm", "probes", "harm_words", "words", "words_verdict", "listen")


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    p = console.parser(__doc__, "--gate found a violated bound, or --check a different figure")
    p.add_argument(
        "clean",
        nargs="?",
        type=Path,
        metavar="CLEAN",
        help="folder of clean files; alone, a folder of enhanced files without reference",
    )
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
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="also compute this metric: visqol, dnsmos_p808, loudness, snr, ...; may be given "
        "several times",
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
        "--recogniser",
        metavar="MODULE:FUNCTION",
        help="with --transcripts: a function (samples, rate in Hz) -> text instead of pocketsphinx",
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
        "--details",
        action="store_true",
        help="also print the scores by SNR and by noise, paired tests, and definitions",
    )
    p.add_argument(
        "--gate", action="store_true", help="exit 1 if a bound of [evaluate] gate_... is violated"
    )
    p.add_argument(
        "--check",
        type=Path,
        metavar="SUMMARY",
        help="score the files of a summary.json again and compare the figures",
    )
    p.add_argument(
        "--probe",
        metavar="MODEL_OR_DIR",
        help="print a table of the changes that a model makes to clean speech: default, a run, an "
        "exported step; or the folder of what another program made from a --probe-set",
    )
    p.add_argument(
        "--add",
        type=Path,
        metavar="SUMMARY",
        help="add the systems of --system and --baseline to the report of a summary.json; the rest "
        "of it stays",
    )
    p.add_argument("--probe-set", type=Path, metavar="DIR", help="folder of a set of probes")
    args = p.parse_args(argv)
    args.command = shlex.join(["evaluate.py", *(sys.argv[1:] if argv is None else argv)])
    if args.probe or args.probe_set:
        return console.run(probe, args)
    return console.run(check if args.check else evaluate, args)


def evaluate(args: Namespace) -> int:
    """Score the files that the arguments name, write the report, and return the exit code."""
    from specmask.config import ini
    from specmask.evaluation import (  # here: --help is fast
        file_lists,
        page,
        pairing,
        provenance,
        report,
        scoring,
        word_errors,
    )

    if args.recogniser and not args.transcripts:
        raise UserError(f"--recogniser {args.recogniser}: needs --transcripts FILE")
    settings = ini.load(args.config, args.set)
    kept, inputs = _added(args, settings) if args.add else ({}, _inputs(args, settings))
    report_path = settings.evaluate.report_path / ("oracles" if args.oracle else "")
    out = args.add.parent if args.add else args.out or report_path
    report.check_folder(out)
    items = pairing.items(**{k: v for k, v in inputs.items() if k != "names"})
    # wrong names, missing packages and models are reported before the work
    page.check_wanted(items, args.listen)
    recogniser = _recogniser(args.transcripts, args.recogniser) if args.transcripts else None
    gated = None
    if args.gate:
        from specmask.cli import gate

        gated = gate.load(settings)
    for line in [] if args.add else provenance.replaced(out, inputs["systems"]):
        print(line)
    for folder in inputs["systems"].values():
        if pending := provenance.pending(folder):
            print(
                f"warning: {folder}: {len(pending)} files are of earlier settings or recordings "
                f"(the first: {pending[0]}); enhance their recordings again, or remove them"
            )
    rows = scoring.score_items(items, inputs["names"], settings.compute.workers, out)
    content = kept | provenance.collect(settings, inputs, out)
    content["listen"] = list(dict.fromkeys([*kept.get("listen", []), *args.listen]))
    words = word_errors.read_rows(out) if "words" in kept else []
    violations: list[str] = []
    if gated:
        clean = file_lists.index(inputs["clean_dir"])
        figures, violations = gate.check(*gated, settings, clean, rows, recogniser)
        content |= figures
    if recogniser:
        content["words"], words = _words(recogniser, items, out)
        content["words_verdict"] = word_errors.verdict(words)
    content = report.summary(rows, args.command, content)
    report.write(out, rows, content)
    if args.details:
        print(report.table(content), *report.definitions(rows), "", sep="\n")
    for line in [*report.problems(rows), *_stale(args, settings, inputs["systems"])]:
        print(line)
    print(f"{report.headline(content)}\n")
    print(f"{len(rows)} rows -> {out / 'scores.csv'}, means -> {out / 'summary.json'}")
    if not args.details:
        print("by SNR, by noise, paired tests, all metrics -> the page, or add --details")
    scored = [m["scored"] for s in content["systems"].values() for m in s["metrics"].values()]
    if not any(scored):
        raise UserError(
            f"none of {len(rows)} files could be scored: {rows[0]['reason']}; all reasons are in "
            f"{out / 'scores.csv'}"
        )
    count = settings.evaluate.page_files
    print(f"listen -> {page.write(out, rows, content, items, count, content['listen'], words)}")
    for line in violations:
        print(f"gate: {line}", file=sys.stderr)
    if gated and not violations:
        print("gate: all bounds hold")
    return console.EXIT_BROKEN_BOUND if violations else console.EXIT_OK


def _inputs(args: Namespace, settings: "Config") -> dict:
    from specmask.evaluation import oracles
    from specmask.evaluation.metrics import perceptual, table

    clean, enhanced, noisy = _folders(args, settings)
    systems = {"enhanced": enhanced} if enhanced else {}
    systems |= _systems(args, {"enhanced"})
    unknown = sorted({*args.metric} - {*table.METRICS, "pesq"})
    if unknown:
        raise UserError(f"--metric {unknown[0]}: unknown; known are {', '.join(table.METRICS)}")
    names = list(table.DEFAULT if clean else table.WITHOUT_REFERENCE)
    if not clean and not perceptual.dnsmos_installed():
        names = [name for name in names if table.METRICS[name].package != "speechmos"]
        print("note: without DNSMOS, which needs packages: pip install speechmos onnxruntime")
    more = [*(table.DNSMOS if settings.evaluate.dnsmos else ()), *args.metric]
    methods = list(dict.fromkeys([*args.baseline, *(oracles.ORACLES if args.oracle else ())]))
    ideal = next((name for name in methods if name in oracles.ORACLES), "")
    if ideal and not clean:
        raise UserError(f"--baseline {ideal}: needs the clean files; name them: CLEAN ENHANCED")
    return {
        "clean_dir": clean,
        "systems": systems,
        "noisy_dir": noisy,
        "baseline_names": methods,
        "by": args.by,
        "ideal": oracles.Settings.from_config(settings) if ideal else None,
        "names": list(dict.fromkeys([*names, *more])),
    }


def _systems(args: Namespace, used: Set[str]) -> dict[str, Path]:
    """Return the folders of --system by name."""
    systems: dict[str, Path] = {}
    for text in args.system:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder) or name in {*used, *systems, "clean"}:
            raise UserError(f"--system {text}: expected NAME=DIR with a name that is not in use")
        systems[name] = Path(folder)
    return systems


def _added(args: Namespace, settings: "Config") -> tuple[dict, dict]:
    """Return the parts of a report that stay, and its inputs with the systems that are added."""
    from specmask.evaluation import oracles, provenance

    used = ("system", "baseline", "transcripts", "recogniser", "listen", "gate", "details")
    _refuse_others(args, "add", *used)
    if not (args.system or args.baseline):
        raise UserError(f"--add {args.add}: goes with --system NAME=DIR or --baseline NAME")
    old, inputs = provenance.read(args.add)
    ideal = any(name in oracles.ORACLES for name in args.baseline)
    if not inputs["clean_dir"] and (args.gate or ideal):
        option = "--gate" if args.gate else "an oracle"
        raise UserError(f"--add {args.add}: has no clean files, and {option} needs them")
    inputs["systems"] |= _systems(args, inputs["systems"].keys())
    inputs["baseline_names"] = list(dict.fromkeys([*inputs["baseline_names"], *args.baseline]))
    if not inputs["ideal"] and ideal:
        inputs["ideal"] = oracles.Settings.from_config(settings)
    return {key: old[key] for key in KEPT if key in old}, inputs


def _refuse_others(args: Namespace, mode: str, *used: str) -> None:
    """Raise UserError if an option is given that a mode of the script does not use."""
    used = (mode, *used, "config", "set", "command")
    for name, value in vars(args).items():
        if value and name not in used:
            option = "folders" if name in ("clean", "enhanced") else f"--{name}"
            raise UserError(
                f"--{mode}: goes without {option}; see evaluate.py --help".replace("_", "-")
            )


def _folders(args: Namespace, settings: "Config") -> tuple[Path | None, Path | None, Path | None]:
    """Return the folders of clean (without reference: none), enhanced and noisy files.

    With --oracle there are no enhanced files.
    """
    clean, enhanced, noisy = args.clean, args.enhanced, args.noisy
    if args.oracle and (noisy or args.gate):
        raise UserError(
            "--oracle: goes without --noisy and --gate; expected the folders CLEAN NOISY, or none "
            "for the test set"
        )
    if clean and not enhanced:
        if args.oracle or args.gate or args.transcripts:
            option = "--oracle" if args.oracle else "--gate" if args.gate else "--transcripts"
            other = "NOISY" if args.oracle else "ENHANCED"
            raise UserError(f"{clean}: one folder given, but {option} needs two: CLEAN {other}")
        return None, clean, noisy
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


def _stale(args: Namespace, settings: "Config", systems: Mapping[str, Path]) -> list[str]:
    """Return a warning if the enhanced files of the config are not of its present weights."""
    from specmask import files
    from specmask.enhancement import enhancer, runtimes
    from specmask.evaluation import provenance

    used = provenance.checkpoint(systems["enhanced"]) if "enhanced" in systems else None
    if args.clean or not used:
        return []
    try:
        model = enhancer.find(settings)
        if model.suffix in runtimes.EXPORTED:
            weights = runtimes.load(model).description.digest
        else:
            weights = files.digest(enhancer.weights_and_config(model)[0])
    except UserError:  # no model any more: nothing to compare with
        return []
    if weights == used:
        return []
    return [
        f"warning: {systems['enhanced']}: enhanced by other weights ({used}) than those of {model} "
        f"now ({weights}); run enhance.py again"
    ]


def _recogniser(path: Path, name: str | None) -> tuple[dict[str, str], "Recogniser"]:
    """Return transcripts, and a recogniser: pocketsphinx with a grammar over their words."""
    from specmask.evaluation import word_errors

    transcripts = word_errors.read_transcripts(path)
    if name:
        return transcripts, word_errors.load_recogniser(name)
    return transcripts, word_errors.sphinx(transcripts.values())


def _words(recogniser: tuple, items: list, out: Path) -> tuple[dict, list[dict]]:
    """Return the word errors of the files that have a transcript, and their rows; print them."""
    from specmask.evaluation import word_errors

    rows = word_errors.recognise(items, *recogniser)
    found = word_errors.summary(rows)
    word_errors.write(out, rows)
    print(word_errors.table(found), word_errors.verdict(rows), sep="\n", end="\n\n")
    return found, rows


def probe(args: Namespace) -> int:
    """Print what a model, or another program, does to the probes; or write them for it."""
    from specmask.cli import gate

    if args.probe and args.probe_set:
        _refuse_others(args, "probe", "probe_set")
    else:
        _refuse_others(args, "probe" if args.probe else "probe_set", "clean")
    return gate.run_probes(args)


def check(args: Namespace) -> int:
    """Score the files of a summary.json again, and return 1 if a figure differs."""
    from specmask.config import ini
    from specmask.evaluation import provenance, report, scoring

    _refuse_others(args, "check")
    settings = ini.load(args.config, args.set)
    old, inputs = provenance.read(args.check)
    rows = scoring.evaluate(**inputs, workers=settings.compute.workers)
    collected = provenance.collect(settings, inputs, args.check.parent)
    snrs, count_all = report.ungrouped_snrs(old), "without_noise" not in old
    new = report.summary(rows, args.command, collected, snrs, count_all)
    differences = provenance.differences(old, new)
    for line in differences:
        print(f"different: {line}", file=sys.stderr)
    if not differences:
        print(f"{args.check}: {len(rows)} rows scored again, all figures are the same")
    return console.EXIT_BROKEN_BOUND if differences else console.EXIT_OK
