"""The pieces of recordings that a file is made of: chosen at random, read, and written down.

Offsets and lengths are in samples at the working rate.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.config.schema import Config
from specmask.data.corpus.recordings import SILENCE_DBFS, Source
from specmask.errors import UserError

DRAWS = 200  # before a set of sources is given up as silent
QUIET_DB = -30  # a crop this far below its recording's level counts as silent


@dataclass(frozen=True)
class Piece:
    """A part of a recording and where it stands in the file.

    Of noise, ``layer`` counts the noises of a mixture from 0, and ``voice`` the voices of babble,
    which lie in the folder of speech.
    """

    source: Source
    offset: int
    length: int
    at: int
    layer: int = 0
    voice: int | None = None

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says about a piece."""
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
        return known


def text(pieces: Sequence[Piece]) -> str:
    """Write pieces as they stand in a manifest row."""
    return json.dumps([p.facts() for p in pieces])


def read(facts: Sequence[Mapping], root: Path, samples: int, config: Config) -> np.ndarray:
    """Read pieces, as the manifest describes them, into one signal.

    Returns:
        float32 [samples], zeros where no piece lies.

    Raises:
        AudioError: if one of them cannot be read.
    """
    out = np.zeros(samples, np.float32)
    for p in facts:
        out[p["at"] : p["at"] + p["length"]] = audio_io.read_piece(
            root / p["path"], p["offset"], p["length"], config.data.sample_rate,
            config.audio.resampler,
        )  # fmt: skip
    return out


def draw(
    choose: Callable[[int], list[Piece]], samples: int, root: Path, config: Config
) -> tuple[list[Piece], np.ndarray]:
    """Choose pieces until they are not silent; a file that has gone bad since the scan is skipped.

    Args:
        choose: returns pieces for a number of samples, others each time.
        samples: to be filled.
        root: where the recordings lie.
        config: for the rate and the resampler.

    Raises:
        UserError: after 200 choices in vain.
    """
    reason = "only silent crops were found"
    for _ in range(DRAWS):
        pieces = choose(samples)
        try:
            out = read([p.facts() for p in pieces], root, samples, config)
        except audio_io.AudioError as error:
            reason = f"{pieces[0].source.path}: {error}"
            continue
        loudest = max(p.source.level_db for p in pieces)
        if levels.level_db(out) > max(loudest + QUIET_DB, SILENCE_DBFS):
            return pieces, out
    raise UserError(f"{root}: no usable piece in {DRAWS} draws ({reason}); add recordings")


def of_speech(
    samples: int,
    rng: np.random.Generator,
    choice: Sequence[Source],
    speakers: Mapping[str, Sequence[Source]],
    gap: int,
) -> list[Piece]:
    """Choose a crop of a long recording, or short ones of one speaker with gaps between them.

    Args:
        samples: to be filled.
        rng: what chooses.
        choice: recordings that the first piece may come from.
        speakers: the recordings of each group.
        gap: between short recordings, in samples.
    """
    source = choice[rng.integers(len(choice))]
    if source.length >= samples:
        start = source.start + int(rng.integers(source.length - samples + 1))
        return [Piece(source, start, samples, 0)]
    pieces, at = [], 0
    others = speakers[source.group]
    while at < samples:
        length = min(source.length, samples - at)
        pieces.append(Piece(source, source.start, length, at))
        at += length + gap
        source = others[rng.integers(len(others))]
    return pieces


def of_noise(samples: int, rng: np.random.Generator, choice: Sequence[Source]) -> list[Piece]:
    """Choose a crop of a long recording, or a short one that goes round from a random offset."""
    source = choice[rng.integers(len(choice))]
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
