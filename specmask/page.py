"""The listening page: index.html with its sounds and pictures beside it, for a browser offline.

Conventions:
    A chosen file is shown with every system that was scored on it. Pictures are PNG with a
    palette, time to the right, frequency upwards. Sounds are 16-bit WAV, at most a minute long.
"""

import math
import shutil
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from specmask import audio, baselines, evaluation, mixing, report, spectral
from specmask.errors import UserError

ASSETS = "page"  # the folder beside index.html
SECONDS = 60
RANGE_DB = 80  # of a spectrogram
MASK_RANGE_DB = 30
MOST_COLUMNS = 900
WAVE_POINTS = 400
CHARTED = ("si_sdr", "si_sdr_improvement", "sdr", "pesq_wb", "pesq_nb", "stoi", "estoi", "covl")
# From dark to light, even in brightness: the colours of a spectrogram, and of a mask.
HEAT = [(6, 4, 15), (52, 16, 92), (132, 34, 110), (212, 72, 66), (249, 155, 48), (252, 250, 205)]
TEAL = [(8, 14, 20), (10, 62, 84), (38, 128, 138), (132, 196, 170), (246, 250, 226)]


def write(
    folder: Path,
    rows: Sequence[Mapping],
    content: Mapping,
    tasks: Sequence[evaluation.Task],
    count: int,
    wanted: Sequence[str] = (),
) -> Path:
    """Write index.html and what it shows.

    Args:
        folder: of the report, with scores.csv and summary.json in it.
        rows: of :func:`specmask.evaluation.evaluate`.
        content: of :func:`specmask.report.summary`.
        tasks: of :func:`specmask.evaluation.tasks`, those that made the rows.
        count: of files to listen to: a third each of the worst, the middle and the best.
        wanted: names of files to listen to besides.

    Raises:
        UserError: if a wanted file is not among the rows.
    """
    import jinja2  # only who makes a page pays for it

    assets = folder / ASSETS
    shutil.rmtree(assets, ignore_errors=True)
    assets.mkdir(parents=True)
    main = _main_system(rows)
    chosen = choose([row for row in rows if row["system"] == main], count, wanted)
    files = [
        _file(number, name, why, rows, tasks, assets)
        for number, (name, why) in enumerate(chosen.items())
    ]
    loader = jinja2.FileSystemLoader(Path(__file__).resolve().parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    page = environment.get_template("page.html").render(_context(rows, content, main, files))
    with audio.replacing(folder / "index.html") as path:
        path.write_text(page, encoding="utf-8")
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


def spectrogram(x: np.ndarray, rate: int) -> np.ndarray:
    """Power of a signal in dB: [samples] -> float64 [bins, columns], high frequencies first."""
    spectrum = spectral.forward(np.asarray(x, np.float32), baselines.mask_transform(rate))
    powers = _columns(np.square(np.abs(spectrum, dtype=np.float64)))
    return 10 * np.log10(powers + 1e-30).T[::-1]


def _columns(powers: np.ndarray) -> np.ndarray:
    """Put frames together until there are no more than fit: [frames, bins]."""
    size = -(-len(powers) // MOST_COLUMNS)
    starts = np.arange(0, len(powers), size)
    return np.add.reduceat(powers, starts) / np.minimum(size, len(powers) - starts)[:, None]


def picture(values: np.ndarray, low: float, high: float, colours: Sequence[tuple]) -> bytes:
    """Return a PNG of values from low to high: [rows, columns] -> file content."""
    with np.errstate(invalid="ignore"):
        scaled = np.clip((values - low) / (high - low), 0, 1)
    indices = np.round(255 * np.nan_to_num(scaled)).astype(np.uint8)
    anchors = np.linspace(0, 255, len(colours))
    palette = np.stack([np.interp(np.arange(256), anchors, c) for c in zip(*colours, strict=True)])
    height, width = indices.shape
    lines = np.zeros((height, width + 1), np.uint8)  # every line starts with its filter: none
    lines[:, 1:] = indices
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", np.round(palette.T).astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def waveform(x: np.ndarray) -> str:
    """Return the outline of a signal as an SVG path, 400 wide, from -1 to 1: [samples] -> text."""
    edges = np.linspace(0, len(x), min(WAVE_POINTS, len(x)) + 1).astype(int)[:-1]
    high, low = np.maximum.reduceat(x, edges), np.minimum.reduceat(x, edges)
    at = np.linspace(0, WAVE_POINTS, len(edges))
    there = [f"{a:.4g},{-v:.3f}" for a, v in zip(at, high, strict=True)]
    back = [f"{a:.4g},{-v:.3f}" for a, v in zip(at[::-1], low[::-1], strict=True)]
    return "M" + "L".join(there + back) + "Z"


def _file(
    number: int,
    name: str,
    why: str,
    rows: Sequence[Mapping],
    tasks: Sequence[evaluation.Task],
    assets: Path,
) -> dict:
    """Write the sounds and pictures of a file and return what the page's script must know."""
    own = {row["system"]: row for row in rows if row["file"] == name}
    heard, rate = {}, 0
    for task in (t for t in tasks if t.name == name):
        found = evaluation.signals(task)
        rate = found.rate
        cut = slice(SECONDS * rate)
        if found.noisy is not None:
            heard.setdefault("noisy", found.noisy[cut])
        heard.setdefault(task.system, found.enhanced[cut])
        clean = found.clean[cut]
    heard["clean"] = clean
    mono = {key: audio.to_mono(x) for key, x in heard.items()}
    levels = {key: spectrogram(x, rate) for key, x in mono.items()}
    loudest = max(levels[key].max() for key in ("noisy", "clean") if key in levels)
    peak = max(1e-6, *(np.abs(x).max() for x in mono.values()))
    signals = []
    for key, x in heard.items():
        stem = f"{number:03d}-{len(signals)}"
        pcm = mixing.to_int16(np.clip(x, -1, 1 - 1 / mixing.FULL_SCALE))
        audio.write_pcm16(assets / f"{stem}.wav", pcm, rate)
        image = picture(levels[key], loudest - RANGE_DB, loudest, HEAT)
        (assets / f"{stem}.png").write_bytes(image)
        signal = {"name": key, "audio": f"{ASSETS}/{stem}.wav", "image": f"{ASSETS}/{stem}.png"}
        if "noisy" in levels and key not in ("noisy", "clean"):
            gain = picture(levels[key] - levels["noisy"], -MASK_RANGE_DB, 0, TEAL)
            (assets / f"{stem}-mask.png").write_bytes(gain)
            signal["mask"] = f"{ASSETS}/{stem}-mask.png"
        signals.append(signal | {"wave": waveform(mono[key] / peak)})
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
        "scores": {
            s: {m: report.finite(r.get(m, math.nan)) for m in metrics} for s, r in own.items()
        },
    }


def _main_system(rows: Sequence[Mapping]) -> str:
    systems = list(dict.fromkeys(row["system"] for row in rows))
    return next((s for s in systems if s not in evaluation.BUILT_IN), systems[0])


def _charted(rows: Sequence[Mapping]) -> list[str]:
    return [name for name in CHARTED if name in report.columns(rows)]


def _context(rows: Sequence[Mapping], content: Mapping, main: str, files: list[dict]) -> dict:
    """Return what the template shows."""
    columns, charted = report.columns(rows), _charted(rows)
    means, systems = content["systems"], list(content["systems"])
    return {
        "title": "Listening report",
        "counts": f"{means[main]['files']} files, {len(systems)} systems: "
        + ", ".join(map(_words, systems)),
        "columns": [report.COLUMNS[name] for name in columns],
        "systems": _table(means, columns),
        "comparisons": [_comparison(entry) for entry in content["comparisons"]],
        "test": content["test"],
        "harm": content.get("harm"),
        "warnings": [line for line in report.notes(rows) if line.startswith("warning: ")],
        "notes": [line for line in report.notes(rows) if not line.startswith("warning: ")],
        "facts": _facts(content),
        "sources": max((len(f["signals"]) for f in files), default=0),
        "data": {
            "main": main,
            "systems": systems,
            "metrics": {
                name: {"label": report.COLUMNS[name].label, "digits": report.COLUMNS[name].digits}
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
            if system not in baselines.ORACLES
            and m["metrics"].get(name, {}).get("mean") is not None
        }
        if len(values) > 1:
            best[name] = (min if report.COLUMNS[name].less_is_better else max)(
                values, key=values.get
            )
    return [
        {
            "label": _words(system),
            "files": m["files"],
            "cells": [
                _cell(m["metrics"].get(name), report.COLUMNS[name].digits)
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
    column = report.COLUMNS[entry["metric"]]
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
