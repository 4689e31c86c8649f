"""Do no harm: what an enhancer does to sound that has nothing in it to remove.

Conventions:
    An enhancer is a function (samples [samples, channels] float32, rate in Hz) -> the same shape.
    Every sound is compared with itself: SI-SDR of the output to the input, and the change of the
    RMS level, both in dB. Silence has no SI-SDR; the level that comes out is what counts. Words
    are recognised before and after.
    A file that cannot be read, or is silent, is left out, counted, and named.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.config.schema import Config
from specmask.evaluation import word_errors
from specmask.evaluation.metrics.checks import is_silent
from specmask.evaluation.metrics.table import score

SPEECH, SILENCE, MUSIC = "clean speech", "silence", "music"
SECONDS = 10  # of a file or piece that are listened to
LOWEST_DB = -200.0  # level of digital silence: JSON has no infinity
FAINT_DBFS = -90  # noise of a good microphone in a silent room: "silence" to a listener
CHORD_HZ = (220.0, 277.18, 329.63, 440.0)

Enhance = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Sound:
    """Something to be enhanced.

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


def check(
    enhance: Enhance, speech: Sequence[Path], music: Sequence[Path], rate: int, count: int = 20
) -> list[dict]:
    """Pass clean speech, silence and music through an enhancer.

    Args:
        enhance: see above.
        speech, music: files; without music, a decaying chord is made.
        rate: of what is made here, in Hz.
        count: of speech files and of pieces of music that are taken, spread over all of them.

    Returns:
        rows: kind, file, si_sdr (None for silence, and where nothing comes out), level_change
        (dB; None for silence), level (dBFS of the output), reason (why a file was left out).
    """
    pieces = [piece for path in music for piece in _pieces(path)]
    chosen = [(SPEECH, path, 0) for path in spread(speech, count)]
    chosen += [(MUSIC, path, start) for path, start in spread(pieces, count)]
    sounds = (_read(*piece) for piece in chosen)
    made = _made(rate, chord_too=not music)
    return [_row(enhance, sound) for group in (sounds, made) for sound in group]


