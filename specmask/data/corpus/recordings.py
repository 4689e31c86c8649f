"""The recordings that a data set is made of: scanned, and set aside where they cannot be used."""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from specmask.audio import io as audio_io
from specmask.audio.io import BLOCK_FRAMES, AudioError, AudioFile, Rejected, resampled_length
from specmask.audio.levels import FULL_SCALE, decibel
from specmask.config.schema import Config
from specmask.data.corpus import layouts, scan_cache
from specmask.data.corpus.layouts import NameOf
from specmask.data.corpus.scan_cache import Facts
from specmask.errors import UserError

SHORTEST_SECONDS = 0.25
LARGEST = 65535  # sample: 16-bit values in floating point pass, and the digest's whole numbers fit
SILENCE_DBFS = -80  # half a dozen steps of 16-bit audio
SET_ASIDE = "set aside"  # in the column plan of the list that --check writes


@dataclass(frozen=True)
class Source:
    """A usable recording, or a part of one.

    Attributes:
        path: relative to its root folder, with forward slashes.
        rate: in Hz, as stored.
        channels: as stored.
        digest: of the decoded samples, so that a copy in another format without loss is found.
        level_db: RMS in dBFS.
        group: the speaker, or the recording that a noise clip was taken from.
        label: the speaker's name or the noise type; empty if not known.
        start, stop: the part that may be used, in samples at the working rate.
    """

    path: str
    rate: int
    channels: int
    digest: str
    level_db: float
    group: str
    label: str
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Usable length in samples at the working rate."""
        return self.stop - self.start


def require_folder(root: Path, option: str) -> None:
    """Raise UserError if the folder of an option is missing."""
    if not root.is_dir():
        raise UserError(
            f"[data] {option} = {root}: no such folder; create it with audio files in it, or "
            "correct the path (make demo runs on speech and noise that it makes itself)"
        )


def list_folder(root: Path, option: str) -> list[PurePosixPath]:
    """Return the audio files below a folder, relative to it, sorted.

    Args:
        root: the folder.
        option: name of the option with the folder.

    Raises:
        UserError: if the folder is missing or has no audio files.
    """
    require_folder(root, option)
    names = audio_io.files(root)
    if not names:
        raise UserError(
            f"[data] {option} = {root}: no audio files; put recordings there (wav, flac, ogg, mp3, "
            "aiff; folders are read recursively, one folder per speaker or noise type) or name "
            "another folder; make demo runs on speech and noise that it makes itself"
        )
    return [PurePosixPath(n.as_posix()) for n in names]


def scan(
    root: Path, paths: Sequence[PurePosixPath], name_of: NameOf, config: Config, option: str
) -> tuple[list[Source], list[Rejected]]:
    """Decode the files of a folder once each and separate the usable ones from the others.

    Args:
        root: the folder.
        paths: its files, as :func:`list_folder` returns them.
        name_of: returns the group and the label of a path, or None for what is no source of this
            kind: see :mod:`specmask.data.corpus.layouts`.
        config: all of it.
        option: name of the option with the folder.

    Returns:
        sources sorted by path, without copies of the same content, and what was set aside.

    Raises:
        UserError: if nothing can be used.
    """
    if option.startswith("noise") and config.data.noise_classes:
        paths = layouts.class_filter(paths, name_of, config.data.noise_classes, option)
    named = {path: name for path in paths if (name := name_of(path))}
    excluded = excluded_by_list(config, option)
    rejected = [Rejected(str(p), excluded[str(p)]) for p in named if str(p) in excluded]
    used = [path for path in named if str(path) not in excluded]
    found = scan_cache.facts(inspect, [root / path for path in used], config, f"scan {root.name}")
    sources: list[Source] = []
    paths_by_digest: dict[str, str] = {}
    for path, facts in zip(used, found, strict=True):
        if isinstance(facts, str):
            rejected.append(Rejected(str(path), facts))
            continue
        known = paths_by_digest.setdefault(facts["digest"], str(path))
        if known != str(path):
            rejected.append(Rejected(str(path), f"same content as {known}", known))
            continue
        group, label = named[path]
        stop = resampled_length(facts.pop("frames"), facts["rate"], config.data.sample_rate)
        sources.append(Source(str(path), **facts, group=group, label=label, start=0, stop=stop))
    if not sources:
        first = f", the first: {rejected[0].path}: {rejected[0].reason}" if rejected else ""
        raise UserError(
            f"[data] {option} = {root}: none of {len(named)} files can be used{first}; "
            "add usable recordings"
        )
    return sources, rejected


def excluded_by_list(config: Config, option: str) -> dict[str, str]:
    """Return the files of a folder that ``[data] set_aside`` leaves out: reasons by path.

    The list is a CSV file with the columns folder (name of the option), path, plan and problem; a
    row counts if its plan is "set aside".

    Raises:
        UserError: if the list is no such file.
    """
    path = config.data.set_aside
    if path == Path():
        return {}
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            r["path"]: f"set aside by {path.name}: {r['problem']}"
            for r in rows
            if r["folder"] == option and r["plan"] == SET_ASIDE
        }
    except (OSError, KeyError, csv.Error) as error:
        raise UserError(
            f"[data] set_aside = {path}: cannot be used ({error!r}); expected the list that "
            "data_prep.py --check writes, with the columns folder, path, plan, problem"
        ) from None


def inspect(path: Path) -> Facts | str:
    """Decode a file block by block and return its facts, or the reason why it cannot be used.

    The facts are kept on disk: raise ``scan_cache.VERSION`` when they change.
    """
    digest = hashlib.blake2b(digest_size=12)
    frames, energy, lowest, highest = 0, 0.0, np.inf, -np.inf
    try:
        with AudioFile(path) as file:
            rate, channels = file.samplerate, file.channels
            digest.update(f"{rate} {channels}".encode())
            # not exact: digests of MP3 files stay as they have always been
            for block in file.blocks(BLOCK_FRAMES, exact=False):
                if (largest := np.abs(block).max()) > LARGEST:
                    return (
                        f"holds samples of {largest:.3g}, expected at most {LARGEST}; 1 is loudest"
                    )
                digest.update(np.round(block * FULL_SCALE).astype("<i4").tobytes())
                frames += len(block)
                energy += float(np.sum(np.square(block, dtype=np.float64)))
                lowest = np.minimum(lowest, block.min(axis=0))
                highest = np.maximum(highest, block.max(axis=0))
    except AudioError as error:
        return str(error)
    if frames < SHORTEST_SECONDS * rate:
        return f"too short: {frames / rate:.3f} s, expected at least {SHORTEST_SECONDS} s"
    if decibel(float(np.max(np.abs([lowest, highest]))) ** 2) < SILENCE_DBFS:
        return f"silent: peak below {SILENCE_DBFS} dBFS"
    if decibel(float(np.max(highest - lowest)) ** 2) < SILENCE_DBFS:
        return "silent: a constant"
    return {
        "rate": rate,
        "channels": channels,
        "frames": frames,
        "digest": digest.hexdigest(),
        "level_db": round(decibel(energy / (frames * channels)), 2),
    }


def digest(sources: Sequence[Any]) -> str:
    """Return a digest of a list of sources or other dataclasses, which changes when they do."""
    text = json.dumps([asdict(s) for s in sources], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
