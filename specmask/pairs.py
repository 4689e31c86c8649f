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
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.signal

from specmask import audio, layouts, sources
from specmask.audio import Rejected
from specmask.config import Config
from specmask.errors import UserError
from specmask.layouts import NOIZEUS, Layout
from specmask.mixing import FULL_SCALE, Mixture, to_int16
from specmask.sources import Source

TOLERANCE_SECONDS = 0.05  # by which the lengths of a pair may differ; the longer one is cut
LARGEST = 32767 / FULL_SCALE
FRAME_SECONDS = 0.032
LARGEST_SPEECH_SHARE = 0.1  # of the noise, for a sum


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
        files = [f"{clean}/{p.as_posix()}" for p in audio.files(root / clean)]
        by_name = {_plain(f, clean): f for f in files} | {PurePosixPath(f).stem: f for f in files}
        for path in audio.files(root / noisy):
            name = f"{noisy}/{path.as_posix()}"
            match = by_name.get(_plain(name, noisy)) or by_name.get(layouts.counterpart(path.stem))
            if match:
                found[name] = match
    if not found and "clean" in inside:
        found = _noizeus(root)
    if found and all(NOIZEUS.match(PurePosixPath(n).stem) for n in found):
        return "NOIZEUS", found
    return (
        "VoiceBank+DEMAND"
        if any("trainset" in c or "testset" in c for c in chosen)
        else "clean and noisy pairs"
    ), found


def _noizeus(root: Path) -> dict[str, str]:
    clean = {p.stem: f"clean/{p.as_posix()}" for p in audio.files(root / "clean")}
    noisy = {p.as_posix(): NOIZEUS.match(p.stem) for p in audio.files(root)}
    return {name: clean[m[1]] for name, m in noisy.items() if m and m[1] in clean}


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
    usable, rejected = sources.scan(root, name_of, config, option)
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
            match = NOIZEUS.match(path.stem)
            return f"noisy:{name}", match[2] if match else types.get(path.stem, "")
        if path in speech:
            return layout.name_of(inner[path])
        return None

    return name_of


# ---------------------------------------------------------------- reading


def read(
    root: Path,
    clean: str,
    noisy: str,
    samples: int,
    rate: int,
    resampler: str,
    gain: float | None = None,
) -> Mixture:
    """Read a pair and return it in 16 bits; noise is noisy - clean, sample by sample.

    Levels stay as they are, unless one of the three would exceed full scale: then all are scaled
    together.

    Args:
        root: folder that the paths of both files are relative to.
        clean, noisy: paths of the files.
        samples: length at ``rate``.
        rate: in Hz.
        resampler: see :func:`specmask.audio.resample`.
        gain: as it stands in the manifest; None: 1, or what the levels need.

    Raises:
        audio.AudioError: if a file cannot be read.
    """
    x, y = (
        audio.read_piece(root / path, 0, samples, rate, resampler).astype(np.float64)
        for path in (clean, noisy)
    )
    if gain is None:
        # −1 is a sample of 16-bit audio, +1 is none; two steps for the rounding of a difference
        peaks = (*(max(v.max(), -v.min() * LARGEST) for v in (x, y)),
                 np.abs(y - x).max() + 2 / FULL_SCALE)  # fmt: skip
        gain = float(min(1.0, LARGEST / max(peaks)))
    clean16, noisy16 = to_int16(x * gain), to_int16(y * gain)
    return Mixture(clean16, noisy16 - clean16, noisy16, gain, gain)


def is_sum(clean: np.ndarray, noise: np.ndarray, rate: int) -> bool:
    """Tell whether a noise has nothing to do with the speech: see :func:`speech_share`."""
    return speech_share(clean, noise, rate) <= LARGEST_SPEECH_SHARE


def speech_share(clean: np.ndarray, noise: np.ndarray, rate: int) -> float:
    """Share of a noise's power that a filter of the clean speech explains, from 0 to 1.

    Σ_f |S_cn|² / S_cc over Σ_f S_nn with Welch's spectra, less what chance gives in a signal of
    this length. Reverberation, codecs, another level or an offset of the clean speech in noisy
    bring it near 1, an added noise leaves it near 0.

    Args:
        clean, noise: [samples].
        rate: in Hz.
    """
    length = min(len(clean), round(FRAME_SECONDS * rate))
    options = {"fs": rate, "nperseg": length, "detrend": False}
    c, n = clean.astype(np.float64), noise.astype(np.float64)
    _, cross = scipy.signal.csd(c, n, **options)
    _, own = scipy.signal.welch(c, **options)
    _, noise_power = scipy.signal.welch(n, **options)
    total = float(np.sum(noise_power))
    if total == 0:
        return 0.0
    explained = np.abs(cross) ** 2 / np.maximum(own, 1e-12 * own.max() + 1e-300)
    share = float(np.sum(np.minimum(explained, noise_power))) / total
    chance = min(0.9, _chance(c, length))
    return max(0.0, (share - chance) / (1 - chance))


def _chance(clean: np.ndarray, length: int) -> float:
    """1 / effective number of independent frames: loud frames count, pauses do not."""
    frames = clean[: len(clean) // length * length].reshape(-1, length)
    powers = np.sum(frames**2, axis=1)
    total = np.sum(powers)
    return float(np.sum(powers**2) / total**2) if total else 1.0
