"""Which enhanced file belongs to which clean and noisy one, and what the noisy one was made of.

Conventions:
    A file's name is its path below its folder with forward slashes and without the suffix, in
    Unicode's composed form: macOS writes an é as two characters, Linux and Windows as one.
    The condition of a file is the SNR and the type of the noise that it was made with.
"""

import csv
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from specmask.audio import io as audio_io
from specmask.config.types import SPLITS
from specmask.data.names import read_noisy
from specmask.errors import UserError
from specmask.evaluation import baselines, oracles

NOISY = "noisy"
BUILT_IN = (NOISY, *baselines.BASELINES, *oracles.ORACLES)


@dataclass(frozen=True)
class Condition:
    """What a noisy file was made of, as far as it is known.

    Attributes:
        snr_db: None if not known.
        noise_type, speaker: empty if not known.
    """

    snr_db: float | None = None
    noise_type: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class Pair:
    """A file to be scored and its reference.

    Attributes:
        name: of the file to be scored.
        clean, enhanced: where they lie.
    """

    name: str
    clean: Path
    enhanced: Path


@dataclass(frozen=True)
class Task:
    """All that a worker needs to make a row of the table.

    Attributes:
        system: what made the enhanced file.
        name: of the noisy file, or of the enhanced one where there is none.
        clean_file: path below the clean folder.
        clean, noisy, enhanced: where they lie; with a baseline, enhanced is the noisy file.
        baseline: name of the baseline or oracle to apply first, or empty.
        condition: what the noisy file was made of.
        ideal: settings of the oracle, if it is one.
    """

    system: str
    name: str
    clean_file: str
    clean: Path
    noisy: Path | None
    enhanced: Path
    baseline: str
    condition: Condition
    ideal: oracles.Settings | None = None


def pair(clean_dir: Path, enhanced_dir: Path) -> list[Pair]:
    """Find the clean file of every enhanced one, and see that no clean file is left over.

    Files belong together that have the same name, the same name without folders, or the name that
    the noisy one contains: see :mod:`specmask.data.names`. One clean file may have many enhanced
    ones.

    Returns:
        pairs, sorted by name.

    Raises:
        UserError: if a folder is missing or empty, or a file has no or no clear counterpart.
    """
    clean, enhanced = _index(clean_dir), _index(enhanced_dir)
    by_stem: dict[str, list[str]] = {}
    for name in clean:
        by_stem.setdefault(stem(name), []).append(name)
    found = {name: _counterpart(name, clean, by_stem, clean_dir) for name in enhanced}
    orphans = [name for name in enhanced if found[name] is None]
    if orphans:
        raise UserError(
            f"{enhanced[orphans[0]]}: no clean file for it in {clean_dir} ({len(orphans)} of "
            f"{len(enhanced)} files have none); expected the same name, or NAME_clnspN.wav for "
            "clnspN.wav; remove them or name another folder"
        )
    left = sorted(clean.keys() - found.values())
    if left:
        raise UserError(
            f"{enhanced_dir}: no file for {clean[left[0]]} ({len(left)} of {len(clean)} clean "
            "files have none); process all of them, or score against a folder of fewer"
        )
    return [Pair(name, clean[found[name]], path) for name, path in enhanced.items()]


