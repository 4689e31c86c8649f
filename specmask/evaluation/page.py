"""The listening page: index.html with its sounds and pictures beside it, for a browser offline.

Conventions:
    A chosen file is shown with every system that was scored on it and can be read. Sounds are
    16-bit WAV, at most a minute long; pictures are those of :mod:`specmask.audio.spectrogram`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from specmask.audio import io as audio_io
from specmask.audio import spectrogram
from specmask.audio.levels import FULL_SCALE, to_int16
from specmask.errors import UserError
from specmask.evaluation import oracles, pairing, report, scoring, word_errors
from specmask.evaluation.report import COLUMNS
from specmask.files import replacing

ASSETS = "page"  # the folder beside index.html
SECONDS = 60
_OURS = re.compile(r"\d{3}-\d+(-mask)?\.(wav|png)")
CHARTED = ("si_sdr", "si_sdr_improvement", "sdr", "pesq_wb", "pesq_nb", "stoi", "estoi", "covl")


def write(
    folder: Path,
    rows: Sequence[Mapping],
    content: Mapping,
    tasks: Sequence[pairing.Task],
    count: int,
    wanted: Sequence[str] = (),
    words: Sequence[Mapping] = (),
) -> Path:
    """Write index.html and what it shows.

    Args:
        folder: of the report, with scores.csv and summary.json in it.
        rows: of :func:`specmask.evaluation.scoring.evaluate`.
        content: of :func:`specmask.evaluation.report.summary`.
        tasks: of :func:`specmask.evaluation.pairing.tasks`, those that made the rows.
        count: of files to listen to: a third each of the worst, the middle and the best.
        wanted: names of files to listen to besides.
        words: of :func:`specmask.evaluation.word_errors.recognise`, if a recogniser has heard
            the files.

    Raises:
        UserError: if a wanted file is not among the rows.
    """
    import jinja2  # only who makes a page pays for it

    assets = folder / ASSETS
    assets.mkdir(parents=True, exist_ok=True)
    for path in assets.iterdir():
        if _OURS.fullmatch(path.name):  # of an earlier report; nothing else is touched
            path.unlink()
    main = _main_system(rows)
    chosen = choose([row for row in rows if row["system"] == main], count, wanted)
    shown = (
        _file(number, name, why, rows, [t for t in tasks if t.name == name], assets, words)
        for number, (name, why) in enumerate(chosen.items())
    )
    files = [file for file in shown if file]
    loader = jinja2.FileSystemLoader(Path(__file__).resolve().parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    page = environment.get_template("page.html").render(_context(rows, content, main, files))
    with replacing(folder / "index.html") as path:
        path.write_text(page, encoding="utf-8", errors="backslashreplace")
    return folder / "index.html"


def choose(rows: Sequence[Mapping], count: int, wanted: Sequence[str] = ()) -> dict[str, str]:
    """Choose files by the score of one system: the worst, those in the middle, and the best.

    The score is the SI-SDR improvement, or the SI-SDR without noisy files.

    Returns:
        why a file was chosen, by its name, from the worst to the best; files by hand are last.
    """
    names = {row["file"] for row in rows}
    for name in wanted:
        if name not in names:
            raise UserError(f"--listen {name}: not among the files, for example {min(names)}")
    key = next((k for k in ("si_sdr_improvement", "si_sdr") if any(k in r for r in rows)), None)
    scored = sorted(
        (r for r in rows if key and not math.isnan(r.get(key, math.nan))), key=lambda r: r[key]
    )
    ordered = [row["file"] for row in scored]
    if len(ordered) <= count:
        found = dict.fromkeys(ordered, "")
    else:
        worst, best = -(-count // 3), count // 3
        middle = count - worst - best
        start = (len(ordered) - middle) // 2
        found = dict.fromkeys(ordered[:worst], "among the worst")
        found |= dict.fromkeys(ordered[start : start + middle], "median")
        found |= dict.fromkeys(ordered[len(ordered) - best :], "among the best")
    return found | dict.fromkeys(wanted, "chosen by hand")


def _file(
    number: int,
    name: str,
    why: str,
    rows: Sequence[Mapping],
    tasks: Sequence[pairing.Task],
    assets: Path,
    words: Sequence[Mapping],
) -> dict | None:
    """Write the sounds and pictures of a file and return what the page's script must know."""
    own = {row["system"]: row for row in rows if row["file"] == name}
    heard, rate = _heard(tasks)
    if not heard:
        return None
    clean = heard["clean"]
    mono = {key: audio_io.to_mono(x) for key, x in heard.items()}
    levels = {key: spectrogram.spectrogram(x, rate) for key, x in mono.items()}
    loudest = max(levels[key].max() for key in ("noisy", "clean") if key in levels)
    peak = max(1e-6, *(np.abs(x).max() for x in mono.values()))
    signals = []
    for key, x in heard.items():
        stem = f"{number:03d}-{len(signals)}"
        pcm = to_int16(np.clip(x, -1, 1 - 1 / FULL_SCALE))
        audio_io.write_pcm16(assets / f"{stem}.wav", pcm, rate)
        image = spectrogram.picture(
            levels[key], loudest - spectrogram.RANGE_DB, loudest, spectrogram.HEAT
        )
        (assets / f"{stem}.png").write_bytes(image)
        signal = {"name": key, "audio": f"{ASSETS}/{stem}.wav", "image": f"{ASSETS}/{stem}.png"}
        if "noisy" in levels and key not in ("noisy", "clean"):
            gain = spectrogram.picture(
                levels[key] - levels["noisy"], -spectrogram.MASK_RANGE_DB, 0, spectrogram.TEAL
            )
            (assets / f"{stem}-mask.png").write_bytes(gain)
            signal["mask"] = f"{ASSETS}/{stem}-mask.png"
        signals.append(signal | {"wave": spectrogram.waveform(mono[key] / peak)})
    row = next(iter(own.values()))
    metrics = _charted(rows)
    return {
        "name": name,
        "why": why,
        "rank": number,
        "snr": None if row["snr_db"] is None or math.isinf(row["snr_db"]) else row["snr_db"],
        "label": "" if row["snr_db"] is None else f"{row['snr_db'] + 0.0:g} dB",
        "noise": row["noise_type"],
        "speaker": row["speaker"],
        "seconds": len(clean) / rate,
        "khz": rate / 2000,
        "signals": signals,
        "words": _spoken(tasks, words),
        "scores": {
            s: {m: report.finite(r.get(m, math.nan)) for m in metrics} for s, r in own.items()
        },
    }


