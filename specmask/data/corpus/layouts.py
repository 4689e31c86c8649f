"""Naming schemes of known corpora: speaker, noise type and recording of a file from its path.

File names of known corpora count first, since they say more than any folder:
    LibriSpeech       SPEAKER-CHAPTER-UTTERANCE, in any folders
    VCTK              p225_001, also in VoiceBank+DEMAND and MS-SNSD
    PTDB-TUG          mic_F01_sa1, in MS-SNSD
    DNS-Challenge     book_..._reader_SPEAKER_..., and TYPE_Freesound_validated_RECORDING_PART
    TIDIGITS          MAE_3A, in the Columbia sound examples
    SiSEC             dev_Sq1_Co_A_src (or _sim) is speech, _noi is noise, _mix is neither
    ESC-50, ESC-10    FOLD-RECORDING-TAKE-CLASS; classes from meta/esc50.csv, or from folders

All other speech is named by its folders. The speaker is the innermost folder, but
    - folders that never name a speaker are skipped: session3, chapter_2, a date, wav, train;
    - where most innermost folders have the same names under different parents, they are sessions
      if there are at least as many parents as names (anna/morning, anna/evening, bert/morning:
      the parent is the speaker), and speakers otherwise (near/anna, near/bert, near/carl,
      far/anna: anna);
    - ``[data] speaker_folder`` sets it: the first, second, ... folder below the root.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from specmask.config.schema import Config
from specmask.errors import UserError


class Name(NamedTuple):
    """Group of a recording, which must not be in two splits, and its label; may be empty."""

    group: str
    label: str


NameOf = Callable[[PurePosixPath], Name | None]

TITLES = {
    "librispeech": "LibriSpeech",
    "vctk": "VCTK",
    "ptdb": "PTDB-TUG",
    "dns": "DNS-Challenge",
    "columbia": "Columbia sound examples",
    "sisec": "SiSEC",
    "esc": "ESC-50",
    "folders": "folders",
}
_SPEAKERS = {
    "librispeech": re.compile(r"(?:^|_)(\d+)-\d+-\d{4,}$"),
    "vctk": re.compile(r"^([ps]\d{3})_\d{3}"),
    "ptdb": re.compile(r"^mic_([FM]\d\d)_"),
    "dns": re.compile(r"_reader_(\d+)_"),
    "columbia": re.compile(r"^([FM][A-Z]{2})_[\dOZ]{1,7}[AB]$"),
}
_SISEC = re.compile(r"^((?:dev|test)\d*_[A-Z][a-z]+\d+_[A-Z][a-z]_[A-Z])_(mix|noi|src|sim)")
_ESC = re.compile(r"^\d-(\d+)-[A-Z](?:-\d+)?$")  # fold-recording-take-class
_FREESOUND = re.compile(r"^(.*?)_?Freesound_(?:validated_)?([A-Z]*\d+)_\d+$")
_NO_SPEAKER = re.compile(
    r"(?:session|sess|ses|chapter|chap|disc|disk|cd|day|take|part|rec|recordings?|visit|run|book|"
    r"mic|microphone|channel|tape|side|batch|wavs?\d*|flac|ogg|mp3|audio|clean|speech|data|"
    r"train(?:ing)?|test(?:ing)?|dev|valid(?:ation)?|eval)[\s_-]*\d*"
    r"|\d{4}[-_.]?[01]\d[-_.]?[0-3]\d.*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Layout:
    """Naming scheme of the files of one folder.

    Attributes:
        kind: speech or noise.
        rule: name of the one rule that is tried before the folders, or auto: all of them.
        folders: for speech, the speaker of each folder with audio.
        classes: for noise, the class of each file name in meta/esc50.csv.
    """

    kind: str
    rule: str = "auto"
    folders: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)

    def name_of(self, path: PurePosixPath) -> Name | None:
        """Return (group, label) of a file, or None if it is no source of this kind."""
        return self.classify(path)[1]

    def classify(self, path: PurePosixPath) -> tuple[str, Name | None]:
        """Return the rule that names a file, and its name.

        >>> Layout("speech").classify(PurePosixPath("train/19/198/19-198-0000.flac"))
        ('librispeech', Name(group='19', label='19'))
        >>> Layout("noise").classify(PurePosixPath("rain/1-17367-A-10.wav"))
        ('esc', Name(group='esc:17367', label='rain'))
        """
        rules = _speech_rules if self.kind == "speech" else _noise_rules
        for rule, name in rules(self, path):
            if self.rule in ("auto", rule):
                return rule, name
        other = _by_folder if self.kind == "speech" else _by_type
        return "folders", other(self, path)


def detect(root: Path, paths: Sequence[PurePosixPath], kind: str, config: Config) -> Layout:
    """Return the layout of a folder.

    Args:
        root: the folder.
        paths: its files, relative to it.
        kind: speech or noise.
        config: all of it.

    Raises:
        UserError: if a layout is asked for that no file follows.
    """
    rule = config.data.speech_layout if kind == "speech" else config.data.noise_layout
    if kind == "noise":
        layout = Layout(kind, rule, classes=_esc_classes(root))
    else:
        level = config.data.speaker_folder
        layout = Layout(kind, rule, speaker_folders({p.parent for p in paths}, level))
    if rule not in ("auto", "folders", "pairs") and not any(
        layout.classify(p)[0] == rule for p in paths
    ):
        raise UserError(
            f"[data] {kind}_layout = {rule}: no file in {root} is named as in {TITLES[rule]} "
            f"(the first: {paths[0]}); choose auto or folders"
        )
    return layout


def describe(layout: Layout, paths: Iterable[str], groups: int) -> str:
    """Describe a layout in a line: ``layout: LibriSpeech, 251 speakers``."""
    counts = Counter(layout.classify(PurePosixPath(p))[0] for p in paths)
    what = "speakers" if layout.kind == "speech" else "recordings"
    parts = [TITLES[rule] for rule, _ in counts.most_common()]
    if len(parts) > 1:
        parts = [f"{TITLES[rule]} ({n} files)" for rule, n in counts.most_common()]
    return f"layout: {' + '.join(parts)}, {groups} {what if groups != 1 else what[:-1]}"


# ---------------------------------------------------------------- speech


def _speech_rules(layout: Layout, path: PurePosixPath) -> Iterable[tuple[str, Name | None]]:
    for rule, pattern in _SPEAKERS.items():
        match = pattern.search(path.stem)
        if match:
            yield rule, Name(match[1], match[1])
    match = _SISEC.match(path.stem)
    if match:  # the speaker is not known: takes stay together
        yield "sisec", Name(f"sisec:{match[1]}", "") if match[2] in ("src", "sim") else None


def _by_folder(layout: Layout, path: PurePosixPath) -> Name:
    if path.parent == PurePosixPath("."):
        return Name(f"file:{path}", "")  # a group of its own: its speaker is not known
    folder = layout.folders.get(str(path.parent), str(path.parent))
    return Name(folder, folder)


def speaker_folders(folders: Iterable[PurePosixPath], level: int = 0) -> dict[str, str]:
    """Return the speaker of each folder by the rules of the module.

    Args:
        folders: relative to the root.
        level: of the folder that names the speaker, from 1; 0: by the rules.

    >>> speaker_folders(map(PurePosixPath, ["anna/am", "anna/pm", "bert/am"]))
    {'anna/am': 'anna', 'anna/pm': 'anna', 'bert/am': 'bert'}
    """
    parts = {str(f): f.parts for f in folders if f.parts}
    if level:
        return {name: "/".join(p[:level]) for name, p in parts.items()}
    speakers = {name: _naming_parts(p) for name, p in parts.items()}
    cousins = defaultdict(set)  # innermost folders with the same grandparent
    for p in speakers.values():
        if len(p) > 1:
            cousins[p[:-2]].add(p)
    for some in cousins.values():
        parents = {p[:-1] for p in some}
        names = Counter(p[-1] for p in some)
        repeated = sum(n for n in names.values() if n > 1)
        if 2 * repeated <= len(some):
            continue
        sessions = len(parents) >= len(names)
        for name, p in speakers.items():
            if p in some:
                speakers[name] = p[:-1] if sessions else p[-1:]
    return {name: "/".join(p) for name, p in speakers.items()}


def _naming_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders without those at both ends that never name a speaker."""
    kept = parts
    while len(kept) > 1 and _NO_SPEAKER.fullmatch(kept[-1]):
        kept = kept[:-1]
    while len(kept) > 1 and _NO_SPEAKER.fullmatch(kept[0]):
        kept = kept[1:]
    return kept