def tasks(
    clean_dir: Path,
    systems: Mapping[str, Path],
    noisy_dir: Path | None = None,
    baseline_names: Sequence[str] = (),
    by: Path | None = None,
    ideal: oracles.Settings | None = None,
) -> list[Task]:
    """Return what is to be scored, system by system.

    Args:
        clean_dir: the references.
        systems: folder of enhanced files by name of the system.
        noisy_dir: the noisy files, scored as the system ``noisy``.
        baseline_names: of :data:`specmask.evaluation.baselines.BASELINES` and
            :data:`specmask.evaluation.oracles.ORACLES`, applied to the noisy files.
        by: manifest with the condition of every file; without one it is the manifest that
            data_prep wrote beside the data, or else the names tell what they can.
        ideal: settings of the oracles; needed where one is named.

    Raises:
        UserError: if files have no counterpart, or a name is unknown or taken.
    """
    folders = _folders(systems, noisy_dir, baseline_names)
    noisy = pair(clean_dir, noisy_dir) if noisy_dir else []
    manifest = by or manifest_beside(noisy_dir or clean_dir)
    conditions = read_manifest(manifest) if manifest else {}
    found, unknown = [], []
    for system, folder in folders.items():
        pairs = noisy if folder == noisy_dir else pair(clean_dir, folder)
        match = _noisy_of(pairs, noisy, folder, noisy_dir) if noisy_dir else {}
        for p in pairs:
            origin = match.get(p)
            name = origin.name if origin else p.name
            listed = conditions.get(name) or conditions.get(stem(name))
            if not listed:
                unknown.append(name)
            found.append(
                Task(
                    system=system,
                    name=name,
                    clean_file=p.clean.relative_to(clean_dir).as_posix(),
                    clean=p.clean,
                    noisy=origin.enhanced if origin else None,
                    enhanced=p.enhanced,
                    baseline=system if system in baseline_names else "",
                    condition=listed or condition_of(stem(name)),
                    ideal=ideal if system in oracles.ORACLES else None,
                )
            )
    if by and unknown:
        raise UserError(
            f"--by {by}: no entry for {min(unknown)} ({len(set(unknown))} files have none); "
            "name the manifest of these files"
        )
    return found


def _folders(
    systems: Mapping[str, Path], noisy_dir: Path | None, baseline_names: Sequence[str]
) -> dict[str, Path]:
    """Return the folder that every system reads, those that are built in first."""
    folders = {NOISY: noisy_dir} if noisy_dir else {}
    for name in baseline_names:
        if name not in BUILT_IN[1:]:
            raise UserError(f"--baseline {name}: unknown; known are {', '.join(BUILT_IN[1:])}")
        if noisy_dir is None:
            raise UserError(f"--baseline {name}: no noisy files to run it on; add --noisy DIR")
        folders[name] = noisy_dir
    taken = {*BUILT_IN, *folders} & systems.keys()
    if taken:
        raise UserError(f"--system {min(taken)}=...: this name is taken; choose another")
    return {**folders, **systems}


def _noisy_of(
    pairs: Sequence[Pair], noisy: Sequence[Pair], folder: Path, noisy_dir: Path
) -> dict[Pair, Pair]:
    """Find the noisy file of every enhanced one: by name, or as the only one of its clean file."""
    by_name = {p.name: p for p in noisy}
    by_stem, by_clean = {}, {}
    for p in noisy:
        by_stem.setdefault((stem(p.name), p.clean), []).append(p)
        by_clean.setdefault(p.clean, []).append(p)
    found, taken = {}, {}
    for p in pairs:
        same = by_name.get(p.name)
        if same and same.clean == p.clean:
            matches = [same]
        else:
            matches = by_stem.get((stem(p.name), p.clean)) or by_clean[p.clean]
        if len(matches) > 1:
            raise UserError(
                f"{p.enhanced}: {len(matches)} noisy files in {noisy_dir} fit, among them "
                f"{matches[0].enhanced.name}; name enhanced files like the noisy ones"
            )
        other = taken.setdefault(matches[0], p)
        if other is not p:
            raise UserError(
                f"{p.enhanced}: belongs to the same noisy file as {other.enhanced}, "
                f"{matches[0].enhanced}; keep one of them, or score two folders"
            )
        found[p] = matches[0]
    left = [p for p in noisy if p not in taken]
    if left:
        raise UserError(
            f"{folder}: no file for {left[0].enhanced} ({len(left)} of {len(noisy)} noisy files "
            "have none); process all of them, or score against a folder of fewer"
        )
    return found


