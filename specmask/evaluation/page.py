"""The listening page: index.html with its audio and pictures beside it, for a browser offline.

Conventions:
    A chosen file is shown with every system that was scored on it and can be read. Audio is
    16-bit WAV, at most a minute long; pictures are those of :mod:`specmask.audio.spectrogram`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from specmask.audio import spectrogram
from specmask.audio.io import resample, to_mono, write_pcm16
from specmask.audio.levels import FULL_SCALE, level_db, to_int16
from specmask.errors import UserError
from specmask.evaluation import oracles, pairing, report, scoring, word_errors
from specmask.evaluation.metrics.checks import MetricError
from specmask.evaluation.metrics.loudness import loudness
from specmask.evaluation.metrics.table import METRICS
from specmask.files import replacing

ASSETS = "page"  # the folder beside index.html
SECONDS = 60
_ASSET = re.compile(r"\d{3,}-\d+(-mask)?\.(wav|png)")
RANKED = ("si_sdr_improvement", "si_sdr", "dnsmos_ovrl", "loudness")
CHARTED = (
    *("si_sdr", "si_sdr_improvement", "sdr", "pesq_wb", "pesq_nb", "stoi", "estoi", "covl"),
    *("dnsmos_ovrl", "dnsmos_p808", "loudness"),
)


def write(
    folder: Path,
    rows: Sequence[Mapping],
    content: Mapping,
    items: Sequence[pairing.Item],
    count: int,
    wanted: Sequence[str] = (),
    words: Sequence[Mapping] = (),
) -> Path:
    """Write index.html with its audio and pictures.

    Args:
        folder: of the report, with scores.csv and summary.json in it.
        rows: of :func:`specmask.evaluation.scoring.evaluate`.
        content: of :func:`specmask.evaluation.report.summary`.
        items: of :func:`specmask.evaluation.pairing.items`, those of the rows.
        count: of files to listen to: a third each of the worst, the middle and the best.
        wanted: names of files to listen to besides, see :func:`check_wanted`.
        words: of :func:`specmask.evaluation.word_errors.recognise` or
            :func:`specmask.evaluation.word_errors.read_rows`, if a recogniser was used.
    """
    import jinja2  # slow, and only needed here

    main = _main_system(row["system"] for row in rows)
    chosen = choose([row for row in rows if row["system"] == main], count, wanted)
    assets = folder / ASSETS
    assets.mkdir(parents=True, exist_ok=True)
    for path in assets.iterdir():
        if _ASSET.fullmatch(path.name):  # of an earlier report; nothing else is touched
            path.unlink()
    shown = (
        _file(number, name, why, rows, [item for item in items if item.name == name], assets, words)
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


def check_wanted(items: Sequence[pairing.Item], wanted: Sequence[str]) -> None:
    """Check that files to listen to are among those of the system by which they are chosen.

    Raises:
        UserError: if one is not.
    """
    main = _main_system(item.system for item in items)
    names = {item.name for item in items if item.system == main}
    for name in wanted:
        if name not in names:
            raise UserError(f"--listen {name}: not among the files, for example {min(names)}")


def choose(rows: Sequence[Mapping], count: int, wanted: Sequence[str] = ()) -> dict[str, str]:
    """Choose the worst, the median and the best files by the score of one system.

    The score is the first of :data:`RANKED` that the rows have.

    Returns:
        reason by file name, from the worst to the best file; the wanted files are last.
    """
    key = next((k for k in RANKED if any(k in r for r in rows)), None)
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
    items: Sequence[pairing.Item],
    assets: Path,
    words: Sequence[Mapping],
) -> dict | None:
    """Write the audio and pictures of a file and return what the page's script needs."""
    own = {row["system"]: row for row in rows if row["file"] == name}
    sounds, rate = _sounds(items)
    if not sounds:
        return None
    mono = {key: to_mono(x) for key, x in sounds.items()}
    levels = {key: spectrogram.spectrogram(x, rate) for key, x in mono.items()}
    references = [levels[key] for key in ("noisy", "clean") if key in levels]
    loudest = max(x.max() for x in references or levels.values())
    peak = max(1e-6, *(np.abs(x).max() for x in mono.values()))
    signals: list[dict] = []
    for key, x in sounds.items():
        stem = f"{number:03d}-{len(signals)}"
        write_pcm16(assets / f"{stem}.wav", to_int16(np.clip(x, -1, 1 - 1 / FULL_SCALE)), rate)
        image = spectrogram.picture(
            levels[key], loudest - spectrogram.RANGE_DB, loudest, spectrogram.HEAT
        )
        (assets / f"{stem}.png").write_bytes(image)
        signal: dict = {
            "name": key,
            "audio": f"{ASSETS}/{stem}.wav",
            "image": f"{ASSETS}/{stem}.png",
        }
        noisy = levels.get("noisy")
        if noisy is not None and key not in ("noisy", "clean") and noisy.shape == levels[key].shape:
            gain = spectrogram.picture(
                levels[key] - noisy, -spectrogram.MASK_RANGE_DB, 0, spectrogram.TEAL
            )
            (assets / f"{stem}-mask.png").write_bytes(gain)
            signal["mask"] = f"{ASSETS}/{stem}-mask.png"
        signal["level"] = round(_level(mono[key], rate), 2)
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
        "seconds": len(next(iter(sounds.values()))) / rate,
        "khz": rate / 2000,
        "signals": signals,
        "words": _words_of(items, words),
        "scores": {
            s: {m: report.finite(r.get(m, math.nan)) for m in metrics} for s, r in own.items()
        },
    }


