"""How recordings lie in folders: who speaks, what sounds, and which files are no source at all.

Names of files that known corpora use count first, since they say more than any folder:
    LibriSpeech       SPEAKER-CHAPTER-UTTERANCE, in whatever folders
    VCTK              p225_001, also in VoiceBank+DEMAND and MS-SNSD
    PTDB-TUG          mic_F01_sa1, in MS-SNSD
    DNS-Challenge     book_..._reader_SPEAKER_..., and TYPE_Freesound_validated_RECORDING_PART
    TIDIGITS          MAE_3A, in the Columbia sound examples
    SiSEC             dev_Sq1_Co_A_src (or _sim) is speech, _noi is noise, _mix is neither
    ESC-50, ESC-10    FOLD-RECORDING-TAKE-CLASS; classes from meta/esc50.csv, or from folders

All other speech goes by its folders. The speaker is the innermost folder, but
    - folders that never name a speaker are passed over: session3, chapter_2, a date, wav, train;
    - where most innermost folders bear the same names under different parents, they are sessions
      if there are at least as many parents as names (anna/morning, anna/evening, bert/morning:
      the parent speaks), and speakers otherwise (near/anna, near/bert, near/carl, far/anna: anna);
    - ``[data] speaker_folder`` says it outright: the first, second, ... folder below the root.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from specmask.audio import io as audio_io
from specmask.config.schema import Config
from specmask.errors import UserError

Name = tuple[str, str]  # group (what must not be in two splits) and label

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
    """How the files of one folder are named.

    Attributes:
        kind: speech or noise.
        rule: name of the one rule that is tried before the folders, or auto: all of them.
        folders: speech: the speaker of each folder with audio.
        classes: noise: the class of each file name in meta/esc50.csv.
    """

    kind: str
    rule: str = "auto"
    folders: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)

    def name_of(self, path: PurePosixPath) -> Name | None:
        """Return (group, label) of a file, or None if it is no source of this kind."""
        return self.classify(path)[1]

    def rule_of(self, path: PurePosixPath) -> str:
        """Return the name of the rule that a file goes by."""
        return self.classify(path)[0]

    def classify(self, path: PurePosixPath) -> tuple[str, Name | None]:
        """Return the rule that a file goes by, and its name."""
        rules = _speech_rules if self.kind == "speech" else _noise_rules
        for rule, name in rules(self, path):
            if self.rule in ("auto", rule):
                return rule, name
        other = _by_folder if self.kind == "speech" else _by_type
        return "folders", other(self, path)


def of(root: Path, kind: str, config: Config) -> Layout:
    """Return the layout of a folder of speech or noise.

    Raises:
        UserError: if a layout is asked for that no file follows.
    """
    rule = config.data.speech_layout if kind == "speech" else config.data.noise_layout
    names = [PurePosixPath(n.as_posix()) for n in audio_io.files(root)] if root.is_dir() else []
    if kind == "noise":
        layout = Layout(kind, rule, classes=_esc_classes(root))
    else:
        level = config.data.speaker_folder
        layout = Layout(kind, rule, speaker_folders({n.parent for n in names}, level))
    if (
        rule not in ("auto", "folders", "pairs")
        and names
        and not any(layout.rule_of(n) == rule for n in names)
    ):
        raise UserError(
            f"[data] {kind}_layout = {rule}: no file in {root} is named as in {TITLES[rule]} "
            f"(the first: {names[0]}); choose auto or folders"
        )
    return layout


def describe(layout: Layout, paths: Iterable[str], groups: int) -> str:
    """Say which layout was found: ``layout: LibriSpeech, 251 speakers``."""
    counts = Counter(layout.rule_of(PurePosixPath(p)) for p in paths)
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
            yield rule, (match[1], match[1])
    match = _SISEC.match(path.stem)
    if match:  # who speaks is not told: takes stay together
        yield "sisec", (f"sisec:{match[1]}", "") if match[2] in ("src", "sim") else None


def _by_folder(layout: Layout, path: PurePosixPath) -> Name:
    if path.parent == PurePosixPath("."):
        return f"file:{path}", ""  # a group of its own: its speaker is not known
    folder = layout.folders.get(str(path.parent), str(path.parent))
    return folder, folder


def speaker_folders(folders: Iterable[PurePosixPath], level: int = 0) -> dict[str, str]:
    """Return the speaker of each folder by the rule above; ``level`` counts from 1, 0: by rule."""
    parts = {str(f): f.parts for f in folders if f.parts}
    if level:
        return {name: "/".join(p[:level]) for name, p in parts.items()}
    found = {name: _outer(p) for name, p in parts.items()}
    neighbours = defaultdict(set)
    for p in found.values():
        if len(p) > 1:
            neighbours[p[:-2]].add(p)
    for some in neighbours.values():
        parents = {p[:-1] for p in some}
        names = Counter(p[-1] for p in some)
        repeated = sum(n for n in names.values() if n > 1)
        if 2 * repeated <= len(some):
            continue
        sessions = len(parents) >= len(names)
        for name, p in found.items():
            if p in some:
                found[name] = p[:-1] if sessions else p[-1:]
    return {name: "/".join(p) for name, p in found.items()}


def _outer(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Pass over folders that never name a speaker, inside and outside of the one that does."""
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
        yield "esc", (f"esc:{match[1]}", layout.classes.get(path.stem) or _type(path))
    match = _FREESOUND.match(path.stem)
    if match:
        yield "dns", (f"freesound:{match[2]}", match[1] or _type(path))
    match = _SISEC.match(path.stem)
    if match:
        label = match[1].split("_")[1].rstrip("0123456789")  # Sq: square, Su: subway, Ca: cafe
        yield "sisec", (f"sisec:{match[1]}", label) if match[2] == "noi" else None


def _by_type(layout: Layout, path: PurePosixPath) -> Name:
    return str(path), _type(path)


def _type(path: PurePosixPath) -> str:
    """Return the folder; in none, the name without its trailing number (AirConditioner_3)."""
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
                        f"{path}: not readable as CSV ({error}); get it again, or remove it"
                    ) from None
            return {
                PurePosixPath(row["filename"]).stem: row["category"]
                for row in rows
                if row.get("filename") and row.get("category")
            }
    return {}


def class_filter(
    names: list[Path],
    name_of: Callable[[PurePosixPath], Name | None],
    classes: list[str],
    option: str,
) -> list[Path]:
    """Return the noise files of the wanted classes, compared without case, blanks, - and _.

    A folder below another goes by its own name as well: esc10/rain is rain.

    Raises:
        UserError: if there is none of a class.
    """
    found = defaultdict(list)
    for name in names:
        label = (name_of(PurePosixPath(name.as_posix())) or ("", ""))[1]
        for key in {_plain(label), _plain(label.rpartition("/")[2])}:
            found[key].append(name)
    missing = [c for c in classes if _plain(c) not in found]
    if missing:
        raise UserError(
            f"[data] noise_classes: {missing[0]}: no such noise in {option}; there are "
            f"{', '.join(sorted(found)[:60])}; correct the name"
        )
    return sorted({n for c in classes for n in found[_plain(c)]}, key=lambda p: p.as_posix())


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())