def read_manifest(path: Path) -> dict[str, Condition]:
    """Read the conditions of noisy files by their name, with folders where the manifest has them.

    Args:
        path: a manifest of data_prep (CSV with noisy_file, snr_db, noise_type), or a JSON list
            of objects with id, snr_db and noise; a speaker is read where there is one.

    Raises:
        UserError: if it is neither, or tells two things of one file.
    """
    expected = (
        "expected a CSV file with the columns noisy_file, snr_db, noise_type, or a JSON list of "
        "objects with id, snr_db, noise"
    )
    found: dict[str, Condition] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = [(r["id"], r["snr_db"], r["noise"], r.get("speaker")) for r in json.loads(text)]
        else:
            rows = [
                (r["noisy_file"], r["snr_db"], r["noise_type"], r.get("speaker"))
                for r in csv.DictReader(text.splitlines())
            ]
        for file, snr, noise, speaker in rows:
            condition = Condition(_number(snr), str(noise or ""), str(speaker or ""))
            name = without_suffix(str(file))
            if found.setdefault(name, condition) != condition:
                raise UserError(f"{path}: two different entries for {file}; keep the right one")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name a manifest with --by") from None
    except KeyError as error:
        raise UserError(f"{path}: an entry has no {error}; {expected}") from None
    except (ValueError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise UserError(f"{path}: not a manifest ({error}); {expected}") from None
    return found


def manifest_beside(folder: Path) -> Path | None:
    """Return the manifest that data_prep wrote beside a folder of its files, if there is one."""
    for split in SPLITS:
        path = folder.parent / f"manifest_{split}.csv"
        if folder.name.endswith(f"_{split}") and path.is_file():
            return path
    return None


def condition_of(noisy_stem: str) -> Condition:
    """Return what the name of a noisy file tells, without its folders and suffix."""
    name = read_noisy(noisy_stem)
    return Condition(name.snr_db, name.noise_type) if name else Condition()


def stem(name: str) -> str:
    """Return a name without its folders."""
    return PurePosixPath(name).name


def without_suffix(name: str) -> str:
    """Drop the suffix of an audio file only, noisy1_SNRdb_-3.00 has none; compose accents."""
    path = PurePosixPath(name)
    bare = name.removesuffix(path.suffix) if path.suffix.lower() in audio_io.SUFFIXES else name
    return unicodedata.normalize("NFC", bare)


def _index(folder: Path) -> dict[str, Path]:
    """Return the audio files below a folder by name, in order."""
    if folder.is_file():
        raise UserError(f"{folder}: a file, expected a folder of audio files")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; correct the path, or make its files first")
    found: dict[str, Path] = {}
    for relative in audio_io.files(folder):
        name = without_suffix(relative.as_posix())
        if name in found:
            raise UserError(
                f"{folder / relative}: {found[name].name} has the same name; keep one of them"
            )
        found[name] = folder / relative
    if not found:
        raise UserError(f"{folder}: no audio files; correct the path, or make its files first")
    return found


def _counterpart(
    name: str, clean: Mapping[str, Path], by_stem: Mapping[str, list[str]], clean_dir: Path
) -> str | None:
    if name in clean:
        return name
    bare = stem(name)
    noisy = read_noisy(bare)
    for candidate in (bare, noisy.clean) if noisy else (bare,):
        names = by_stem.get(candidate, [])
        if len(names) > 1:
            raise UserError(
                f"{name}: {len(names)} clean files in {clean_dir} fit, among them {names[0]} and "
                f"{names[1]}; keep the folders of the clean files in the enhanced ones"
            )
        if names:
            return names[0]
    return None


def _number(text: object) -> float | None:
    """Return a number, None for nothing or NaN; raises ValueError or TypeError otherwise."""
    number = None if text in ("", None) else float(text)
    return None if number is None or math.isnan(number) else number
