"""Word errors of a speech recogniser before and after enhancement.

Conventions:
    A recogniser is any function (samples [samples] float32, rate in Hz) -> text. Where it fails
    on a file, its output counts as empty: all words of the file are deleted, and the failure is
    counted. Rates are over all words of all files, not means over files.
    Text is normalised before it is compared: upper case, everything but letters, digits and
    apostrophes becomes a space, one space between words.

Rates (of substitutions S, deletions D, insertions I and hits H), by package jiwer:
    wer: (S + D + I) / (H + S + D), may exceed 1.
    mer: (S + D + I) / (H + S + D + I) [1].
    wil: 1 - H² / (words of the transcripts · words recognised), word information lost [1].

References:
    [1] Morris, Maier, Green: From WER and RIL to MER and WIL. Interspeech 2004.
"""

import csv
import importlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from specmask import parallel
from specmask.audio import levels
from specmask.audio.io import AudioError, read, resample, to_mono
from specmask.errors import UserError
from specmask.evaluation import file_lists, pairing, report, scoring, statistics
from specmask.files import write_table

Recogniser = Callable[[np.ndarray, int], str]

FILE = "words.csv"
SIGNIFICANT = 0.05  # p below which a difference is reported as one
RATE = 16000  # of the acoustic model of pocketsphinx
NORMALISED = "upper case, letters, digits and apostrophes only, single spaces"
# Probability of another word. Without it, a loop of short words inserts letters into every pause:
# 32 % errors on 19 clean an4 files, against 27 % with 0.001.
WORD_PENALTY = 1e-3


@dataclass(frozen=True)
class Errors:
    """Word errors over some files.

    Attributes:
        wer, mer, wil: see above.
        words: number of words in the transcripts.
        files: number of files.
        failed: number of files on which the recogniser failed.
    """

    wer: float
    mer: float
    wil: float
    words: int
    files: int
    failed: int


def normalise(text: str) -> str:
    """Return text in the form that is compared.

    >>> normalise(" It's  five-o'clock,\\tnow!")
    "IT'S FIVE O'CLOCK NOW"
    """
    return " ".join(re.sub(r"[^\w']|_", " ", text.upper()).split())


