"""Do no harm: what an enhancer does to sound that has nothing in it to remove.

Conventions:
    An enhancer is a function (samples [samples, channels] float32, rate in Hz) -> the same shape.
    Every sound is compared with itself: SI-SDR of the output to the input, and the change of the
    RMS level, both in dB. Silence has no SI-SDR; the level that comes out is what counts.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from specmask import audio, metrics, mixing
from specmask.config import Config

SPEECH, SILENCE, MUSIC = "clean speech", "silence", "music"
SECONDS = 10  # of a file that are listened to
LOWEST_DB = -200.0  # level of digital silence: JSON has no infinity
FAINT_DBFS = -90  # noise of a good microphone in a silent room: "silence" to a listener
CHORD_HZ = (220.0, 277.18, 329.63, 440.0)


def check(
    enhance: Callable[[np.ndarray, int], np.ndarray],
    speech: Sequence[Path],
    music: Sequence[Path],
    rate: int,
) -> list[dict]:
    """Pass clean speech, silence and music through an enhancer.

    Args:
        enhance: see above.
        speech, music: files; without music, a decaying chord is made.
        rate: of what is made here, in Hz.

    Returns:
        rows: kind, file, si_sdr (None for silence), level_change (dB; None for digital silence),
        level (dBFS of the output).
    """
    rows = []
    for kind, file, samples, own_rate in _sounds(speech, music, rate):
        out = enhance(samples, own_rate)
        row = {"kind": kind, "file": file, "si_sdr": None, "level_change": None}
        row["level"] = max(LOWEST_DB, mixing.level_db(out))
        if kind != SILENCE:
            figures = [
                metrics.score(a, None, b, own_rate, ["si_sdr"])[0]["si_sdr"]
                for a, b in zip(samples.T, out.T, strict=True)
            ]
            value = float(np.mean(figures))
            row["si_sdr"] = None if math.isnan(value) else value
            row["level_change"] = row["level"] - mixing.level_db(samples)
        rows.append(row)
    return rows


def _sounds(
    speech: Sequence[Path], music: Sequence[Path], rate: int
) -> Iterable[tuple[str, str, np.ndarray, int]]:
    for kind, paths in ((SPEECH, speech), (MUSIC, music)):
        for path in paths:
            try:
                with audio.opened(path) as file:
                    frames = SECONDS * file.samplerate
                samples, own_rate = audio.read(path, frames=frames)
            except audio.AudioError:
                continue  # a damaged file is no fault of the enhancer
            if np.isfinite(samples).all() and mixing.level_db(samples) > FAINT_DBFS:
                yield kind, path.name, samples, own_rate
    if not music:
        yield MUSIC, "chord", chord(rate), rate
    rng = np.random.default_rng(0)
    faint = 10 ** (FAINT_DBFS / 20) * rng.standard_normal((3 * rate, 1))
    yield SILENCE, "digital silence", np.zeros((3 * rate, 1), np.float32), rate
    yield SILENCE, f"white noise at {FAINT_DBFS} dBFS", faint.astype(np.float32), rate


def chord(rate: int) -> np.ndarray:
    """Four plucked tones with their harmonics, repeated for 6 s, float32 [samples, 1]."""
    t = np.arange(6 * rate) / rate
    fade = np.exp(-2 * (t % 1.5))
    waves = [np.sin(2 * np.pi * f * k * t) / k**2 for f in CHORD_HZ for k in range(1, 6)]
    x = fade * np.sum(waves, axis=0)
    return (0.3 * x / np.abs(x).max()).astype(np.float32)[:, None]


def means(rows: Sequence[Mapping]) -> dict[str, dict]:
    """Return by kind the number of files, mean SI-SDR and level change, and the highest level."""
    found = {}
    for kind in (SPEECH, MUSIC, SILENCE):
        own = [row for row in rows if row["kind"] == kind]
        if own:
            found[kind] = {
                "files": len(own),
                "si_sdr": _mean(own, "si_sdr"),
                "level_change": _mean(own, "level_change"),
                "highest_level": max(row["level"] for row in own),
            }
    return found


def _mean(rows: Sequence[Mapping], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return math.fsum(values) / len(values) if values else None


def table(rows: Sequence[Mapping]) -> str:
    """Return the means as text."""
    lines = [f"{'do no harm':14s}{'n':>4s}{'SI-SDR dB':>11s}{'level dB':>10s}{'highest dBFS':>14s}"]
    for kind, m in means(rows).items():
        cells = [f"{m[k]:.2f}" if m[k] is not None else "-" for k in ("si_sdr", "level_change")]
        lines.append(
            f"{kind:14s}{m['files']:4d}{cells[0]:>11s}{cells[1]:>10s}{m['highest_level']:14.1f}"
        )
    return "\n".join(lines)


def broken(rows: Sequence[Mapping], improvement: float | None, config: Config) -> list[str]:
    """Return in words which bounds of [evaluate] are broken; nothing if all hold.

    Args:
        rows: of :func:`check`.
        improvement: mean SI-SDR improvement of the test set in dB, None if it was not measured.
        config: with the bounds.
    """
    bounds, found = config.evaluate, means(rows)
    speech, music = (found.get(kind, {}) for kind in (SPEECH, MUSIC))
    change = speech.get("level_change")
    at_least = [
        ("SI-SDR improvement", improvement, bounds.gate_si_sdr_improvement, "dB"),
        ("SI-SDR of clean speech", speech.get("si_sdr"), bounds.gate_speech_si_sdr, "dB"),
    ]
    at_most = [
        ("level change of clean speech", change and abs(change), bounds.gate_speech_level, "dB"),
        ("level of silence", found[SILENCE]["highest_level"], bounds.gate_silence_level, "dBFS"),
        ("gain of music", music.get("level_change"), bounds.gate_music_gain, "dB"),
    ]
    lines = []
    for checks, sign, word in ((at_least, 1, "at least"), (at_most, -1, "at most")):
        for what, value, bound, unit in checks:
            if value is not None and sign * value < sign * bound:
                lines.append(f"{what}: {value:.2f} {unit}, expected {word} {bound:g}")
    if speech and speech["si_sdr"] is None:
        lines.append("SI-SDR of clean speech: nothing comes out")
    return lines
