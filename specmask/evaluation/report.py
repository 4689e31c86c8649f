"""What every figure of a report is: its heading, digits, definition and sense."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specmask import files
from specmask.errors import UserError
from specmask.evaluation import oracles, pairing, score_table, scoring, statistics


@dataclass(frozen=True)
class Column:
    """How a metric is shown.

    Attributes:
        label: heading.
        digits: behind the point.
        definition: what it is, without the package that computes it.
        package: distribution whose version is part of the figure, or empty.
        less_is_better: as with a distance.
    """

    label: str
    digits: int
    definition: str
    package: str = ""
    less_is_better: bool = False


COLUMNS = {
    "snr": Column("SNR dB", 2, "10 log10 of clean energy over energy of the difference"),
    "si_sdr": Column("SI-SDR dB", 2, "Le Roux et al. 2019, zero mean"),
    "si_sdr_improvement": Column("SI-SDRi dB", 2, "SI-SDR over that of the noisy file"),
    "sdr": Column("SDR dB", 2, "BSS-eval, filter of 512 taps", "fast_bss_eval"),
    "pesq_wb": Column("PESQ-WB", 3, "ITU-T P.862.2, in pieces of 16 s at most", "pesq"),
    "pesq_nb": Column("PESQ-NB", 3, "ITU-T P.862 with P.862.1, in pieces of 16 s at most", "pesq"),
    "stoi": Column("STOI", 4, "Taal et al. 2011", "pystoi"),
    "estoi": Column("ESTOI", 4, "Jensen and Taal 2016", "pystoi"),
    "snr_improvement": Column("SNRi dB", 2, "SNR over that of the noisy file; sees the level"),
    "segmental_snr": Column("segSNR dB", 2, "frames of 30 ms every 10 ms, within -10 and 35 dB"),
    "log_spectral_distance": Column(
        "LSD dB", 2, "log-spectral distance; less is better", less_is_better=True
    ),
    "spectrogram_rmse": Column(
        "RMSE", 5, "of magnitude spectra, full scale 1; less is better", less_is_better=True
    ),
    "csig": Column("CSIG", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "cbak": Column("CBAK", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "covl": Column("COVL", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "dnsmos_sig": Column("DNSMOS-SIG", 3, "DNSMOS P.835", "speechmos"),
    "dnsmos_bak": Column("DNSMOS-BAK", 3, "DNSMOS P.835", "speechmos"),
    "dnsmos_ovrl": Column("DNSMOS-OVRL", 3, "DNSMOS P.835", "speechmos"),
}

MOST_SNRS = 24  # more different ones are put together in steps of 5 dB
SNR_STEP = 5
COLUMNS_A_TABLE = 7  # more would not fit beside each other
PAIRED_TEST = (
    "Wilcoxon signed-rank test on files, two-sided, corrected by Holm for all in the table"
)
TITLE = "Listening report"
OPENINGS = {  # how our files begin
    "index.html": f"<title>{TITLE}</title>",
    "summary.json": '"command": ',
    "scores.csv": "system,file,",
    "words.csv": "system,file,",
}
COMPARED = ("si_sdr", "pesq_wb", "pesq_nb", "stoi", "estoi")


@dataclass(frozen=True)
class Mean:
    """A mean and what it is over.

    Attributes:
        mean: NaN if nothing could be scored.
        scored: number of files in the mean.
        missing: number of files that could not be scored.
        low, high: ends of the 95 % interval, NaN for fewer than two files.
    """

    mean: float
    scored: int
    missing: int
    low: float = math.nan
    high: float = math.nan


def columns(rows: Sequence[Mapping]) -> list[str]:
    """Return the metrics that occur in the rows, in the order of the tables."""
    return [name for name in COLUMNS if any(name in row for row in rows)]


def mean(rows: Sequence[Mapping], name: str) -> Mean:
    """Return the mean of a metric over the rows that have one; rows without the key are no part."""
    values = [row[name] for row in rows if name in row]
    scored = [v for v in values if not math.isnan(v)]
    value = math.fsum(scored) / len(scored) if scored else math.nan
    trainings = score_table.by_seed(rows)
    if len(trainings) > 1:
        figures = score_table.figures(list(trainings.values()), name)
        ends = statistics.interval(figures[:, np.isfinite(figures).all(axis=0)])
    else:
        ends = statistics.interval(scored)
    return Mean(value, len(scored), len(values) - len(scored), *ends)


def groups(rows: Sequence[Mapping]) -> dict[str, dict[str, list[Mapping]]]:
    """Return the rows by SNR and by noise type, as far as they are known, each in order."""
    found = {}
    if any(row["snr_db"] is not None for row in rows):
        found["by_snr"] = _grouped(rows, _snr_key(rows))
    if any(row["noise_type"] for row in rows):
        found["by_noise"] = _grouped(rows, lambda row: (0, row["noise_type"] or "unknown"))
    return found


def _grouped(rows: Sequence[Mapping], key: Callable[[Mapping], tuple]) -> dict[str, list[Mapping]]:
    """Put rows together by the label that ends their sorting key."""
    found: dict[str, list[Mapping]] = {}
    for row in sorted(rows, key=key):
        found.setdefault(key(row)[-1], []).append(row)
    return found


def _snr_key(rows: Sequence[Mapping]) -> Callable[[Mapping], tuple]:
    many = len({row["snr_db"] for row in rows}) > MOST_SNRS

    def key(row: Mapping) -> tuple:
        snr = row["snr_db"]
        if snr is None or math.isnan(snr):
            return (math.inf, "unknown")
        if not many or math.isinf(snr):
            return (snr, f"{snr + 0.0:g} dB")  # + 0.0 makes 0 of a negative zero
        snr = SNR_STEP * math.floor(snr / SNR_STEP)
        return (snr, f"{snr:g} to {snr + SNR_STEP:g} dB")

    return key


def table(rows: Sequence[Mapping]) -> str:
    """Return the scores as text: overall, per SNR, per noise type, and what is missing.

    ``n`` is the number of files. A mean over fewer of them has their number behind it. ``±`` is
    half the width of the 95 % interval.
    """
    names = columns(rows)
    shares = [names[i : i + COLUMNS_A_TABLE] for i in range(0, len(names), COLUMNS_A_TABLE)]
    sections = {"overall": {"": list(rows)}} | groups(rows)
    tables = [line for share in shares for line in (*_table(sections, share), "")]
    return "\n".join([*tables, *_comparison_lines(rows), *notes(rows)])


def headline(rows: Sequence[Mapping]) -> str:
    """Return the overall scores alone as text, those of the first columns: to stand at the end."""
    return "\n".join(_table({"overall": {"": list(rows)}}, columns(rows)[:COLUMNS_A_TABLE]))


def _table(sections: Mapping[str, Mapping[str, list]], names: Sequence[str]) -> list[str]:
    titles = {"overall": "overall", "by_snr": "by SNR", "by_noise": "by noise type"}
    lines = [["", "system", "n", *(COLUMNS[name].label for name in names)]]
    for section, labelled in sections.items():
        lines.append([titles[section]])
        for label, members in labelled.items():
            for system, own in by_system(members).items():
                cells = [cell(own, name) for name in names]
                lines.append([f"  {label}".rstrip(), system, str(len(own)), *cells])
    return aligned(lines)


def comparisons(rows: Sequence[Mapping]) -> list[dict]:
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
    found = []
    for name in (n for n in COMPARED if n in columns(rows)):
        for other, members in systems.items():
            theirs = score_table.by_seed(members)
            # the same seed draws the same examples; what is not trained is compared with all
            pairs = [(s, s) for s in ours if s in theirs] or [*itertools.product(ours, theirs)]
            both = score_table.figures([t for a, b in pairs for t in (ours[a], theirs[b])], name)
            result = statistics.compare(both[::2], both[1::2])
            if result.files:
                found.append(
                    {"system": others[0], "other": other, "metric": name}
                    | {key: finite(getattr(result, key)) for key in ("mean", "low", "high", "p")}
                    | {"files": result.files}
                )
    for entry, p in zip(found, statistics.holm([e["p"] for e in found]), strict=True):
        entry["p_holm"] = p
    return found


def _comparison_lines(rows: Sequence[Mapping]) -> list[str]:
    entries = comparisons(rows)
    if not entries:
        return []
    lines = [["", "over", "n", "difference", "95 % interval", "p (Holm)"]]
    for metric in dict.fromkeys(e["metric"] for e in entries):
        lines.append([f"{COLUMNS[metric].label} of {entries[0]['system']}"])
        digits = COLUMNS[metric].digits
        for e in (e for e in entries if e["metric"] == metric):
            low, high = (
                f"{e[k]:+.{digits}f}" if e[k] is not None else "-" for k in ("low", "high")
            )
            cells = [f"{e['mean']:+.{digits}f}", f"{low} to {high}", f"{e['p_holm']:.2g}"]
            lines.append(["", e["other"], str(e["files"]), *cells])
    return [*aligned(lines), "", f"p: {PAIRED_TEST}"]


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None for NaN."""
    return None if math.isnan(value) else value