def read_transcripts(path: Path) -> dict[str, str]:
    """Read lines of file name, tab, words: normalised words by file name without its suffix.

    Raises:
        UserError: if a line is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); expected transcripts") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, tab, words = line.partition("\t")
        if line.strip() and not (tab and name and normalise(words)):
            raise UserError(
                f"{path}, line {number}: expected FILE, a tab, and its words; found {line[:40]!r}"
            )
        if line.strip():
            text = found.setdefault(bare_name(name), normalise(words))
            if text != normalise(words):
                raise UserError(
                    f"{path}, line {number}: {name} has other words in a line above; keep one"
                )
    if not found:
        raise UserError(f"{path}: no transcripts; expected lines of FILE, a tab, and its words")
    return found


def bare_name(name: str) -> str:
    """Return the name of a clean file by which its words are found: with folders, no suffix."""
    return file_lists.without_suffix(PurePosixPath(name.replace("\\", "/")).as_posix())


def grammar(vocabulary: Iterable[str]) -> str:
    """Return a JSGF grammar of any sequence of these words."""
    words = " | ".join(sorted(w.lower() for w in vocabulary))
    return f"#JSGF V1.0;\ngrammar words;\npublic <words> = ( {words} )+ ;\n"


def sphinx(transcripts: Iterable[str]) -> Recogniser:
    """Return pocketsphinx with a grammar over the words of these transcripts.

    With its general language model most words are wrong even for clean recordings; with a small
    vocabulary its errors are informative. A word that is not in its dictionary is composed of two
    that are (RUBOUT: RUB and OUT).

    Raises:
        UserError: if pocketsphinx is not installed, or a word cannot be pronounced.
    """
    try:
        import jiwer  # noqa: F401  fails now, not after an hour of recognition
        from pocketsphinx import Decoder
    except ImportError:
        raise UserError(
            "--transcripts: word errors need two packages; pip install pocketsphinx jiwer"
        ) from None
    # Without the second pass over the lattice, whose result depends on the files before.
    decoder = Decoder(lm=None, loglevel="FATAL", wip=WORD_PENALTY, cmn="batch", bestpath=False)
    vocabulary = {word for text in transcripts for word in normalise(text).split()}
    for word in sorted(vocabulary):
        if decoder.lookup_word(word.lower()) is None:
            decoder.add_word(word.lower(), _pronounce(word.lower(), decoder.lookup_word), True)
    decoder.add_jsgf_string("words", grammar(vocabulary))
    decoder.activate_search("words")

    def recognise(samples: np.ndarray, rate: int) -> str:
        x = resample(np.asarray(samples, np.float32), rate, RATE)
        pcm = levels.to_int16(np.clip(x, -1, 1 - 1 / levels.FULL_SCALE))
        decoder.reinit_feat()  # resets its noise estimate
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    return recognise


def load_recogniser(name: str) -> Recogniser:
    """Return the function that ``module:function`` names, from the current folder or installed.

    Raises:
        UserError: if there is none.
    """
    module, _, function = name.partition(":")
    try:
        sys.path.insert(0, str(Path.cwd()))
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"--recogniser {name}: {error}; expected MODULE:FUNCTION of a function (samples, rate) "
            "-> text"
        ) from None
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise UserError(f"--recogniser {name}: not a function; expected (samples, rate) -> text")
    return found


def _pronounce(word: str, look_up: Callable[[str], str | None]) -> str:
    for cut in range(len(word) - 1, 0, -1):
        first, second = look_up(word[:cut]), look_up(word[cut:])
        if first and second:
            return f"{first} {second}"
    raise UserError(f"--transcripts: the recogniser cannot pronounce {word!r}; leave its file out")


def errors(said: Sequence[str], heard: Sequence[str | None]) -> Errors:
    """Count word errors.

    Args:
        said: transcripts [files], one at least, none without words; normalised here.
        heard: recognised texts [files], normalised here; None where the recogniser failed.
    """
    import jiwer

    failed = sum(text is None for text in heard)
    found = jiwer.process_words(
        [normalise(text) for text in said], [normalise(text or "") for text in heard]
    )
    words = found.hits + found.substitutions + found.deletions
    return Errors(found.wer, found.mer, found.wil, words, len(said), failed)


def recognise_file(
    path: Path,
    recogniser: Recogniser,
    enhance: Callable[[np.ndarray, int], np.ndarray] = lambda samples, rate: samples,
) -> str | None:
    """Return the text of a file, after an enhancer ([samples, channels] -> the same shape).

    Returns:
        normalised text; None if the file could not be read or holds NaN, or the recogniser failed.
    """
    try:
        samples, rate = read(path)
    except AudioError:
        return None
    if not np.isfinite(samples).all():
        return None
    return _recognise(recogniser, enhance(samples, rate), rate)


def _recognise(recogniser: Recogniser, samples: np.ndarray, rate: int) -> str | None:
    try:
        return normalise(recogniser(to_mono(samples), rate))
    except Exception:  # any failure of a recogniser is counted, and ends nothing
        return None


def finder(transcripts: Mapping[str, str]) -> Callable[[str], str | None]:
    """Return a function from a clean file's name to its words, or None if they are not known.

    The name is looked up with its folders, and without them where that is unambiguous.
    """
    stems = Counter(map(pairing.stem, transcripts))
    by_stem = {
        pairing.stem(n): text for n, text in transcripts.items() if stems[pairing.stem(n)] == 1
    }

    def find(name: str) -> str | None:
        return transcripts.get(bare_name(name), by_stem.get(pairing.stem(bare_name(name))))

    return find


def recognise(
    items: Sequence[pairing.Item], transcripts: Mapping[str, str], recogniser: Recogniser
) -> list[dict]:
    """Recognise the clean files, and every file of every system.

    Args:
        items: of :func:`specmask.evaluation.pairing.items`.
        transcripts: words by the name of the clean file, with or without its folders.
        recogniser: see above.

    Returns:
        rows: system (``clean`` for the clean files), file, clean_file, snr_db, noise_type, said,
        heard (None: failed), errors (number of words).

    Raises:
        UserError: if no file has a transcript.
    """
    todo: dict[tuple[str, str], tuple[str, pairing.Item]] = {}
    words_of = finder(transcripts)
    for item in items:
        said = words_of(item.clean_file)
        if said is not None:
            todo.setdefault(("clean", bare_name(item.clean_file)), (said, item))
            todo[item.system, item.name] = (said, item)
    if not todo:
        raise UserError(
            f"--transcripts: none for {items[0].clean_file} or another clean file; expected lines "
            "of the name of a clean file, a tab, and its words"
        )

    def row(entry: tuple) -> dict:
        (system, name), (said, item) = entry
        if system == "clean" and item.clean:
            heard = recognise_file(item.clean, recogniser)
        else:
            try:
                audio = scoring.read_recordings(item)
                heard = _recognise(recogniser, audio.enhanced, audio.rate)
            except scoring.Unusable:
                heard = None
        return {
            "system": system,
            "file": name,
            "clean_file": item.clean_file,
            "snr_db": item.condition.snr_db,
            "noise_type": item.condition.noise_type,
            "said": said,
            "heard": heard,
            "errors": round(errors([said], [heard]).wer * len(said.split())),
        }

    # in this process: a decoder cannot be pickled
    return list(parallel.map_chunks(row, list(todo.items()), 1, "recognise"))


def summary(rows: Sequence[Mapping]) -> dict:
    """Return the errors of every system, overall and by SNR."""
    found: dict[str, dict] = {}
    for system, own in report.by_system(rows).items():
        found[system] = asdict(_errors(own))
        groups = report.groups(own).get("by_snr", {}) if system != "clean" else {}
        if groups:
            found[system]["by_snr"] = {k: asdict(_errors(members)) for k, members in groups.items()}
    return found


def _errors(rows: Sequence[Mapping]) -> Errors:
    return errors([r["said"] for r in rows], [r["heard"] for r in rows])


def verdict(rows: Sequence[Mapping]) -> str:
    """Return in one line whether enhancing helps recognition, or "" without noisy files.

    The first system that is not built in is compared with the noisy files, file by file.
    """
    systems = report.by_system(rows)
    system = next((s for s in systems if s not in ("clean", *pairing.BUILT_IN)), "")
    if not system or pairing.NOISY not in systems:
        return ""
    before = {row["file"]: row for row in systems[pairing.NOISY]}
    pairs = [(before[row["file"]], row) for row in systems[system] if row["file"] in before]
    if not pairs:
        return ""
    wers = [_errors([pair[k] for pair in pairs]) for k in range(2)]
    counts = np.array([[row["errors"] for row in pair] for pair in pairs], float)
    p = statistics.compare(counts[:, 1], counts[:, 0]).p
    change = wers[1].wer - wers[0].wer
    effect = (
        "makes no clear difference to" if p >= SIGNIFICANT else "helps" if change < 0 else "harms"
    )
    return (
        f"enhancing {effect} recognition here: WER {100 * wers[0].wer:.1f} % noisy, "
        f"{100 * wers[1].wer:.1f} % {system} ({wers[0].words} words in {len(pairs)} files, "
        f"Wilcoxon p {p:.2g})"
    )


def table(found: Mapping[str, Mapping]) -> str:
    """Return the errors in per cent as text."""
    lines = [f"{'words':24s}{'n':>6s}{'words':>7s}{'WER %':>8s}{'MER %':>8s}{'WIL %':>8s}  failed"]
    for system, overall in found.items():
        parts = {"": overall} | overall.get("by_snr", {})
        for label, e in parts.items():
            rates = "".join(f"{100 * e[k]:8.1f}" for k in ("wer", "mer", "wil"))
            name = f"{system} {label}".strip()
            lines.append(f"{name:24s}{e['files']:6d}{e['words']:7d}{rates}{e['failed']:8d}")
    return "\n".join(lines)


def write(folder: Path, rows: Sequence[Mapping]) -> None:
    """Write words.csv, a row per file and system, complete or not at all."""
    fields = ["system", "file", "snr_db", "said", "heard", "errors"]
    write_table(folder / FILE, fields, [[row.get(key, "") for key in fields] for row in rows])


def read_rows(folder: Path) -> list[dict]:
    """Return the rows of words.csv, none if it is missing or damaged."""
    try:
        with (folder / FILE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return [row | {"errors": int(row["errors"])} for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