# ---------------------------------------------------------------- noise


def _noise_rules(layout: Layout, path: PurePosixPath) -> Iterable[tuple[str, Name | None]]:
    match = _ESC.match(path.stem)
    if match:
        yield "esc", Name(f"esc:{match[1]}", layout.classes.get(path.stem) or _type(path))
    match = _FREESOUND.match(path.stem)
    if match:
        yield "dns", Name(f"freesound:{match[2]}", match[1] or _type(path))
    match = _SISEC.match(path.stem)
    if match:
        label = match[1].split("_")[1].rstrip("0123456789")  # Sq: square, Su: subway, Ca: cafe
        yield "sisec", Name(f"sisec:{match[1]}", label) if match[2] == "noi" else None


def _by_type(layout: Layout, path: PurePosixPath) -> Name:
    return Name(str(path), _type(path))


def _type(path: PurePosixPath) -> str:
    """Return the folder; without one, the name without its trailing number (AirConditioner_3)."""
    if path.parent.name not in ("", "audio"):  # audio: that of ESC-50
        return str(path.parent)
    return re.sub(r"[\s_-]*\d+$", "", path.stem) or path.stem


def _esc_classes(root: Path) -> dict[str, str]:
    for folder in (root, root.parent, *root.glob("*/")):
        path = folder / "meta" / "esc50.csv"
        if path.is_file():
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                try:
                    rows = list(csv.DictReader(file))
                except csv.Error as error:
                    raise UserError(
                        f"{path}: not readable as CSV ({error}); download it again, or remove it"
                    ) from None
            return {
                PurePosixPath(row["filename"]).stem: row["category"]
                for row in rows
                if row.get("filename") and row.get("category")
            }
    return {}


def class_filter(
    paths: Sequence[PurePosixPath], name_of: NameOf, classes: list[str], option: str
) -> list[PurePosixPath]:
    """Return the noise files of the wanted classes, compared without case, blanks, - and _.

    A folder below another has its own name as well: esc10/rain is rain.

    Raises:
        UserError: if there is none of a class.
    """
    found = defaultdict(list)
    for path in paths:
        name = name_of(path)
        label = name.label if name else ""
        for key in {_plain(label), _plain(label.rpartition("/")[2])}:
            found[key].append(path)
    missing = [c for c in classes if _plain(c) not in found]
    if missing:
        raise UserError(
            f"[data] noise_classes: {missing[0]}: no such noise in {option}; there are "
            f"{', '.join(sorted(found)[:60])}; correct the name"
        )
    return sorted({p for c in classes for p in found[_plain(c)]}, key=str)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())