def notes(rows: Sequence[Mapping]) -> list[str]:
    """Return a line for each metric (definition, package, version) and each gap in the scores."""
    lines = []
    for name in columns(rows):
        column = COLUMNS[name]
        number = scoring.versions().get(column.package)
        package = f", package {column.package} {number}" if column.package else ""
        lines.append(f"{column.label}: {column.definition}{package}")
    for system, own in by_system(rows).items():
        failed = [row for row in own if row["reason"]]
        if failed:
            reason, count = Counter(row["reason"] for row in failed).most_common(1)[0]
            example = next(row["file"] for row in failed if row["reason"] == reason)
            lines.append(
                f"{system}: {len(failed)} of {len(own)} files lack scores, {count} because "
                f"({example}) {reason}"
            )
        late = [row for row in own if row.get("lag")]
        if late:
            worst = max(late, key=lambda row: abs(row["lag"]))
            lines.append(
                f"warning: {system}: {len(late)} of {len(own)} files do not lie on the clean ones, "
                f"at most by {worst['lag']} samples ({worst['file']}); scores suffer from a delay"
            )
    return lines


def summary(rows: Sequence[Mapping], command: str, facts: Mapping) -> dict:
    """Return means, counts, intervals and comparisons as JSON can hold them (null for NaN).

    Args:
        rows: the scores.
        command: that made them.
        facts: of :func:`specmask.evaluation.provenance.facts`, and whatever else belongs into
            the file.
    """

    def means(members: Sequence[Mapping]) -> dict:
        found = {name: mean(members, name) for name in columns(members)}
        return {
            "files": len(members),
            "metrics": {
                name: {
                    "mean": finite(m.mean),
                    "low": finite(m.low),
                    "high": finite(m.high),
                    "scored": m.scored,
                    "missing": m.missing,
                }
                for name, m in found.items()
            },
        }

    systems = {}
    for system, own in by_system(rows).items():
        systems[system] = means(own) | {
            section: {label: means(members) for label, members in labelled.items()}
            for section, labelled in groups(own).items()
        }
        systems[system]["misaligned"] = sum(1 for row in own if row.get("lag"))
    return {
        "command": command,
        **facts,
        "metrics": {
            name: {"label": COLUMNS[name].label, "definition": COLUMNS[name].definition}
            for name in columns(rows)
        },
        "intervals": f"{statistics.CONFIDENCE:.0%} percentile bootstrap, "
        f"{statistics.RESAMPLES} resamples",
        "test": PAIRED_TEST,
        "comparisons": comparisons(rows),
        "systems": systems,
    }


