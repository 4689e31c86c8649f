"""Aggregated scores and their intervals: the summary, and text tables made from it.

Conventions:
    The summary is what summary.json holds; None stands for NaN. Its means are computed once, and
    tables, page and charts are made from it.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from specmask import files
from specmask.errors import UserError
from specmask.evaluation import oracles, pairing, score_table, scoring, statistics
from specmask.evaluation.metrics.checks import CAP_DB
from specmask.evaluation.metrics.distortion import NOISY_IS_CLEAN
from specmask.evaluation.metrics.table import METRICS, NEED_CLEAN

MOST_SNRS = 8  # more different ones are grouped in steps of 5 dB
SNR_STEP = 5
FEWEST_FILES = 5  # fewer have no interval in tables
COLUMNS_PER_TABLE = 7  # more would not fit side by side
SECTIONS = {"by_snr": "by SNR", "by_noise": "by noise type"}
PAIRED_TEST = (
    "Wilcoxon signed-rank test on files, two-sided, corrected by Holm for all in the table"
)
TITLE = "Listening report"
OPENINGS = {  # beginnings of the files of a report
    "index.html": f"<title>{TITLE}</title>",
    "summary.json": '"command": ',
    "scores.csv": "system,file,",
    "words.csv": "system,file,",
}
RATIOS = ("snr", "si_sdr", "sdr")  # without noise at their cap, which says nothing
COMPARED = ("si_sdr", "pesq_wb", "pesq_nb", "stoi", "estoi")

Row = Mapping
Groups = dict[str, list[Row]]


def columns(rows: Sequence[Row]) -> list[str]:
    """Return the metrics that occur in the rows, in the order of the tables."""
    return [name for name in METRICS if any(name in row for row in rows)]


def mean(rows: Sequence[Row], name: str) -> dict:
    """Return the mean of a metric over the rows of one system.

    Rows without the key do not count; rows with NaN count as missing.

    Returns:
        mean (None if nothing was scored), low and high (ends of the 95 % interval, None for
        fewer than two files), scored and missing (numbers of files).
    """
    values = [row[name] for row in rows if name in row]
    scored = [v for v in values if not math.isnan(v)]
    trainings = score_table.by_seed(rows)
    if len(trainings) > 1:
        figures = score_table.figures(list(trainings.values()), name)
        low, high = statistics.interval(figures[:, np.isfinite(figures).all(axis=0)])
    else:
        low, high = statistics.interval(scored)
    return {
        "mean": math.fsum(scored) / len(scored) if scored else None,
        "low": finite(low),
        "high": finite(high),
        "scored": len(scored),
        "missing": len(values) - len(scored),
    }


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None for NaN."""
    return None if math.isnan(value) else value


def by_system(rows: Sequence[Row]) -> Groups:
    """Return the rows of every system, in the order in which the systems occur."""
    found: Groups = {}
    for row in rows:
        found.setdefault(row["system"], []).append(row)
    return found


def groups(rows: Sequence[Row], most_snrs: int = MOST_SNRS) -> dict[str, Groups]:
    """Return the rows by SNR and by noise type, as far as they are known, each in order.

    More SNRs than ``most_snrs`` are grouped in steps of 5 dB.
    """
    found = {}
    if any(row["snr_db"] is not None for row in rows):
        found["by_snr"] = _grouped(rows, _snr_key(rows, most_snrs))
    if any(row["noise_type"] for row in rows):
        found["by_noise"] = _grouped(rows, lambda row: (0, row["noise_type"] or "unknown"))
    return found


def _grouped(rows: Sequence[Row], key: Callable[[Row], tuple]) -> Groups:
    """Group rows by the label that ends their sorting key."""
    found: Groups = {}
    for row in sorted(rows, key=key):
        found.setdefault(key(row)[-1], []).append(row)
    return found


def _snr_key(rows: Sequence[Row], most_snrs: int) -> Callable[[Row], tuple]:
    many = len({row["snr_db"] for row in rows}) > most_snrs

    def key(row: Row) -> tuple:
        snr = row["snr_db"]
        if snr is None or math.isnan(snr):
            return (math.inf, "unknown")
        if not many or math.isinf(snr):
            return (snr, f"{snr + 0.0:g} dB")  # + 0.0 makes 0 of a negative zero
        snr = SNR_STEP * math.floor(snr / SNR_STEP)
        return (snr, f"{snr:g} to {snr + SNR_STEP:g} dB")

    return key