def _level(x: np.ndarray, rate: int) -> float:
    """Return the level by which players are matched: in LUFS, or the RMS of what has none."""
    try:
        return loudness(x, rate)
    except MetricError:
        return max(-100.0, level_db(x))


def _sounds(items: Sequence[pairing.Item]) -> tuple[dict[str, np.ndarray], int]:
    """Return the audio of a file by system, from noisy to clean, and its rate in Hz.

    Without references rates may differ: the highest is that of all.
    """
    sounds: dict[str, tuple[np.ndarray, int]] = {}
    clean = {}
    for item in items:
        try:
            audio = scoring.read_recordings(item)
        except scoring.Unusable:
            continue  # its row in scores.csv has the reason
        if audio.noisy is not None:
            sounds.setdefault("noisy", (audio.noisy, audio.rate))
        sounds.setdefault(item.system, (audio.enhanced, audio.rate))
        if audio.clean is not None:
            clean["clean"] = (audio.clean, audio.rate)
    highest = max((rate for _, rate in sounds.values()), default=0)
    return {
        name: resample(x[: SECONDS * rate], rate, highest)
        for name, (x, rate) in (sounds | clean).items()
    }, highest


def _words_of(items: Sequence[pairing.Item], words: Sequence[Mapping]) -> dict | None:
    """Return the words of a file: its transcript, and what was recognised for every system."""
    names = {"clean": word_errors.bare_name(items[0].clean_file)}
    names |= {item.system: item.name for item in items}
    own = [row for row in words if row["file"] == names.get(row["system"])]
    if not own:
        return None
    own.sort(key=lambda row: row["system"] == "clean")  # last, as in the player
    return {
        "said": own[0]["said"],
        "count": len(own[0]["said"].split()),
        "heard": [{k: row[k] for k in ("system", "heard", "errors")} for row in own],
    }


def _main_system(systems: Iterable[str]) -> str:
    """Return the first system that is not built in, or the first one."""
    names = list(systems)
    return next((name for name in names if name not in pairing.BUILT_IN), names[0])


def _charted(rows: Sequence[Mapping]) -> list[str]:
    present = report.columns(rows)
    return [name for name in CHARTED if name in present]