def _heard(tasks: Sequence[pairing.Task]) -> tuple[dict[str, np.ndarray], int]:
    """Return the sounds of a file by what they are, clean last, and their rate in Hz."""
    heard, clean, rate = {}, None, 0
    for task in tasks:
        try:
            found = scoring.signals(task)
        except scoring.Unusable:
            continue  # its row in scores.csv has the reason
        rate = found.rate
        cut = slice(SECONDS * rate)
        if found.noisy is not None:
            heard.setdefault("noisy", found.noisy[cut])
        heard.setdefault(task.system, found.enhanced[cut])
        clean = found.clean[cut]
    return (heard | {"clean": clean} if heard else {}), rate


def _spoken(tasks: Sequence[pairing.Task], words: Sequence[Mapping]) -> dict | None:
    """Return the words of a file: said, and heard in the file of every system."""
    names = {"clean": tasks[0].clean_file} | {t.system: t.name for t in tasks}
    own = [
        row
        for row in words
        if row["clean_file"] == tasks[0].clean_file
        and (row["system"] == "clean" or row["file"] == names.get(row["system"]))
    ]
    if not own:
        return None
    own.sort(key=lambda row: row["system"] == "clean")  # last, as in the player
    return {
        "said": own[0]["said"],
        "count": len(own[0]["said"].split()),
        "heard": [{k: row[k] for k in ("system", "heard", "errors")} for row in own],
    }


def _main_system(rows: Sequence[Mapping]) -> str:
    systems = list(dict.fromkeys(row["system"] for row in rows))
    return next((s for s in systems if s not in pairing.BUILT_IN), systems[0])


def _charted(rows: Sequence[Mapping]) -> list[str]:
    return [name for name in CHARTED if name in report.columns(rows)]