def claim(folder: Path) -> None:
    """See that a report folder holds no files of somebody else that a report would replace.

    Raises:
        UserError: if it does.
    """
    for name, opening in OPENINGS.items():
        try:
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                start = file.read(1000)
        except OSError:  # not there
            continue
        if start and opening not in start:
            raise UserError(
                f"{folder / name}: not of an evaluation, and the report would replace it; "
                "name another folder with --out"
            )


def write(folder: Path, rows: Sequence[Mapping], content: Mapping) -> None:
    """Write scores.csv, a row a file and system, and summary.json, each complete or not at all."""
    score_table.write(folder, rows, columns(rows))
    with files.replacing(folder / "summary.json") as path:
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def by_system(rows: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    """Return the rows of every system, in the order in which the systems come."""
    found: dict[str, list[Mapping]] = {}
    for row in rows:
        found.setdefault(row["system"], []).append(row)
    return found


def cell(rows: Sequence[Mapping], name: str) -> str:
    """Return the mean of a metric as it stands in a table, with half the width of its interval."""
    m = mean(rows, name)
    if not m.scored + m.missing:
        return "-"
    digits = COLUMNS[name].digits
    text = f"{m.mean:.{digits}f}"
    if not math.isnan(m.low):
        text += f"±{(m.high - m.low) / 2:.{digits}f}"
    return text if m.scored == len(rows) else f"{text} ({m.scored})"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Put cells below each other: two columns of words to the left, figures to the right."""
    full = [line for line in lines if len(line) > 1]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in lines
    ]
