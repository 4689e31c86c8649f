"""The recordings that a data set is made of: what they hold, who speaks, and who may use them."""

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from specmask import audio, layouts, scans
from specmask.audio import Rejected
from specmask.config import Config
from specmask.errors import UserError
from specmask.layouts import Name
from specmask.mixing import FULL_SCALE, decibel

SHORTEST_SECONDS = 0.25
LARGEST = 65535  # sample: 16-bit values in floating point pass, and the digest's whole numbers fit
SILENCE_DBFS = -80  # half a dozen steps of 16-bit audio
BLOCK_FRAMES = 1 << 20
OGG_PAGE_BYTES = 1 << 16  # more than the largest page has
STREAMED_BYTES = 0x7FFFF000  # a length from here on means that the writer did not know it
SET_ASIDE = "set aside"  # in the list of the doctor
GAP_SECONDS = 2.0  # between the training and the validation part of one long recording

# libsndfile corrects the length in a header and says so here (wav, aiff, au)
_CUT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


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
        label: the speaker's name or the noise type.
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


def scan(
    root: Path, name_of: Callable[[PurePosixPath], Name | None], config: Config, option: str
) -> tuple[list[Source], list[Rejected]]:
    """Read every file below a folder once and tell the usable ones from the others.

    Args:
        root: the folder.
        name_of: gives the group and the label of a path relative to it, None for what is no
            source of this kind: see :mod:`specmask.layouts`.
        config: all of it.
        option: name of the option with the folder.

    Returns:
        sources sorted by path, without copies of the same content, and what was set aside.

    Raises:
        UserError: if the folder is missing or holds nothing usable.
    """
    if not root.is_dir():
        raise UserError(
            f"[data] {option} = {root}: no such folder; create it with audio files in it, or "
            "correct the path (make demo runs on speech and noise that it makes itself)"
        )
    names = audio.files(root)
    if not names:
        raise UserError(
            f"[data] {option} = {root}: no audio files; put recordings there (wav, flac, ogg, mp3, "
            "aiff; folders are read recursively, one folder a speaker or noise type) or name "
            "another folder; make demo runs on speech and noise that it makes itself"
        )
    rate = config.data.sample_rate
    if option.startswith("noise") and config.data.noise_classes:
        names = layouts.class_filter(names, name_of, config.data.noise_classes, option)
    names = [n for n in names if name_of(PurePosixPath(n.as_posix())) is not None]
    unwanted = set_aside(config, option)
    rejected = [
        Rejected(n.as_posix(), unwanted[n.as_posix()]) for n in names if n.as_posix() in unwanted
    ]
    names = [n for n in names if n.as_posix() not in unwanted]
    found = scans.facts(inspect, [root / name for name in names], config, f"scan {root.name}")
    sources, seen = [], {}
    for name, facts in zip(names, found, strict=True):
        path = name.as_posix()
        if isinstance(facts, str):
            rejected.append(Rejected(path, facts))
        elif facts["digest"] in seen:
            rejected.append(Rejected(path, f"same content as {seen[facts['digest']]}"))
        else:
            seen[facts["digest"]] = path
            group, label = name_of(PurePosixPath(path))
            frames = facts.pop("frames")
            stop = audio.resampled_length(frames, facts["rate"], rate)
            sources.append(Source(path=path, group=group, label=label, start=0, stop=stop, **facts))
    if not sources:
        first = f", the first: {rejected[0].path}: {rejected[0].reason}" if rejected else ""
        raise UserError(
            f"[data] {option} = {root}: none of {len(names) + len(unwanted)} files can be used"
            f"{first}; add usable recordings"
        )
    return sources, rejected