def ungrouped_snrs(content: Mapping) -> int:
    """Return the ``most_snrs`` by which a summary was grouped; earlier versions allowed 24."""
    labels = [m.get("by_snr", {}) for m in content.get("systems", {}).values()]
    return max([MOST_SNRS, *(len([x for x in found if " to " not in x]) for found in labels)])


def without_noise(rows: Sequence[Row]) -> set[str]:
    """Return the names of the files whose noisy file equals the clean one."""
    return {
        row["file"]
        for row in rows
        if NOISY_IS_CLEAN in row["reason"]
        or (row["system"] == pairing.NOISY and any(row.get(name) == CAP_DB for name in RATIOS))
    }


def counted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows as they count in means: without the ratios of files without noise.

    The noisy file has ±100 dB there, which in a mean outweighs what the other files have.
    """
    files = without_noise(rows)
    return [
        {k: v for k, v in row.items() if k not in RATIOS} if row["file"] in files else row
        for row in rows
    ]


def muted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of files that are silent and whose clean ones are not."""
    return [
        row
        for row in rows
        if row["clean_file"]
        and "enhanced is silent" in row["reason"]
        and "clean is silent" not in row["reason"]
    ]


def summary(
    rows: Sequence[Row],
    command: str,
    provenance: Mapping,
    most_snrs: int = MOST_SNRS,
    count_all: bool = False,
) -> dict:
    """Return the content of summary.json: means, counts, intervals and comparisons.

    Args:
        rows: the scores.
        command: that made them.
        provenance: of :func:`specmask.evaluation.provenance.collect`, and whatever else belongs
            into the file.
        most_snrs: see :func:`groups`.
        count_all: also the ratios of files without noise, as earlier versions did.
    """
    left_out = set() if count_all else without_noise(rows)
    rows = counted(rows) if left_out else rows

    def means(members: Sequence[Row]) -> dict:
        return {
            "files": len(members),
            "metrics": {name: mean(members, name) for name in columns(members)},
        }

    systems = {}
    for system, members in by_system(rows).items():
        systems[system] = means(members) | {
            section: {label: means(group) for label, group in labelled.items()}
            for section, labelled in groups(members, most_snrs).items()
        }
        systems[system]["misaligned"] = sum(1 for row in members if row.get("lag"))
    return {
        "command": command,
        **provenance,
        "metrics": {
            name: {"label": METRICS[name].label, "definition": METRICS[name].definition}
            for name in columns(rows)
        },
        "intervals": f"{statistics.CONFIDENCE:.0%} percentile bootstrap, "
        f"{statistics.RESAMPLES} resamples",
        "test": PAIRED_TEST,
        "comparisons": comparisons(rows),
        "systems": systems,
    } | ({"without_noise": len(left_out)} if left_out else {})


def comparisons(rows: Sequence[Row]) -> list[dict]:
    """Compare the first system that is no baseline with every other but oracles, file by file.

    Returns:
        system, other, metric, mean difference, its 95 % interval, number of files, p of the
        Wilcoxon signed-rank test, and the same corrected by Holm for all tests in the list.
    """
    systems = {s: own for s, own in by_system(rows).items() if s not in oracles.ORACLES}
    others = [name for name in systems if name not in pairing.BUILT_IN]
    if not others or len(systems) < 2:
        return []
    ours = score_table.by_seed(systems.pop(others[0]))
    found: list[dict] = []
    compared = [n for n in COMPARED if n in columns(rows)] or columns(rows)
    for name in compared:
        for other, members in systems.items():
            theirs = score_table.by_seed(members)
            # the same seed draws the same examples; a system without seeds is paired with all
            pairs = [(s, s) for s in ours if s in theirs] or [*itertools.product(ours, theirs)]
            both = score_table.figures([t for a, b in pairs for t in (ours[a], theirs[b])], name)
            result = statistics.compare(both[::2], both[1::2])
            if result.files:
                found.append(
                    {"system": others[0], "other": other, "metric": name}
                    | {key: finite(getattr(result, key)) for key in ("mean", "low", "high", "p")}
                    | {"files": result.files}
                )
    corrected = statistics.holm([e["p"] for e in found])
    return [e | {"p_holm": p} for e, p in zip(found, corrected, strict=True)]


