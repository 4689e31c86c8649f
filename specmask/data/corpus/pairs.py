"""Ready-made pairs of clean and noisy recordings, imported as they are.

A folder holds pairs if it has folders whose names differ in clean and noisy alone
(clean_trainset_28spk_wav and noisy_trainset_28spk_wav of VoiceBank+DEMAND, CleanSpeech_training
and NoisySpeech_training of MS-SNSD, clean and noisy), or NOIZEUS: clean sentences in ``clean`` and
spNN_NOISE_snSNR anywhere. Of several such folders those with train or test in their name are taken
for that end. A noisy file belongs to the clean one with the same name, or with the name that
it holds: sp01_car_sn5 sp01, noisy3_SNRdb_5.00_clnsp7 clnsp7, ..._fileid_12 clean_fileid_12.

The noise of a pair is defined as noisy - clean. Whether noisy is a sum of speech and an unrelated
noise is measured: it is not one where a filter of the clean speech explains part of the noise.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath, PurePosixPath

from specmask.audio import io as audio_io
from specmask.audio.io import Rejected
from specmask.audio.levels import FULL_SCALE
from specmask.config.schema import Config
from specmask.data.corpus import layouts, recordings
from specmask.data.corpus.layouts import Layout
from specmask.data.corpus.recordings import Source
from specmask.data.names import NoisyName, read_noisy
from specmask.errors import UserError

TOLERANCE_SECONDS = 0.05  # by which the lengths of a pair may differ; the longer one is cut
LARGEST = 32767 / FULL_SCALE


@dataclass(frozen=True)
class Pair:
    """A clean and a noisy recording; the label of the noisy one is its noise type."""

    clean: Source
    noisy: Source

    @property
    def length(self) -> int:
        """Length in samples at the working rate: that of the shorter one."""
        return min(self.clean.length, self.noisy.length)


# ---------------------------------------------------------------- finding


def find(root: Path, split: str) -> tuple[str, dict[str, str]]:
    """Return the kind of pairs in a folder and the clean file of every noisy one.

    Paths are relative to the folder; empty if it holds no pairs. ``split`` is train or test.
    """
    if not root.is_dir():
        return "", {}
    inside = {p.name: p for p in root.iterdir() if p.is_dir()}
    folders = {}
    for name in sorted(inside):
        noisy = re.sub("clean", "noisy", re.sub("Clean", "Noisy", name))
        if noisy != name and noisy in inside:
            folders[name] = noisy
    chosen = {c: n for c, n in folders.items() if split in c.lower()} or folders
    found = {}
    for clean, noisy in chosen.items():
        files = [f"{clean}/{p.as_posix()}" for p in audio_io.files(root / clean)]
        by_name = {_plain(f, clean): f for f in files} | {PurePosixPath(f).stem: f for f in files}
        for path in audio_io.files(root / noisy):
            name = f"{noisy}/{path.as_posix()}"
            facts = read_noisy(path.stem)
            same = by_name.get(_plain(name, noisy)) or by_name.get(path.stem)
            match = same or (by_name.get(facts.clean) if facts else None)
            if match:
                found[name] = match
    if not found and "clean" in inside:
        found = _noizeus(root)
    if found and all(_noizeus_name(PurePosixPath(n)) for n in found):
        return "NOIZEUS", found
    return (
        "VoiceBank+DEMAND"
        if any("trainset" in c or "testset" in c for c in chosen)
        else "clean and noisy pairs"
    ), found


def _noizeus(root: Path) -> dict[str, str]:
    clean = {p.stem: f"clean/{p.as_posix()}" for p in audio_io.files(root / "clean")}
    noisy = {p.as_posix(): _noizeus_name(p) for p in audio_io.files(root)}
    return {name: clean[n.clean] for name, n in noisy.items() if n and n.clean in clean}


def _noizeus_name(path: PurePath) -> NoisyName | None:
    name = read_noisy(path.stem)
    return name if name and name.scheme == "NOIZEUS" else None


def _plain(path: str, folder: str) -> str:
    return str(PurePosixPath(path).relative_to(folder).with_suffix(""))


def noise_types(root: Path) -> dict[str, str]:
    """Return the noise types in VoiceBank+DEMAND's logs: lines of name, noise and SNR."""
    found = {}
    for path in sorted(root.rglob("log_*set*.txt")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split()
            if len(words) == 3:
                found[words[0]] = words[1]
    return found


# ---------------------------------------------------------------- scanning


def scan(root: Path, config: Config, split: str) -> tuple[str, list[Pair], list[Rejected]]:
    """Scan the pairs of a folder.

    Args:
        root: the folder.
        config: all of it.
        split: train or test.

    Returns:
        the kind of pairs (empty: the folder holds none and is one of clean speech), the usable
        pairs in order of the noisy names, and what was set aside.

    Raises:
        UserError: if there are pairs and none can be used.
    """
    option = f"clean_{split}_path"
    if config.data.speech_layout not in ("auto", "pairs"):
        return "", [], []
    kind, found = find(root, split)
    if not found:
        if config.data.speech_layout == "pairs":
            raise UserError(
                f"[data] speech_layout = pairs: {root} holds no clean and noisy files of the same "
                "names; expected two folders named clean... and noisy..., or choose auto"
            )
        return "", [], []
    patterns = config.data.train_pairs if split == "train" else config.data.test_pairs
    if patterns:
        found = {n: c for n, c in found.items() if fits(n, patterns)}
    if not found:
        raise UserError(
            f"[data] {split}_pairs = {', '.join(patterns)}: no noisy file in {root} has such a "
            "name; correct the pattern, or leave it empty to take all"
        )
    name_of = _namer(root, found, config)
    usable, rejected = recordings.scan(root, name_of, config, option)
    by_path = {s.path: s for s in usable}
    pairs = []
    tolerance = TOLERANCE_SECONDS * config.data.sample_rate
    for noisy, clean in sorted(found.items()):
        if noisy not in by_path:
            continue  # it has its own reason
        if clean not in by_path:
            rejected.append(Rejected(noisy, f"its clean file {clean} was set aside"))
            continue
        pair = Pair(by_path[clean], by_path[noisy])
        difference = pair.noisy.length - pair.clean.length
        if abs(difference) > tolerance:
            rejected.append(
                Rejected(
                    noisy,
                    f"{abs(difference) / config.data.sample_rate:.2f} s "
                    f"{'longer' if difference > 0 else 'shorter'} than its clean file {clean}; "
                    f"at most {TOLERANCE_SECONDS} s are allowed",
                )
            )
            continue
        pairs.append(pair)
    if not pairs:
        raise UserError(
            f"[data] {option} = {root}: none of {len(found)} pairs can be used, the first: "
            f"{rejected[0].path}: {rejected[0].reason}; correct the recordings"
        )
    return kind, pairs, rejected


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a file's path, name, or name without its ending has one of the patterns."""
    path = PurePosixPath(name)
    return any(fnmatch(text, p) for p in patterns for text in (name, path.name, path.stem))


def _namer(root: Path, found: dict[str, str], config: Config):
    speech = {PurePosixPath(c) for c in found.values()}
    types = noise_types(root)
    inner = {p: PurePosixPath(*p.parts[1:]) for p in speech}  # below the folder of clean files
    level = config.data.speaker_folder
    layout = Layout(
        "speech", folders=layouts.speaker_folders({p.parent for p in inner.values()}, level)
    )

    def name_of(path: PurePosixPath) -> layouts.Name | None:
        name = str(path)
        if name in found:
            noizeus = _noizeus_name(path)
            return f"noisy:{name}", noizeus.noise_type if noizeus else types.get(path.stem, "")
        if path in speech:
            return layout.name_of(inner[path])
        return None

    return name_of