def set_aside(config: Config, option: str) -> dict[str, str]:
    """Return what ``[data] set_aside`` leaves out of a folder: reasons by path.

    The list is a CSV file with the columns folder (name of the option), path, plan and problem; a
    row counts if its plan is "set aside".

    Raises:
        UserError: if it is something else.
    """
    path = config.data.set_aside
    if path == Path():
        return {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
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


def inspect(path: Path) -> dict | str:
    """Decode a file block by block and return its facts, or the reason why it cannot be used.

    They are kept on disk: whoever changes them raises ``scans.VERSION``.
    """
    digest = hashlib.blake2b(digest_size=12)
    frames, energy, lowest, highest = 0, 0.0, np.inf, -np.inf
    try:
        with audio.opened(path) as file:
            rate, channels, claimed = file.samplerate, file.channels, file.frames
            cut = _CUT.search(file.extra_info)
            digest.update(f"{rate} {channels}".encode())
            while True:
                try:
                    block = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
                except (RuntimeError, ValueError) as error:
                    return f"damaged after {frames / rate:.2f} s: {error}"
                if not len(block):
                    break
                if not np.isfinite(block).all():
                    return "holds NaN or infinite samples"
                if (largest := np.abs(block).max()) > LARGEST:
                    return (
                        f"holds samples of {largest:.3g}, expected at most {LARGEST}; 1 is loudest"
                    )
                digest.update(np.round(block * FULL_SCALE).astype("<i4").tobytes())
                frames += len(block)
                energy += float(np.sum(np.square(block, dtype=np.float64)))
                lowest = np.minimum(lowest, block.min(axis=0))
                highest = np.maximum(highest, block.max(axis=0))
    except audio.AudioError as error:
        return str(error)
    if _ends_early(path):
        return "truncated: the last page of the Ogg stream is missing"
    if frames < SHORTEST_SECONDS * rate:
        return f"too short: {frames / rate:.3f} s, expected at least {SHORTEST_SECONDS} s"
    if cut and int(cut[1]) < STREAMED_BYTES:
        return f"truncated: {cut[2]} bytes of {cut[1]}"
    if frames < claimed:
        return f"truncated: {frames} frames of {claimed}"
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


def _ends_early(path: Path) -> bool:
    """Tell whether an Ogg file ends without the page that is marked as the last one (RFC 3533).

    libsndfile takes the length of a cut file from the last page that is there, and says nothing.
    """
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(-min(OGG_PAGE_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
        tail = file.read()
    at = len(tail)
    while (at := tail.rfind(b"OggS\0", 0, at)) >= 0:
        header = tail[at : at + 27]
        if len(header) < 27:
            return True
        lengths = tail[at + 27 : at + 27 + header[26]]
        if at + 27 + header[26] + sum(lengths) > len(tail) or len(lengths) < header[26]:
            return True
        return not header[5] & 4
    return True


def carve(
    sources: list[Source], share: float, rate: int, rng: np.random.Generator
) -> tuple[list[Source], list[Source], list[str]]:
    """Split sources into training and validation, with no group in both.

    Whole groups go to validation in random order until they hold ``share`` of the time; one
    that would bring it beyond 1.5 times that is passed over. A single group is split by file,
    a single file by time with a gap of 2 s.

    Returns:
        training sources, validation sources, warnings.
    """
    warnings = []
    groups = {s.group for s in sources}
    if len(groups) == 1 and len(sources) > 1:
        sources = [replace(s, group=f"file:{s.path}") for s in sources]
        warnings.append(f"all {len(sources)} files are of one group; validation is split by file")
    if len(sources) == 1:
        return *_carve_time(sources[0], share, rate), [
            f"only one file ({sources[0].path}); validation is its last part"
        ]
    unknown = [s for s in sources if s.group == f"file:{s.path}" and not s.label]
    if unknown:
        warnings.append(
            f"{len(unknown)} files lie in no folder that names their speaker; "
            "for them validation is split by file"
        )
    lengths: dict[str, int] = {}
    for source in sources:
        lengths[source.group] = lengths.get(source.group, 0) + source.length
    names = sorted(lengths)
    target = share * sum(lengths.values())
    chosen, total = set(), 0
    for name in (names[i] for i in rng.permutation(len(names))):
        if (
            len(chosen) + 1 < len(names)
            and total < target
            and total + lengths[name] <= 1.5 * target
        ):
            chosen.add(name)
            total += lengths[name]
    if not chosen:  # every group is large: the smallest one
        chosen = {min(names, key=lambda n: (lengths[n], n))}
    training = [s for s in sources if s.group not in chosen]
    return training, [s for s in sources if s.group in chosen], warnings


def _carve_time(source: Source, share: float, rate: int) -> tuple[list[Source], list[Source]]:
    gap = round(GAP_SECONDS * rate)
    if source.length < 4 * gap:
        raise UserError(
            f"{source.path}: the only file, {source.length / rate:.1f} s; expected at least "
            f"{4 * GAP_SECONDS:g} s to take training and validation from it; add "
            "recordings, or set [data] total_validation_files = 0"
        )
    # either part has at least the length of the gap
    cut = source.stop - min(max(gap, round(share * source.length)), source.length - 2 * gap)
    return [replace(source, stop=cut - gap)], [replace(source, start=cut)]


def leak(
    training: Iterable[Source], others: Iterable[Source], what: str, end: str = "testing"
) -> str:
    """Name a recording for another end that is also one for training; "" if there is none."""
    known = {s.digest: s.path for s in training}
    leaks = [(s.path, known[s.digest]) for s in others if s.digest in known]
    if not leaks:
        return ""
    other, train = leaks[0]
    return (
        f"{what} for {end} {other} is the same recording as {train} for training "
        f"({len(leaks)} such files); remove them from one of the folders"
    )


def digest(sources: list[Source]) -> str:
    """Return a digest of a list of sources, for telling whether it has changed."""
    text = json.dumps([asdict(s) for s in sources], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
