"""Probes: changes that an enhancer makes to clean speech of any pitch, level and condition.

Conventions:
    An enhancer is a function (samples [samples, channels] float32, rate in Hz) -> the same shape.
    A probe makes an input from clean speech, and the reference that a perfect enhancer would
    return: the speech alone, without the offset, hum or bump that was added; but with its band,
    clipping, codec or room, which are no noise.

Figures of an output against its reference:
    si_sdr: in dB; None for silence.
    gain: of the reference in the output, in dB, whatever else is in the output.
    dropped: share of the frames of speech (within 20 dB of the loudest) that are more than 6 dB
        too soft.
    level: RMS of the output in dBFS.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio import levels
from specmask.audio.io import AudioError, fit, read, resample, write_pcm16
from specmask.config.schema import Config
from specmask.data.mixtures import effects
from specmask.errors import UserError
from specmask.evaluation import pairing
from specmask.evaluation.gate import (
    LOWEST_DB,
    NOT_FINITE,
    Enhance,
    chord,
    evenly_spaced,
    mean,
    not_finite,
    read_sound,
)
from specmask.evaluation.metrics.checks import MetricError, is_silent
from specmask.evaluation.metrics.distortion import si_sdr
from specmask.evaluation.scoring import LENGTH_SECONDS
from specmask.files import parse_json, replacing

FRAME_SECONDS = 0.032
RANGE_DB = 20  # below the loudest frame, within which a frame counts as speech
DROP_DB = 6  # that a frame may lose
SILENT_SI_SDR = -100.0  # where the output is silent
OFFSET = 0.05  # of full scale
HUM_HZ, HUM_DB = 50, -20  # against the speech
BUMP_SECONDS, BUMP_T60_SECONDS, BUMP_DB = 0.8, 0.4, 30  # a slam 30 dB above the speech after it
PAUSE_SECONDS = 10
ROOM_T60_SECONDS, ROOM_DIRECT_DB = 0.5, 3  # direct sound against the reverberation
CLIPPED_SHARE = 0.02  # of the samples

INPUTS, REFERENCES = "input", "reference"  # folders of a set of probes
INDEX = "probes.json"
_SET_FILE = re.compile(r"\d{4,}")  # name of an input and its reference

Sounds = tuple[np.ndarray, np.ndarray]  # input and reference, as long, or the input's end


def _unchanged(x: np.ndarray) -> Sounds:
    return x, x


def _at_peak(x: np.ndarray, peak_db: float) -> np.ndarray:
    return x * 10 ** (peak_db / 20) / np.abs(x).max()


def _hum(x: np.ndarray, rate: int) -> Sounds:
    tone = np.sin(2 * np.pi * HUM_HZ * np.arange(len(x)) / rate)
    return x + tone * math.sqrt(2) * _rms(x) * 10 ** (HUM_DB / 20), x


def _bump(x: np.ndarray, rate: int) -> Sounds:
    samples = round(BUMP_SECONDS * rate)
    decay = 10 ** (-3 * np.arange(samples) / (BUMP_T60_SECONDS * rate))
    bump = effects.coloured(samples, rate, -2, 0) * decay
    loud = _rms(x) * 10 ** (BUMP_DB / 20) / _rms(bump[: samples // 4])
    both = np.concatenate([bump * loud, x])
    scale = min(1.0, 0.99 / np.abs(both).max())
    return both * scale, x * scale


def _pause(x: np.ndarray, rate: int) -> Sounds:
    faint = 1e-4 * np.random.default_rng(0).standard_normal(PAUSE_SECONDS * rate)
    both = np.concatenate([x, faint, x])
    return both, x


def _room(x: np.ndarray, rate: int) -> Sounds:
    samples = round(ROOM_T60_SECONDS * rate)
    decay = 10 ** (-3 * np.arange(samples) / samples)
    response = np.random.default_rng(0).standard_normal(samples) * decay
    response *= 10 ** (-ROOM_DIRECT_DB / 20) / np.linalg.norm(response)
    response[0] = 1
    return _unchanged(effects.convolve(x, response)[: len(x)])


def _two_voices(x: np.ndarray, other: np.ndarray) -> Sounds:
    both = x + np.resize(other, len(x)) * _rms(x) / _rms(other)
    return _unchanged(both / max(1.0, np.abs(both).max() / 0.99))


# Name -> (clean speech, speech of another file, rate in Hz) -> input and reference.
PROBES: dict[str, Callable[[np.ndarray, np.ndarray, int], Sounds]] = {
    "as it is": lambda x, other, rate: _unchanged(x),
    "pitch x 0.7": lambda x, other, rate: _unchanged(effects.speed(x, rate, 0.7)),
    "pitch x 0.8": lambda x, other, rate: _unchanged(effects.speed(x, rate, 0.8)),
    "pitch x 1.25": lambda x, other, rate: _unchanged(effects.speed(x, rate, 1.25)),
    "pitch x 1.5": lambda x, other, rate: _unchanged(effects.speed(x, rate, 1.5)),
    "20 dB softer": lambda x, other, rate: _unchanged(x / 10),
    "up to 4000 Hz": lambda x, other, rate: _unchanged(effects.band_limit(x, rate, 0, 4000)),
    "offset 0.05": lambda x, other, rate: (x + OFFSET, x),
    "hum of 50 Hz": lambda x, other, rate: _hum(x, rate),
    "after a bump": lambda x, other, rate: _bump(x, rate),
    "peak -50 dBFS": lambda x, other, rate: _unchanged(_at_peak(x, -50)),
    "peak -30 dBFS": lambda x, other, rate: _unchanged(_at_peak(x, -30)),
    "peak -6 dBFS": lambda x, other, rate: _unchanged(_at_peak(x, -6)),
    "300 to 3400 Hz": lambda x, other, rate: _unchanged(effects.band_limit(x, rate, 300, 3400)),
    "clipped": lambda x, other, rate: _unchanged(effects.clip(x, CLIPPED_SHARE)),
    "mp3": lambda x, other, rate: _unchanged(effects.codec(x, rate, "mp3", 0.1)),
    "after a pause": lambda x, other, rate: _pause(x, rate),
    "two voices": lambda x, other, rate: _two_voices(x, other),
    "reverberation": lambda x, other, rate: _room(x, rate),
    "music": lambda x, other, rate: _unchanged(chord(rate)[:, 0].astype(np.float64)),
    "silence": lambda x, other, rate: _unchanged(np.zeros(3 * rate)),
}
GATE = tuple(PROBES)[:10]  # those of the gate
WITHOUT_SPEECH = ("music", "silence")  # the same for every file


@dataclass(frozen=True)
class Probe:
    """An input of an enhancer and its reference, float32 [samples] at a rate in Hz.

    Attributes:
        name: of :data:`PROBES`.
        file: of the speech.
        input, reference: the reference is as long as the input, or as its end.
        reason: why the file cannot be used; empty if it can.
    """

    name: str
    file: str
    input: np.ndarray
    reference: np.ndarray
    rate: int
    reason: str = ""


def make(
    speech: Sequence[Path], rate: int, count: int = 20, names: Sequence[str] = tuple(PROBES)
) -> Iterator[Probe]:
    """Yield the probes of clean speech.

    Args:
        speech: files; the first channel of the first 10 s of each is used.
        rate: that they are resampled to, in Hz.
        count: number of files, evenly spaced over all of them.
        names: of the probes.
    """
    chosen = evenly_spaced(speech, count)
    sounds = [read_sound("", path, channels=1) for path in chosen]
    usable = [s for s in sounds if not s.reason]
    mono = [np.asarray(resample(s.samples[:, 0], s.rate, rate), np.float64) for s in usable]
    for sound in sounds:
        if sound.reason:
            empty = np.zeros(0, np.float32)
            yield from (Probe(n, sound.name, empty, empty, rate, sound.reason) for n in names)
    for number, (sound, x) in enumerate(zip(usable, mono, strict=True)):
        other = mono[(number + 1) % len(mono)]
        for name in names:
            if number and name in WITHOUT_SPEECH:
                continue
            sent, reference = PROBES[name](x, other, rate)
            yield Probe(
                name, sound.name, sent.astype(np.float32), reference.astype(np.float32), rate
            )


def measure(enhance: Enhance, probes: Iterator[Probe]) -> list[dict]:
    """Pass probes through an enhancer.

    Returns:
        rows: probe, file, si_sdr, gain, dropped, level, and reason where a file was left out.
    """
    rows = []
    for probe in probes:
        row: dict[str, Any] = {"probe": probe.name, "file": probe.file, "reason": probe.reason}
        if not probe.reason:
            output = enhance(probe.input[:, None], probe.rate)[:, 0]
            try:
                row |= compare(probe.reference, output, probe.rate)
            except MetricError as error:
                row["reason"] = str(error)
        rows.append(row)
    return rows


def compare(reference: np.ndarray, output: np.ndarray, rate: int) -> dict[str, float | None]:
    """Return si_sdr, gain, dropped and level of an output against its reference, both [samples].

    Only the end of the output that is as long as the reference counts.

    Raises:
        MetricError: if the output holds NaN or infinite samples.

    >>> speech = np.sin(np.arange(16000))
    >>> {k: round(v, 2) for k, v in compare(speech, speech / 2, 16000).items()}
    {'si_sdr': 100.0, 'gain': -6.02, 'dropped': 1.0, 'level': -9.03}
    """
    if not np.isfinite(output).all():
        raise MetricError(NOT_FINITE)
    output = output[-len(reference) :]
    level = max(LOWEST_DB, levels.level_db(output))
    if is_silent(reference):
        return {"si_sdr": None, "gain": None, "dropped": None, "level": level}
    s, e = (x.astype(np.float64) - np.mean(x, dtype=np.float64) for x in (reference, output))
    gain = float(np.sum(e * s) / np.sum(s * s))
    before, after = (_frames_db(x, rate) for x in (s, e))
    speech = before > before.max() - RANGE_DB
    return {
        "si_sdr": SILENT_SI_SDR if is_silent(e) else si_sdr(s, e),
        "gain": 20 * math.log10(max(gain, 1e-5)),
        "dropped": float(np.mean((after < before - DROP_DB)[speech])),
        "level": level,
    }


def _frames_db(x: np.ndarray, rate: int) -> np.ndarray:
    length = min(len(x), max(2, round(FRAME_SECONDS * rate)))
    frames = np.lib.stride_tricks.sliding_window_view(x, length)[:: max(1, length // 2)]
    return 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-20)


def _rms(x: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(x))))


# ---------------------------------------------------------------- a set in a folder


def write_set(folder: Path, probes: Iterator[Probe]) -> int:
    """Write inputs and references as WAV files for an enhancer of another program.

    Those of an earlier set in the folder are replaced, and removed where the new one has fewer.

    Returns:
        number of probes.

    Raises:
        UserError: if the folder holds WAV files, and no set.
    """
    entries: dict[str, dict[str, str]] = {}
    if not (folder / INDEX).is_file():
        foreign = [p for kind in (INPUTS, REFERENCES) for p in (folder / kind).glob("*.wav")]
        if foreign:
            raise UserError(
                f"{min(foreign)}: of no set of probes ({folder / INDEX} is missing), and a set "
                "could replace it; name another folder with --probe-set"
            )
    _write_index(folder, entries)  # a set whose writing is killed can be written again
    for probe in probes:
        if probe.reason:
            continue
        name = f"{len(entries):04d}"
        entries[name] = {"probe": probe.name, "file": probe.file}
        for kind, x in ((INPUTS, probe.input), (REFERENCES, probe.reference)):
            pcm = levels.to_int16(np.clip(x, -1, 1 - 1 / levels.FULL_SCALE))
            write_pcm16(folder / kind / f"{name}.wav", pcm, probe.rate)
    for path in (p for kind in (INPUTS, REFERENCES) for p in (folder / kind).glob("*.wav")):
        if _SET_FILE.fullmatch(path.stem) and path.stem not in entries:
            path.unlink()
    _write_index(folder, entries)
    return len(entries)


def _write_index(folder: Path, entries: Mapping[str, Mapping[str, str]]) -> None:
    with replacing(folder / INDEX) as path:
        path.write_text(json.dumps(entries, indent=1), encoding="utf-8")


def measure_folder(folder: Path, enhanced: Path) -> list[dict]:
    """Return the rows of the files that another program made from the inputs of a set.

    Raises:
        UserError: if the folder holds no set, or files have no counterpart.
    """
    try:
        entries = parse_json((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / INDEX}: not readable ({error}); write a set with --probe-set"
        ) from None
    rows = []
    for pair in pairing.pair(folder / REFERENCES, enhanced):
        if pair.clean_name not in entries:
            raise UserError(
                f"{pair.clean}: not in {folder / INDEX}; remove it, or write the set again with "
                "--probe-set"
            )
        entry = entries[pair.clean_name]
        row = {"probe": entry["probe"], "file": entry["file"], "reason": ""}
        try:
            rows.append(row | _compare_files(pair))
        except (AudioError, MetricError) as error:
            rows.append(row | {"reason": str(error)})
    order = list(PROBES)
    return sorted(rows, key=lambda row: order.index(row["probe"]))


def _compare_files(pair: pairing.FilePair) -> dict[str, Any]:
    """Compare an output with its reference; up to 0.05 s may be missing at its end."""
    (reference, rate), (output, output_rate) = read(pair.clean), read(pair.enhanced)
    sent, _ = read(pair.clean.parents[1] / INPUTS / pair.clean.name)
    missing = len(sent) - len(output)
    if output_rate != rate or missing > LENGTH_SECONDS * rate:
        raise AudioError(
            f"{len(output)} samples at {output_rate} Hz, expected {len(sent)} at {rate} Hz"
        )
    return compare(reference[:, 0], fit(output[:, 0], len(sent)), rate)


# ---------------------------------------------------------------- results


def means(rows: Sequence[Mapping]) -> dict[str, dict]:
    """Return the means by probe: files, left_out, si_sdr, gain, gain_error, dropped, level.

    ``gain_error`` is the mean of the magnitude of the gain in dB.
    """
    found: dict[str, dict] = {}
    for name in dict.fromkeys(row["probe"] for row in rows):
        own = [row for row in rows if row["probe"] == name]
        used = [row for row in own if not row["reason"]]
        found[name] = {"files": len(used), "left_out": len(own) - len(used)}
        for key in ("si_sdr", "gain", "dropped", "level"):
            found[name][key] = mean([row[key] for row in used])
        found[name]["gain_error"] = mean([row["gain"] and abs(row["gain"]) for row in used])
    return found


def table(rows: Sequence[Mapping]) -> str:
    """Return the means as text, and the files that were left out."""
    lines = [f"{'probe':18s}{'n':>4s}{'SI-SDR dB':>11s}{'gain dB':>10s}{'dropped %':>11s}"
             f"{'out dBFS':>10s}"]  # fmt: skip
    for name, m in means(rows).items():
        values = (m["si_sdr"], m["gain"], m["dropped"] and 100 * m["dropped"], m["level"])
        cells = [
            f"{'-' if v is None else f'{v:.2f}':>{w}s}"
            for v, w in zip(values, (11, 10, 11, 10), strict=True)
        ]
        lines.append(f"{name:18s}{m['files']:4d}{''.join(cells)}")
    left_out = {row["file"]: row["reason"] for row in rows if row["reason"]}
    return "\n".join(lines + [f"left out: {name}: {why}" for name, why in left_out.items()])


def violations(rows: Sequence[Mapping], config: Config) -> list[str]:
    """Return a line per bound of [evaluate] that a probe violates."""
    bounds, lines = config.evaluate, []
    for name, m in means(rows).items():
        what = f"clean speech, {name}"
        lines += not_finite([row for row in rows if row["probe"] == name], what)
        if not m["files"]:
            lines.append(f"{what}: no usable file")
            continue
        checks = (
            ("SI-SDR", m["si_sdr"], bounds.gate_voice_si_sdr, 1, "dB"),
            ("level error", m["gain_error"], bounds.gate_voice_level, -1, "dB"),
            ("dropped frames", 100 * m["dropped"], bounds.gate_voice_dropped, -1, "%"),
        )
        for figure, value, bound, sign, unit in checks:
            if sign * value < sign * bound:
                word = "at least" if sign > 0 else "at most"
                lines.append(f"{figure} of {what}: {value:.2f} {unit}, expected {word} {bound:g}")
    return lines
