"""Random pieces of recordings: choosing, reading, and describing them in the manifest.

Offsets and lengths are in samples at the working rate.

Where a microphone has added a constant to a recording, the pieces are taken without it: it would
count as speech or noise, and between joined pieces it would be steps. The manifest names what was
subtracted (``mean``), so that a row still makes its file again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio import levels
from specmask.audio.io import AudioError, read_piece
from specmask.config.schema import Config
from specmask.data.corpus.recordings import SILENCE_DBFS, Source
from specmask.errors import UserError

DRAWS = 200  # random choices before a set of sources is given up as silent
QUIET_DB = -30  # a crop this far below its recording's level counts as silent


@dataclass(frozen=True)
class Piece:
    """Part of a recording and its position in the file.

    Of noise, ``layer`` counts the noises of a mixture from 0, and ``voice`` the voices of babble,
    which are recordings of the speech folder. ``mean`` is subtracted from the samples.
    """

    source: Source
    offset: int
    length: int
    at: int
    layer: int = 0
    voice: int | None = None
    mean: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Return the description of a piece in the manifest."""
        source = self.source
        known = {
            "path": source.path,
            "offset": self.offset,
            "length": self.length,
            "at": self.at,
            "rate": source.rate,
            "channels": source.channels,
            "digest": source.digest,
        }
        if self.layer:
            known["layer"] = self.layer
        if self.voice is not None:
            known["voice"] = self.voice
        if self.mean:
            known["mean"] = self.mean
        return known


def text(pieces: Sequence[Piece]) -> str:
    """Return the description of pieces in a manifest row."""
    return json.dumps([p.facts() for p in pieces])


def read(facts: Sequence[Mapping], root: Path, samples: int, config: Config) -> np.ndarray:
    """Read pieces, as the manifest describes them, into one signal.

    Returns:
        float32 [samples], zeros where there is no piece.

    Raises:
        AudioError: if one of them cannot be read.
    """
    out = np.zeros(samples, np.float32)
    for p in facts:
        piece = read_piece(
            root / p["path"], p["offset"], p["length"], config.data.sample_rate,
            config.audio.resampler,
        )  # fmt: skip
        out[p["at"] : p["at"] + p["length"]] = piece - p["mean"] if "mean" in p else piece
    return out


def draw(
    choose: Callable[[int], list[Piece]], samples: int, root: Path, config: Config
) -> tuple[list[Piece], np.ndarray]:
    """Choose pieces until they are not silent; a file damaged since the scan is skipped.

    Args:
        choose: returns pieces for a number of samples, others each time.
        samples: length of the signal.
        root: folder of the recordings.
        config: for the rate and the resampler.

    Returns:
        the pieces, and float32 [samples] of them.

    Raises:
        UserError: after 200 choices without success.
    """
    reason = "only silent crops were found"
    for _ in range(DRAWS):
        pieces = choose(samples)
        try:
            out = read([p.facts() for p in pieces], root, samples, config)
        except AudioError as error:
            reason = f"{pieces[0].source.path}: {error}"
            continue
        pieces = _with_mean(pieces, out)
        if pieces[0].mean:
            out = read([p.facts() for p in pieces], root, samples, config)
        loudest = max(_level_db(p) for p in pieces)
        if levels.level_db(out) > max(loudest + QUIET_DB, SILENCE_DBFS):
            return pieces, out
    raise UserError(f"{root}: no usable piece in {DRAWS} draws ({reason}); add recordings")


def _with_mean(pieces: list[Piece], x: np.ndarray) -> list[Piece]:
    """Return the pieces with the offset that their samples have in common, if there is one."""
    filled = np.concatenate([x[p.at : p.at + p.length] for p in pieces])
    mean = round(levels.offset(filled), 6)
    return [replace(p, mean=mean) for p in pieces] if mean else pieces


def _level_db(piece: Piece) -> float:
    """Return the level in dBFS of the recording of a piece, without its offset."""
    level_db = piece.source.level_db
    if not piece.mean:
        return level_db
    return levels.decibel(max(0.0, 10 ** (level_db / 10) - piece.mean**2))


def of_speech(
    samples: int,
    rng: np.random.Generator,
    choice: Sequence[Source],
    speakers: Mapping[str, Sequence[Source]],
    gap: int,
) -> list[Piece]:
    """Choose a crop of a long recording, or short ones of one speaker with gaps between them.

    Args:
        samples: length of the signal.
        rng: random generator.
        choice: recordings that the first piece may come from.
        speakers: the recordings of each group.
        gap: between short recordings, in samples.
    """
    source = choice[int(rng.integers(len(choice)))]
    if source.length >= samples:
        start = source.start + int(rng.integers(source.length - samples + 1))
        return [Piece(source, start, samples, 0)]
    pieces, at = [], 0
    others = speakers[source.group]
    while at < samples:
        length = min(source.length, samples - at)
        pieces.append(Piece(source, source.start, length, at))
        at += length + gap
        source = others[int(rng.integers(len(others)))]
    return pieces


def of_noise(samples: int, rng: np.random.Generator, choice: Sequence[Source]) -> list[Piece]:
    """Choose a crop of a long recording, or repeat a short one from a random offset on."""
    source = choice[int(rng.integers(len(choice)))]
    if source.length >= samples:
        start = source.start + int(rng.integers(source.length - samples + 1))
        return [Piece(source, start, samples, 0)]
    pieces, at = [], 0
    offset = int(rng.integers(source.length))
    while at < samples:
        length = min(source.length - offset, samples - at)
        pieces.append(Piece(source, source.start + offset, length, at))
        at, offset = at + length, 0
    return pieces