def _context(rows: Sequence[Mapping], content: Mapping, main: str, files: list[dict]) -> dict:
    """Return the values of the template."""
    columns, charted = report.columns(rows), _charted(rows)
    systems, counted = content["systems"], report.counted(rows)
    problems = report.problems(rows)
    return {
        "title": report.TITLE,
        "counts": f"{systems[main]['files']} files, {len(systems)} systems: "
        + ", ".join(map(_readable, systems)),
        "columns": [METRICS[name] for name in columns],
        "systems": _table(systems, columns),
        "comparisons": [_comparison(entry) for entry in content["comparisons"]],
        "test": content["test"],
        "gate": content.get("harm"),
        "gate_words": content.get("harm_words"),
        "probes": content.get("probes"),
        "words": _word_table(content.get("words") or {}),
        "verdict": content.get("words_verdict"),
        "normalised": word_errors.NORMALISED,
        "warnings": [line for line in problems if line.startswith("warning: ")],
        "notes": report.definitions(rows)
        + [line for line in problems if not line.startswith("warning: ")],
        "provenance": _provenance(content),
        "players": max((len(f["signals"]) for f in files), default=0),
        "data": {
            "main": main,
            "systems": list(systems),
            "metrics": {
                name: {"label": METRICS[name].label, "digits": METRICS[name].digits}
                for name in charted
            },
            "snrs": report.labels(content, "by_snr"),
            "curves": {name: _curves(systems, name) for name in charted},
            "boxes": {name: _boxes(counted, name) for name in charted},
            "files": files,
        },
    }


def _table(systems: Mapping, columns: Sequence[str]) -> list[dict]:
    """Return the cells of the summary: mean, half the interval, files missing, and the best."""
    best: dict[str, str] = {}
    for name in columns:
        values = {
            system: m["metrics"][name]["mean"]
            for system, m in systems.items()
            if system not in oracles.ORACLES and m["metrics"].get(name, {}).get("mean") is not None
        }
        if len(values) > 1:
            choose_best = min if METRICS[name].less_is_better else max
            best[name] = choose_best(values, key=values.__getitem__)
    return [
        {
            "label": _readable(system),
            "files": m["files"],
            "cells": [
                _cell(m["metrics"].get(name), METRICS[name].digits)
                | {"best": best.get(name) == system}
                for name in columns
            ],
        }
        for system, m in systems.items()
    ]


def _cell(mean: Mapping | None, digits: int) -> dict:
    text, half, missing = report.cell_parts(mean, digits) if mean else ("", "", 0)
    return {"mean": text or "–", "half": half, "missing": missing}


def _comparison(entry: Mapping) -> dict:
    mean, interval, p = report.comparison_parts(entry)
    return {
        "label": METRICS[entry["metric"]].label,
        "system": _readable(entry["system"]),
        "other": _readable(entry["other"]),
        "files": entry["files"],
        "mean": mean,
        "interval": interval.replace(" - ", " – "),
        "p": p,
    }


def _curves(systems: Mapping, name: str) -> dict[str, list[dict]]:
    found = {}
    for system, m in systems.items():
        points = [
            {"label": label} | group["metrics"][name]
            for label, group in m.get("by_snr", {}).items()
            if name in group["metrics"]
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
    """Return the word errors in per cent: columns and a row per system."""
    labels = list(dict.fromkeys(k for e in found.values() for k in e.get("by_snr", {})))
    rows = [
        {
            "label": _readable(system),
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


def _provenance(content: Mapping) -> dict[str, str]:
    checkpoints = {k: v for k, v in (content.get("checkpoints") or {}).items() if v}
    manifest = content.get("manifest")
    lines = {
        "command": content["command"],
        "checkpoint": ", ".join(f"{_readable(k)} {v}" for k, v in checkpoints.items()),
        "manifest": f"{manifest['name']} {manifest['digest']}" if manifest else "",
        "source revision": content.get("git") or "",
        "versions": ", ".join(f"{k} {v}" for k, v in (content.get("versions") or {}).items()),
    }
    return {key: value for key, value in lines.items() if value}


def _readable(system: str) -> str:
    return system.replace("_", " ")