def _context(rows: Sequence[Mapping], content: Mapping, main: str, files: list[dict]) -> dict:
    """Return what the template shows."""
    columns, charted = report.columns(rows), _charted(rows)
    means, systems = content["systems"], list(content["systems"])
    return {
        "title": report.TITLE,
        "counts": f"{means[main]['files']} files, {len(systems)} systems: "
        + ", ".join(map(_words, systems)),
        "columns": [COLUMNS[name] for name in columns],
        "systems": _table(means, columns),
        "comparisons": [_comparison(entry) for entry in content["comparisons"]],
        "test": content["test"],
        "harm": content.get("harm"),
        "harm_words": content.get("harm_words"),
        "words": _word_table(content.get("words") or {}),
        "normalised": word_errors.NORMALISED,
        "warnings": [line for line in report.notes(rows) if line.startswith("warning: ")],
        "notes": [line for line in report.notes(rows) if not line.startswith("warning: ")],
        "facts": _facts(content),
        "sources": max((len(f["signals"]) for f in files), default=0),
        "data": {
            "main": main,
            "systems": systems,
            "metrics": {
                name: {"label": COLUMNS[name].label, "digits": COLUMNS[name].digits}
                for name in charted
            },
            "snrs": list(means[main].get("by_snr", {})),
            "curves": {name: _curves(means, name) for name in charted},
            "boxes": {name: _boxes(rows, name) for name in charted},
            "files": files,
        },
    }


def _table(means: Mapping, columns: Sequence[str]) -> list[dict]:
    """Return the cells of the summary: mean, half an interval, files missing, and who is best."""
    best = {}
    for name in columns:
        values = {
            system: m["metrics"][name]["mean"]
            for system, m in means.items()
            if system not in oracles.ORACLES and m["metrics"].get(name, {}).get("mean") is not None
        }
        if len(values) > 1:
            best[name] = (min if COLUMNS[name].less_is_better else max)(values, key=values.get)
    return [
        {
            "label": _words(system),
            "files": m["files"],
            "cells": [
                _cell(m["metrics"].get(name), COLUMNS[name].digits)
                | {"best": best.get(name) == system}
                for name in columns
            ],
        }
        for system, m in means.items()
    ]


def _cell(m: Mapping | None, digits: int) -> dict:
    if m is None or m["mean"] is None:
        return {"mean": "–", "half": "", "missing": m["missing"] if m else 0}
    half = "" if m["low"] is None else f"{(m['high'] - m['low']) / 2:.{digits}f}"
    return {"mean": f"{m['mean']:.{digits}f}", "half": half, "missing": m["missing"]}


def _comparison(entry: Mapping) -> dict:
    column = COLUMNS[entry["metric"]]
    ends = [f"{entry[k]:+.{column.digits}f}" for k in ("low", "high") if entry[k] is not None]
    return {
        "label": column.label,
        "system": _words(entry["system"]),
        "other": _words(entry["other"]),
        "files": entry["files"],
        "mean": f"{entry['mean']:+.{column.digits}f}",
        "interval": " to ".join(ends) or "–",
        "p": f"{entry['p_holm']:.2g}",
    }


def _curves(means: Mapping, name: str) -> dict[str, list[dict]]:
    found = {}
    for system, m in means.items():
        groups = m.get("by_snr", {}).items()
        points = [
            {"label": label} | g["metrics"][name] for label, g in groups if name in g["metrics"]
        ]
        found[system] = [p for p in points if p["mean"] is not None]
    return found


def _boxes(rows: Sequence[Mapping], name: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if not math.isnan(row.get(name, math.nan)):
            found.setdefault(row["system"], []).append(row[name])
    return {s: np.quantile(v, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist() for s, v in found.items()}


def _word_table(found: Mapping[str, Mapping]) -> dict:
    """Return the word errors in per cent: columns and a row a system."""
    labels = list(dict.fromkeys(k for e in found.values() for k in e.get("by_snr", {})))
    rows = [
        {
            "label": _words(system),
            "files": e["files"],
            "words": e["words"],
            "failed": e["failed"],
            "cells": [f"{100 * e[k]:.1f}" for k in ("wer", "mer", "wil")]
            + [_rate(e.get("by_snr", {}).get(label)) for label in labels],
        }
        for system, e in found.items()
    ]
    return {"columns": ["WER %", "MER %", "WIL %", *(f"at {x}" for x in labels)], "rows": rows}


def _rate(errors: Mapping | None) -> str:
    return f"{100 * errors['wer']:.1f}" if errors else "–"


def _facts(content: Mapping) -> dict[str, str]:
    checkpoints = {k: v for k, v in (content.get("checkpoints") or {}).items() if v}
    manifest = content.get("manifest")
    facts = {
        "command": content["command"],
        "checkpoint": ", ".join(f"{_words(k)} {v}" for k, v in checkpoints.items()),
        "manifest": f"{manifest['name']} {manifest['digest']}" if manifest else "",
        "source revision": content.get("git") or "",
        "versions": ", ".join(f"{k} {v}" for k, v in (content.get("versions") or {}).items()),
    }
    return {key: value for key, value in facts.items() if value}


def _words(system: str) -> str:
    return system.replace("_", " ")
