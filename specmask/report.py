"""What scores come to: means with their counts, as text, CSV and JSON.

Conventions:
    Rows are what :func:`specmask.evaluation.evaluate` returns. A mean is over the files that
    could be scored, and stands nowhere without their number.
"""

import csv
import json
import math
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from specmask import audio

# what scores depend on
PACKAGES = (
    *("specmask", "numpy", "scipy", "soundfile", "soxr"),
    *("pesq", "pystoi", "fast_bss_eval"),
)
MOST_SNRS = 24  # more different ones are put together in steps of 5 dB
SNR_STEP = 5


@dataclass(frozen=True)
class Column:
    """How a metric is shown.

    Attributes:
        label: heading.
        digits: behind the point.
        definition: what it is, without the package that computes it.
        package: distribution whose version is part of the figure, or empty.
    """

    label: str
    digits: int
    definition: str
    package: str = ""


COLUMNS = {
    "snr": Column("SNR dB", 2, "10 log10 of clean energy over energy of the difference"),
    "si_sdr": Column("SI-SDR dB", 2, "Le Roux et al. 2019, zero mean"),
    "si_sdr_improvement": Column("SI-SDRi dB", 2, "SI-SDR over that of the noisy file"),
    "sdr": Column("SDR dB", 2, "BSS-eval, filter of 512 taps", "fast_bss_eval"),
    "pesq_wb": Column("PESQ-WB", 3, "ITU-T P.862.2", "pesq"),
    "pesq_nb": Column("PESQ-NB", 3, "ITU-T P.862 with P.862.1", "pesq"),
    "stoi": Column("STOI", 4, "Taal et al. 2011", "pystoi"),
    "estoi": Column("ESTOI", 4, "Jensen and Taal 2016", "pystoi"),
    "snr_improvement": Column("SNRi dB", 2, "SNR over that of the noisy file; sees the level"),
    "segmental_snr": Column("segSNR dB", 2, "frames of 30 ms every 10 ms, within -10 and 35 dB"),
    "log_spectral_distance": Column("LSD dB", 2, "log-spectral distance; less is better"),
    "csig": Column("CSIG", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "cbak": Column("CBAK", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "covl": Column("COVL", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "dnsmos_sig": Column("DNSMOS-SIG", 3, "DNSMOS P.835", "speechmos"),
    "dnsmos_bak": Column("DNSMOS-BAK", 3, "DNSMOS P.835", "speechmos"),
    "dnsmos_ovrl": Column("DNSMOS-OVRL", 3, "DNSMOS P.835", "speechmos"),
}


@dataclass(frozen=True)
class Mean:
    """A mean and what it is over.

    Attributes:
        mean: NaN if nothing could be scored.
        scored: number of files in the mean.
        missing: number of files that could not be scored.
    """

    mean: float
    scored: int
    missing: int


def columns(rows: Sequence[Mapping]) -> list[str]:
    """Return the metrics that occur in the rows, in the order of the tables."""
    return [name for name in COLUMNS if any(name in row for row in rows)]


def mean(rows: Sequence[Mapping], name: str) -> Mean:
    """Return the mean of a metric over the rows that have one; rows without the key are no part."""
    values = [row[name] for row in rows if name in row]
    scored = [v for v in values if not math.isnan(v)]
    value = math.fsum(scored) / len(scored) if scored else math.nan
    return Mean(value, len(scored), len(values) - len(scored))


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

    ``n`` is the number of files. A mean over fewer of them has their number behind it.
    """
    names = columns(rows)
    sections = {"overall": {"": list(rows)}} | groups(rows)
    titles = {"overall": "overall", "by_snr": "by SNR", "by_noise": "by noise type"}
    lines = [["", "system", "n", *(COLUMNS[name].label for name in names)]]
    for section, labelled in sections.items():
        lines.append([titles[section]])
        for label, members in labelled.items():
            for system, own in _by_system(members).items():
                cells = [_cell(own, name) for name in names]
                lines.append([f"  {label}".rstrip(), system, str(len(own)), *cells])
    return "\n".join([*_aligned(lines), "", *notes(rows)])


def notes(rows: Sequence[Mapping]) -> list[str]:
    """Return a line for each metric (definition, package, version) and each gap in the scores."""
    lines = []
    for name in columns(rows):
        column = COLUMNS[name]
        package = f", package {column.package} {_version(column.package)}" if column.package else ""
        lines.append(f"{column.label}: {column.definition}{package}")
    for system, own in _by_system(rows).items():
        failed = [row for row in own if row["reason"]]
        if failed:
            reason, count = Counter(row["reason"] for row in failed).most_common(1)[0]
            example = next(row["file"] for row in failed if row["reason"] == reason)
            lines.append(
                f"{system}: {len(failed)} of {len(own)} files lack scores, {count} because "
                f"({example}) {reason}"
            )
    return lines


def summary(rows: Sequence[Mapping], command: str) -> dict:
    """Return the means and counts as JSON can hold them (null for NaN), and how they were made."""

    def means(members: Sequence[Mapping]) -> dict:
        found = {name: mean(members, name) for name in columns(members)}
        return {
            "files": len(members),
            "metrics": {
                name: {
                    "mean": None if math.isnan(m.mean) else m.mean,
                    "scored": m.scored,
                    "missing": m.missing,
                }
                for name, m in found.items()
            },
        }

    systems = {}
    for system, own in _by_system(rows).items():
        systems[system] = means(own) | {
            section: {label: means(members) for label, members in labelled.items()}
            for section, labelled in groups(own).items()
        }
    return {
        "command": command,
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "metrics": {
            name: {"label": COLUMNS[name].label, "definition": COLUMNS[name].definition}
            for name in columns(rows)
        },
        "systems": systems,
    }


def write(folder: Path, rows: Sequence[Mapping], command: str) -> None:
    """Write scores.csv, a row a file and system, and summary.json, each complete or not at all."""
    fields = [
        *("system", "file", "clean_file", "snr_db", "noise_type"),
        *columns(rows),
        "reason",
    ]
    with (
        audio.replacing(folder / "scores.csv") as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with audio.replacing(folder / "summary.json") as path:
        text = json.dumps(summary(rows, command), indent=2, allow_nan=False, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


def _by_system(rows: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    found: dict[str, list[Mapping]] = {}
    for row in rows:
        found.setdefault(row["system"], []).append(row)
    return found


def _cell(rows: Sequence[Mapping], name: str) -> str:
    m = mean(rows, name)
    if not m.scored + m.missing:
        return "-"
    text = f"{m.mean:.{COLUMNS[name].digits}f}"
    return text if m.scored == len(rows) else f"{text} ({m.scored})"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
