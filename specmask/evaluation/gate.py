"""The gate: changes that an enhancer makes to sound without noise, and their bounds.

Conventions:
    An enhancer is a function (samples [samples, channels] float32, rate in Hz) -> the same shape.
    Every sound is compared with itself: SI-SDR of the output to the input, and the change of the
    RMS level, both in dB. Silence has no SI-SDR; its bound is on the level of the output. Words
    are recognised before and after.
    A file that cannot be read, or is silent, is left out, counted, and named; so is one whose
    output holds NaN or infinite samples, which is a violation too.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio import levels
from specmask.audio.io import AudioError, AudioFile
from specmask.config.schema import Config
from specmask.evaluation import word_errors
from specmask.evaluation.metrics.checks import MetricError, is_silent
from specmask.evaluation.metrics.distortion import si_sdr

SPEECH, SILENCE, MUSIC = "clean speech", "silence", "music"
SECONDS = 10  # of a file or piece that are used
LOWEST_DB = -200.0  # level of digital silence: JSON has no infinity
NOT_FINITE = "the output holds NaN or infinite samples"
FAINT_DBFS = -90  # noise of a good microphone in a silent room counts as silence
CHORD_HZ = (220.0, 277.18, 329.63, 440.0)

Enhance = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Sound:
    """A sound to be enhanced.

    Attributes:
        kind: SPEECH, MUSIC or SILENCE.
        name: of the file, and the second that a piece starts at.
        samples: float32 [samples, channels].
        rate: in Hz.
        reason: why it cannot be used; empty if it can.
    """

    kind: str
    name: str
    samples: np.ndarray
    rate: int
    reason: str = ""


def measure(
    enhance: Enhance, speech: Sequence[Path], music: Sequence[Path], rate: int, count: int = 20
) -> list[dict]:
    """Pass clean speech, silence and music through an enhancer.

    Args:
        enhance: see above.
        speech, music: files; without music, a decaying chord is synthesised.
        rate: of synthesised sounds, in Hz.
        count: number of speech files and of pieces of music, evenly spaced over all of them.

    Returns:
        rows: kind, file, si_sdr (None for silence, and where the output is silent), level_change
        (dB; None for silence), level (dBFS of the output), reason (why a file was left out).
    """
    pieces = [piece for path in music for piece in _pieces(path)]
    chosen = [(SPEECH, path, 0) for path in evenly_spaced(speech, count)]
    chosen += [(MUSIC, path, start) for path, start in evenly_spaced(pieces, count)]
    sounds = (read_sound(*piece) for piece in chosen)
    synthesised = _synthesised(rate, with_chord=not music)
    return [_row(enhance, sound) for group in (sounds, synthesised) for sound in group]


def evenly_spaced(items: Sequence, count: int) -> list:
    """Return so many items from the first to the last, evenly spaced; all if there are fewer.

    >>> evenly_spaced("abcde", 3)
    ['a', 'c', 'e']
    """
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _pieces(path: Path) -> list[tuple[Path, int]]:
    """Return the starts of the whole pieces of a file in seconds; a short file is one piece."""
    try:
        with AudioFile(path) as file:
            whole = file.frames // (SECONDS * file.samplerate)
    except AudioError:
        whole = 0  # read_sound gives the reason
    return [(path, SECONDS * i) for i in range(max(1, whole))]


def read_sound(kind: str, path: Path, start: int = 0, channels: int | None = None) -> Sound:
    """Read a piece of a file, or give the reason why it cannot be used.

    Args:
        kind: see :class:`Sound`.
        path: of the file.
        start: of the piece, in seconds.
        channels: number of channels that are used, from the first; None: all.
    """
    name = f"{path.name} from {start} s" if start else path.name
    try:
        with AudioFile(path) as file:
            rate = file.samplerate
            samples = file.read(SECONDS * rate, start * rate)
    except AudioError as error:
        return Sound(kind, name, np.zeros((0, 1), np.float32), 0, str(error))
    samples, reason = samples[:, :channels], ""
    if not np.isfinite(samples).all():
        reason = "holds NaN or infinite samples"
    elif levels.level_db(samples) <= FAINT_DBFS or all(map(is_silent, samples.T)):
        reason = "silent"
    return Sound(kind, name, samples, rate, reason)


def _synthesised(rate: int, with_chord: bool) -> Iterator[Sound]:
    if with_chord:
        yield Sound(MUSIC, "chord", chord(rate), rate)
    rng = np.random.default_rng(0)
    faint = 10 ** (FAINT_DBFS / 20) * rng.standard_normal((3 * rate, 1))
    yield Sound(SILENCE, "digital silence", np.zeros((3 * rate, 1), np.float32), rate)
    yield Sound(SILENCE, f"white noise at {FAINT_DBFS} dBFS", faint.astype(np.float32), rate)


def chord(rate: int) -> np.ndarray:
    """Four plucked tones with their harmonics, repeated for 6 s, float32 [samples, 1]."""
    t = np.arange(6 * rate) / rate
    fade = np.exp(-2 * (t % 1.5))
    waves = [np.sin(2 * np.pi * f * k * t) / k**2 for f in CHORD_HZ for k in range(1, 6)]
    x = fade * np.sum(waves, axis=0)
    return (0.3 * x / np.abs(x).max()).astype(np.float32)[:, None]


def _row(enhance: Enhance, sound: Sound) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": sound.kind, "file": sound.name, "si_sdr": None}
    row |= {"level_change": None, "level": None, "reason": sound.reason}
    if sound.reason:
        return row
    out = enhance(sound.samples, sound.rate)
    if not np.isfinite(out).all():
        return row | {"reason": NOT_FINITE}
    row["level"] = max(LOWEST_DB, levels.level_db(out))
    if sound.kind != SILENCE:
        row["level_change"] = row["level"] - levels.level_db(sound.samples)
        channels = zip(sound.samples.T, out.T, strict=True)
        try:
            row["si_sdr"] = float(np.mean([si_sdr(a, b) for a, b in channels if not is_silent(a)]))
        except MetricError:
            row["si_sdr"] = None
    return row


def words(
    enhance: Enhance,
    speech: Sequence[tuple[Path, str]],
    recogniser: word_errors.Recogniser,
    count: int = 20,
) -> dict[str, word_errors.Errors] | None:
    """Count word errors on clean speech before and after an enhancer.

    Args:
        enhance: see above.
        speech: files with their transcripts; whole files are used.
        recogniser: see :mod:`specmask.evaluation.word_errors`.
        count: number of files, evenly spaced over all of them.

    Returns:
        before and after; None without any files.
    """
    chosen = evenly_spaced(speech, count)
    if not chosen:
        return None
    said = [text for _, text in chosen]
    before = [word_errors.recognise_file(path, recogniser) for path, _ in chosen]
    after = [word_errors.recognise_file(path, recogniser, enhance) for path, _ in chosen]
    return {"before": word_errors.errors(said, before), "after": word_errors.errors(said, after)}


def means(rows: Sequence[Mapping]) -> dict[str, dict]:
    """Return aggregated rows by kind.

    Returns:
        files, left_out (their numbers), si_sdr and level_change (means), level_error (mean of
        the change's magnitude), highest_gain (of a file, dB), highest_level (of an output, dBFS)
        and unheard (number of files whose output is silent).
    """
    found = {}
    for kind in (SPEECH, MUSIC, SILENCE):
        own = [row for row in rows if row["kind"] == kind]
        used = [row for row in own if not row["reason"]]
        changes = [row["level_change"] for row in used if row["level_change"] is not None]
        if own:
            found[kind] = {
                "files": len(used),
                "left_out": len(own) - len(used),
                "si_sdr": mean([row["si_sdr"] for row in used]),
                "level_change": mean(changes),
                "level_error": mean([abs(change) for change in changes]),
                "highest_gain": max(changes, default=None),
                "highest_level": max((row["level"] for row in used), default=None),
                "unheard": sum(row["si_sdr"] is None for row in used) if kind != SILENCE else 0,
            }
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def table(rows: Sequence[Mapping], words: Mapping[str, word_errors.Errors] | None = None) -> str:
    """Return the means as text, the files left out, and the word errors before and after."""
    lines = [
        f"{'without noise':14s}{'n':>4s}{'SI-SDR dB':>11s}{'level dB':>10s}{'highest gain':>14s}"
        f"{'highest dBFS':>14s}"
    ]
    for kind, m in means(rows).items():
        widths = {"si_sdr": 11, "level_change": 10, "highest_gain": 14, "highest_level": 14}
        cells = [f"{'-' if m[k] is None else f'{m[k]:.2f}':>{w}s}" for k, w in widths.items()]
        lines.append(f"{kind:14s}{m['files']:4d}{''.join(cells)}")
    for row in (r for r in rows if r["reason"]):
        lines.append(f"left out: {row['file']}: {row['reason']}")
    if words:
        before, after = words["before"], words["after"]
        lines.append(
            f"word errors on clean speech: {100 * before.wer:.1f} % before, "
            f"{100 * after.wer:.1f} % after ({before.words} words in {before.files} files)"
        )
    return "\n".join(lines)


def not_finite(rows: Sequence[Mapping], what: str) -> list[str]:
    """Return a line if outputs of the rows of a kind of sound hold NaN or infinite samples."""
    count = sum(row["reason"] == NOT_FINITE for row in rows)
    return [f"{what}: {NOT_FINITE} for {count} of {len(rows)} files"] if count else []


def violations(
    rows: Sequence[Mapping],
    improvement: float | None,
    config: Config,
    words: Mapping[str, word_errors.Errors] | None = None,
) -> list[str]:
    """Return a line per bound of [evaluate] that is violated.

    A kind of sound of which nothing could be measured is a violation.

    Args:
        rows: of :func:`measure`.
        improvement: mean SI-SDR improvement of the test set in dB, None if it was not measured.
        config: with the bounds.
        words: of :func:`words`, None if no words were recognised.
    """
    bounds, found = config.evaluate, means(rows)
    speech, music, silence = (found.get(kind, {}) for kind in (SPEECH, MUSIC, SILENCE))
    rise = 100 * (words["after"].wer - words["before"].wer) if words else None
    at_least = [
        ("SI-SDR improvement", improvement, bounds.gate_si_sdr_improvement, "dB"),
        ("SI-SDR of clean speech", speech.get("si_sdr"), bounds.gate_speech_si_sdr, "dB"),
    ]
    at_most = [
        ("level change of clean speech", speech.get("level_error"), bounds.gate_speech_level, "dB"),
        ("level of silence", silence.get("highest_level"), bounds.gate_silence_level, "dBFS"),
        ("gain of music", music.get("highest_gain"), bounds.gate_music_gain, "dB"),
        ("rise of word errors on clean speech", rise, bounds.gate_speech_wer, "points"),
    ]
    lines = []
    for kind in (SPEECH, MUSIC, SILENCE):
        lines += not_finite([row for row in rows if row["kind"] == kind], kind)
    for checks, sign, word in ((at_least, 1, "at least"), (at_most, -1, "at most")):
        for what, value, bound, unit in checks:
            if value is not None and sign * value < sign * bound:
                lines.append(f"{what}: {value:.2f} {unit}, expected {word} {bound:g}")
    if speech.get("unheard"):
        lines.append(f"clean speech: the output is silent for {speech['unheard']} files")
    lines += [f"{kind}: no usable file" for kind in (SPEECH, MUSIC)
              if not found.get(kind, {}).get("files")]  # fmt: skip
    return lines