# ---------------------------------------------------------------- text


def table(content: Mapping) -> str:
    """Return a summary as text: overall, per SNR, per noise type, and the paired tests.

    ``n`` is the number of files. A mean over fewer of them is followed by their number. ``±`` is
    half the width of the 95 % interval, from five files on.
    """
    names = list(content["metrics"])
    shares = [names[i : i + COLUMNS_PER_TABLE] for i in range(0, len(names), COLUMNS_PER_TABLE)]
    lines = [line for share in shares for line in (*_table(content, share, SECTIONS), "")]
    return "\n".join([*lines, *_comparison_lines(content["comparisons"])])


def headline(content: Mapping) -> str:
    """Return the overall means of the first metrics as text, to end the output with."""
    return "\n".join(_table(content, list(content["metrics"])[:COLUMNS_PER_TABLE], {}))


def _table(content: Mapping, names: Sequence[str], sections: Mapping[str, str]) -> list[str]:
    systems = content["systems"]
    lines = [["", "system", "n", *(METRICS[name].label for name in names)], ["overall"]]
    lines += [_line("", system, m, names) for system, m in systems.items()]
    for section, title in sections.items():
        found = labels(content, section)
        if found:
            lines.append([title])
        lines += [
            _line(f"  {label}", system, m[section][label], names)
            for label in found
            for system, m in systems.items()
            if label in m.get(section, {})
        ]
    return aligned(lines)


def labels(content: Mapping, section: str) -> list[str]:
    """Return the labels of all systems in a section of a summary, in order."""
    found = {label for m in content["systems"].values() for label in m.get(section, {})}
    return sorted(found, key=_snr_of_label if section == "by_snr" else None)


def _snr_of_label(label: str) -> tuple[float, str]:
    """Return the sorting key of "-5 dB", "0 to 5 dB", "inf dB" and, last, "unknown"."""
    return (math.inf if label == "unknown" else float(label.split()[0]), label)


def _line(label: str, system: str, m: Mapping, names: Sequence[str]) -> list[str]:
    return [label, system, str(m["files"]), *(cell(m, name) for name in names)]


def cell(m: Mapping, name: str) -> str:
    """Return the mean of a metric with half the width of its interval, as text.

    Args:
        m: a part of a summary with ``files`` and ``metrics``.
        name: of the metric.
    """
    if name not in m["metrics"]:
        return "-"
    mean_text, half, _ = cell_parts(m["metrics"][name], METRICS[name].digits)
    text = f"{mean_text or 'nan'}±{half}" if half else mean_text or "nan"
    scored = m["metrics"][name]["scored"]
    return text if scored == m["files"] else f"{text} ({scored})"


def cell_parts(mean: Mapping, digits: int) -> tuple[str, str, int]:
    """Return a mean, half the width of its interval (empty if unknown), and files missing."""
    if mean["mean"] is None:
        return "", "", mean["missing"]
    half = ""
    if mean["low"] is not None and mean["scored"] >= FEWEST_FILES:
        half = f"{(mean['high'] - mean['low']) / 2:.{digits}f}"
    return f"{mean['mean']:.{digits}f}", half, mean["missing"]


def comparison_parts(entry: Mapping) -> tuple[str, str, str]:
    """Return the mean, the interval and p of a comparison as text."""
    digits = METRICS[entry["metric"]].digits
    known = entry["low"] is not None and entry["files"] >= FEWEST_FILES
    interval = f"{entry['low']:+.{digits}f} to {entry['high']:+.{digits}f}" if known else "-"
    return f"{entry['mean']:+.{digits}f}", interval, f"{entry['p_holm']:.2g}"


