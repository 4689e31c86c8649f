"""Ready-made pairs of clean and noisy recordings: found by folder and file names, and scanned.

A folder has pairs if it has folders whose names differ in clean and noisy alone
(clean_trainset_28spk_wav and noisy_trainset_28spk_wav of VoiceBank+DEMAND, CleanSpeech_training
and NoisySpeech_training of MS-SNSD, clean and noisy), or NOIZEUS: clean sentences in ``clean`` and
spNN_NOISE_snSNR anywhere. Of several such folders those with train or test in their name are taken
for that subset. A noisy file belongs to the clean one with the same name, or with the name that
its own contains: see :mod:`specmask.data.names`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath, PurePosixPath

from specmask.audio import media
from specmask.audio.io import Rejected
from specmask.config.schema import Config
from specmask.data.corpus import layouts, recordings
from specmask.data.corpus.layouts import Layout, Name, NameOf
from specmask.data.corpus.recordings import Source
from specmask.data.names import NoisyName, read_noisy
from specmask.errors import UserError

TOLERANCE_SECONDS = 0.05  # by which the lengths of a pair may differ; the longer one is cut


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


def find(paths: Sequence[PurePosixPath], subset: str) -> tuple[str, dict[str, str]]:
    """Return the kind of pairs in a folder and the clean file of every noisy one.

    Args:
        paths: audio files of the folder, relative to it.
        subset: train or test.

    Returns:
        the kind, and clean paths by noisy path; empty if there are no pairs.

    >>> find([PurePosixPath("clean/a.wav"), PurePosixPath("noisy/a.wav")], "train")
    ('clean and noisy pairs', {'noisy/a.wav': 'clean/a.wav'})
    """
    below: dict[str, list[PurePosixPath]] = {}
    for path in paths:
        if len(path.parts) > 1:
            below.setdefault(path.parts[0], []).append(path)
    noisy_folders = {
        name: name.replace("Clean", "Noisy").replace("clean", "noisy") for name in below
    }
    matching = {c: n for c, n in sorted(noisy_folders.items()) if n != c and n in below}
    chosen = {c: n for c, n in matching.items() if subset in c.lower()} or matching
    found = {}
    for clean, noisy in chosen.items():
        clean_paths = sorted(below[clean], key=media.is_media, reverse=True)  # the others count
        by_name = {_below_top(p): str(p) for p in clean_paths}
        by_name |= {p.stem: str(p) for p in clean_paths}
        for path in below[noisy]:
            facts = read_noisy(path.stem)
            same = by_name.get(_below_top(path)) or by_name.get(path.stem)
            match = same or (by_name.get(facts.clean) if facts else None)
            if match:
                found[str(path)] = match
    if not found:
        found = _find_noizeus(paths, below.get("clean", []))
    if not found:
        return "", {}
    if all(_noizeus_name(PurePosixPath(n)) for n in found):
        return "NOIZEUS", found
    if any("trainset" in c or "testset" in c for c in chosen):
        return "VoiceBank+DEMAND", found
    return "clean and noisy pairs", found


def _find_noizeus(
    paths: Sequence[PurePosixPath], clean_paths: Sequence[PurePosixPath]
) -> dict[str, str]:
    clean = {p.stem: str(p) for p in clean_paths}
    noisy = {str(p): _noizeus_name(p) for p in paths}
    return {path: clean[n.clean] for path, n in noisy.items() if n and n.clean in clean}


def _noizeus_name(path: PurePath) -> NoisyName | None:
    name = read_noisy(path.stem)
    return name if name and name.scheme == "NOIZEUS" else None


def _below_top(path: PurePosixPath) -> str:
    """Return a path without its first folder and its suffix."""
    return str(PurePosixPath(*path.parts[1:]).with_suffix(""))


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


def scan(
    root: Path, paths: Sequence[PurePosixPath], config: Config, subset: str
) -> tuple[str, list[Pair], list[Rejected]]:
    """Scan the pairs of a folder.

    Args:
        root: the folder.
        paths: its audio files, as :func:`specmask.data.corpus.recordings.list_folder` returns them.
        config: all of it.
        subset: train or test.

    Returns:
        the kind of pairs (empty: the folder has none and is one of clean speech), the usable
        pairs in order of the noisy names, and what was set aside.

    Raises:
        UserError: if there are pairs and none can be used, or patterns of names and no pairs.
    """
    option = f"clean_{subset}_path"
    if config.data.speech_layout not in ("auto", "pairs"):
        return "", [], []
    kind, found = find(paths, subset)
    data = config.data
    if not found:
        if data.speech_layout == "pairs":
            raise UserError(
                f"[data] speech_layout = pairs: {root} has no clean and noisy files of the same "
                "names; expected two folders named clean... and noisy..., or choose auto"
            )
        for key in ("train_pairs", "validation_pairs") if subset == "train" else ("test_pairs",):
            if patterns := getattr(data, key):
                raise UserError(
                    f"[data] {key} = {', '.join(patterns)}: {root} has no clean and noisy files of "
                    f"the same names; correct {option}, or leave {key} empty"
                )
        return "", [], []
    patterns = data.train_pairs if subset == "train" else data.test_pairs
    if patterns:
        found = {n: c for n, c in found.items() if fits(n, patterns)}
    if not found:
        raise UserError(
            f"[data] {subset}_pairs = {', '.join(patterns)}: no noisy file in {root} has such a "
            "name; correct the pattern, or leave it empty to take all"
        )
    usable, rejected = recordings.scan(root, paths, _naming(root, found, config), config, option)
    by_path = {s.path: s for s in usable}
    # MS-SNSD writes a clean file once per SNR: its pairs share the first one, so that they are
    # never divided between training and validation
    for r in rejected:
        if r.copy_of and r.path not in found and r.copy_of not in found:
            by_path[r.path] = by_path[r.copy_of]
    rejected = [r for r in rejected if r.path not in by_path]
    pairs = []
    for noisy, clean in sorted(found.items()):
        if noisy not in by_path:
            continue  # it has its own reason
        if clean not in by_path:
            rejected.append(Rejected(noisy, f"its clean file {clean} was set aside"))
            continue
        pair = Pair(by_path[clean], by_path[noisy])
        seconds = (pair.noisy.length - pair.clean.length) / config.data.sample_rate
        if abs(seconds) > TOLERANCE_SECONDS:
            reason = (
                f"{abs(seconds):.2f} s {'longer' if seconds > 0 else 'shorter'} than its clean "
                f"file {clean}; at most {TOLERANCE_SECONDS} s are allowed"
            )
            rejected.append(Rejected(noisy, reason))
            continue
        pairs.append(pair)
    if not pairs:
        raise UserError(
            f"[data] {option} = {root}: none of {len(found)} pairs can be used, the first: "
            f"{rejected[0].path}: {rejected[0].reason}; correct the recordings"
        )
    return kind, pairs, rejected


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a file's path, name, or name without its suffix fits one of the patterns."""
    path = PurePosixPath(name)
    return any(fnmatch(text, p) for p in patterns for text in (name, path.name, path.stem))


def _naming(root: Path, found: dict[str, str], config: Config) -> NameOf:
    """Return a function that names the files of pairs, clean ones by the folders below clean."""
    below_clean = {
        PurePosixPath(c): PurePosixPath(*PurePosixPath(c).parts[1:]) for c in found.values()
    }
    folders = {p.parent for p in below_clean.values()}
    layout = Layout("speech", folders=layouts.speaker_folders(folders, config.data.speaker_folder))
    types = noise_types(root)

    def name_of(path: PurePosixPath) -> Name | None:
        if str(path) in found:
            noizeus = _noizeus_name(path)
            return Name(
                f"noisy:{path}", noizeus.noise_type if noizeus else types.get(path.stem, "")
            )
        return layout.name_of(below_clean[path]) if path in below_clean else None

    return name_of