def spread(items: Sequence, count: int) -> list:
    """Return so many items, from the first to the last at equal distances; all if they are few."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _pieces(path: Path) -> list[tuple[Path, int]]:
    """Return where the whole pieces of a file start, in seconds; a short file is one."""
    try:
        with audio_io.opened(path) as file:
            whole = file.frames // (SECONDS * file.samplerate)
    except audio_io.AudioError:
        whole = 0  # _read tells the reason
    return [(path, SECONDS * i) for i in range(max(1, whole))]


def _read(kind: str, path: Path, start: int) -> Sound:
    name = f"{path.name} from {start} s" if start else path.name
    try:
        with audio_io.opened(path) as file:
            rate = file.samplerate
        samples, _ = audio_io.read(path, start * rate, SECONDS * rate)
    except audio_io.AudioError as error:
        return Sound(kind, name, np.zeros((0, 1), np.float32), 0, str(error))
    reason = ""
    if not np.isfinite(samples).all():
        reason = "holds NaN or infinite samples"
    elif levels.level_db(samples) <= FAINT_DBFS:
        reason = "silent"
    return Sound(kind, name, samples, rate, reason)


def _made(rate: int, chord_too: bool) -> Iterator[Sound]:
    if chord_too:
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


def _row(enhance: Enhance, sound: Sound) -> dict:
    row = {"kind": sound.kind, "file": sound.name, "si_sdr": None, "level_change": None}
    row |= {"level": None, "reason": sound.reason}
    if sound.reason:
        return row
    out = enhance(sound.samples, sound.rate)
    row["level"] = max(LOWEST_DB, levels.level_db(out))
    if sound.kind != SILENCE:
        row["level_change"] = row["level"] - levels.level_db(sound.samples)
        figures = [
            score(a, None, b, sound.rate, ["si_sdr"])[0]["si_sdr"]
            for a, b in zip(sound.samples.T, out.T, strict=True)
            if not is_silent(a)
        ]
        row["si_sdr"] = None if any(map(math.isnan, figures)) else float(np.mean(figures))
    return row


def words(
    enhance: Enhance,
    speech: Sequence[tuple[Path, str]],
    recogniser: word_errors.Recogniser,
    count: int = 20,
) -> dict[str, word_errors.Errors] | None:
    """Count word errors on clean speech as it is, and after it has passed through an enhancer.

    Args:
        enhance: see above.
        speech: files with the words that are said in them; whole files are used.
        recogniser: see :mod:`specmask.evaluation.word_errors`.
        count: of files that are taken, spread over all of them.

    Returns:
        before and after; None without any files.
    """
    chosen = spread(speech, count)
    before = [word_errors.hear(path, recogniser) for path, _ in chosen]
    after = [word_errors.hear(path, recogniser, enhance) for path, _ in chosen]
    said = [text for _, text in chosen]
    if not chosen:
        return None
    return {"before": word_errors.errors(said, before), "after": word_errors.errors(said, after)}


def means(rows: Sequence[Mapping]) -> dict[str, dict]:
    """Return what the rows come to by kind.

    Returns:
        files, left_out (their numbers), si_sdr and level_change (means), level_error (mean of
        the change's magnitude), highest_gain (of a file, dB), highest_level (of an output, dBFS)
        and unheard (number of files of which nothing comes out).
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
                "si_sdr": _mean([row["si_sdr"] for row in used if row["si_sdr"] is not None]),
                "level_change": _mean(changes),
                "level_error": _mean([abs(change) for change in changes]),
                "highest_gain": max(changes, default=None),
                "highest_level": max((row["level"] for row in used), default=None),
                "unheard": sum(row["si_sdr"] is None for row in used) if kind != SILENCE else 0,
            }
    return found


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def table(rows: Sequence[Mapping], heard: Mapping[str, word_errors.Errors] | None = None) -> str:
    """Return the means as text, what was left out, and the word errors before and after."""
    lines = [
        f"{'do no harm':14s}{'n':>4s}{'SI-SDR dB':>11s}{'level dB':>10s}{'highest gain':>14s}"
        f"{'highest dBFS':>14s}"
    ]
    for kind, m in means(rows).items():
        widths = {"si_sdr": 11, "level_change": 10, "highest_gain": 14, "highest_level": 14}
        cells = [f"{'-' if m[k] is None else f'{m[k]:.2f}':>{w}s}" for k, w in widths.items()]
        lines.append(f"{kind:14s}{m['files']:4d}{''.join(cells)}")
    for row in (r for r in rows if r["reason"]):
        lines.append(f"left out: {row['file']}: {row['reason']}")
    if heard:
        before, after = heard["before"], heard["after"]
        lines.append(
            f"word errors on clean speech: {100 * before.wer:.1f} % before, "
            f"{100 * after.wer:.1f} % after ({before.words} words in {before.files} files)"
        )
    return "\n".join(lines)


def broken(
    rows: Sequence[Mapping],
    improvement: float | None,
    config: Config,
    heard: Mapping[str, word_errors.Errors] | None = None,
) -> list[str]:
    """Return in words which bounds of [evaluate] are broken; nothing if all hold.

    A kind of sound of which nothing could be measured counts as broken.

    Args:
        rows: of :func:`check`.
        improvement: mean SI-SDR improvement of the test set in dB, None if it was not measured.
        config: with the bounds.
        heard: of :func:`words`, None if they were not counted.
    """
    bounds, found = config.evaluate, means(rows)
    speech, music, silence = (found.get(kind, {}) for kind in (SPEECH, MUSIC, SILENCE))
    rise = heard and 100 * (heard["after"].wer - heard["before"].wer)
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
    for checks, sign, word in ((at_least, 1, "at least"), (at_most, -1, "at most")):
        for what, value, bound, unit in checks:
            if value is not None and sign * value < sign * bound:
                lines.append(f"{what}: {value:.2f} {unit}, expected {word} {bound:g}")
    if speech.get("unheard"):
        lines.append(f"clean speech: nothing comes out for {speech['unheard']} files")
    lines += [f"{kind}: no usable file" for kind in (SPEECH, MUSIC)
              if not found.get(kind, {}).get("files")]  # fmt: skip
    return lines