def _comparison_lines(entries: Sequence[Mapping]) -> list[str]:
    if not entries:
        return []
    lines = [["", "over", "n", "difference", "95 % interval", "p (Holm)"]]
    for metric, group in itertools.groupby(entries, key=lambda e: e["metric"]):
        lines.append([f"{METRICS[metric].label} of {entries[0]['system']}"])
        lines += [["", e["other"], str(e["files"]), *comparison_parts(e)] for e in group]
    return [*aligned(lines), "", f"p: {PAIRED_TEST}"]


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Align cells in columns: two columns of words to the left, numbers to the right."""
    full = [line for line in lines if len(line) > 1]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in lines
    ]


def definitions(rows: Sequence[Row]) -> list[str]:
    """Return a line per metric: definition, package, version."""
    lines = []
    for name in columns(rows):
        metric = METRICS[name]
        number = scoring.package_version(metric.package) if metric.package else ""
        package = f", package {metric.package} {number}" if number else ""
        note = f"; {metric.note}" if metric.note else ""
        lines.append(f"{metric.label}: {metric.definition}{package}{note}")
    return lines


def problems(rows: Sequence[Row]) -> list[str]:
    """Return a line per system and kind of problem: missing scores, muted or cut files, delays.

    One more says how many files have no noise.
    """
    lines = []
    if files := without_noise(rows):
        lines.append(
            f"{len(files)} of {len({row['file'] for row in rows})} noisy files equal their clean "
            f"ones ({min(files)}): left out of means and comparisons of SNR, SI-SDR and SDR"
        )
    for system, members in by_system(rows).items():
        failed = [row for row in members if row["reason"]]
        if failed:
            reason, count = Counter(row["reason"] for row in failed).most_common(1)[0]
            example = next(row["file"] for row in failed if row["reason"] == reason)
            lines.append(
                f"{system}: {len(failed)} of {len(members)} files lack scores, {count} because "
                f"({example}) {reason}"
            )
        if silent := muted(members):
            lines.append(
                f"warning: {system}: {len(silent)} of {len(members)} files are silent and their "
                f"clean ones are not ({silent[0]['file']}); means of SI-SDR, PESQ and STOI leave "
                "them out"
            )
        cut = [row for row in members if row.get("extra_samples")]
        if cut:
            worst = max(cut, key=lambda row: abs(row["extra_samples"]))
            lines.append(
                f"{system}: {len(cut)} of {len(members)} files are longer or shorter than the "
                f"clean ones, at most by {worst['extra_samples']:+d} samples ({worst['file']}); "
                "both were cut"
            )
        late = [row for row in members if row.get("lag")]
        if late:
            worst = max(late, key=lambda row: abs(row["lag"]))
            lines.append(
                f"warning: {system}: {len(late)} of {len(members)} files are not aligned with the "
                f"clean ones, the worst by {worst['lag']} samples ({worst['file']}); a delay "
                "lowers the scores"
            )
        foreign = [row for row in members if _is_foreign(row)]
        if foreign:
            lines.append(
                f"warning: {system}: {len(foreign)} of {len(members)} files have next to nothing "
                f"in common with their clean ones ({foreign[0]['file']}); the means include them"
            )
    return lines


def _is_foreign(row: Row) -> bool:
    """Return whether a file that sounds, and was scored, has no delay that fits its clean one."""
    scored = any(not math.isnan(row.get(name, math.nan)) for name in NEED_CLEAN)
    return scored and row.get("lag", 0) is None and not muted([row])


# ---------------------------------------------------------------- files


def check_folder(folder: Path) -> None:
    """Check that a report would not replace files of another origin in its folder.

    Raises:
        UserError: if it would.
    """
    for name, opening in OPENINGS.items():
        try:
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                start = file.read(1000)
        except OSError:  # does not exist
            continue
        if start and opening not in start:
            raise UserError(
                f"{folder / name}: not made by an evaluation, and the report would replace it; "
                "name another folder with --out"
            )


def write(folder: Path, rows: Sequence[Row], content: Mapping) -> None:
    """Write scores.csv and summary.json, each complete or not at all."""
    score_table.write(folder, rows, columns(rows))
    with files.replacing(folder / "summary.json") as path:
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
