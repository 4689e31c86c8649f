"""Pairs of enhanced, clean and noisy files, and the conditions of the noisy ones.

Conventions:
    The names of files are those of :mod:`specmask.evaluation.file_lists`.
    The condition of a file is the SNR and the type of its noise, and its speaker.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from specmask.config.types import SPLITS
from specmask.data.names import read_noisy, read_snr
from specmask.errors import UserError
from specmask.evaluation import baselines, file_lists, oracles
from specmask.files import parse_json

NOISY = "noisy"
BUILT_IN = (NOISY, *baselines.BASELINES, *oracles.ORACLES)


@dataclass(frozen=True)
class Condition:
    """SNR, noise and speaker of a noisy file, as far as they are known.

    Attributes:
        snr_db: None if not known.
        noise_type, speaker: empty if not known.
    """

    snr_db: float | None = None
    noise_type: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class FilePair:
    """A file to be scored and its reference.

    Attributes:
        name, clean_name: of the file to be scored and of the reference.
        clean, enhanced: their paths.
    """

    name: str
    clean_name: str
    clean: Path
    enhanced: Path


@dataclass(frozen=True)
class Item:
    """A file of one system to be scored: all that a worker needs to make its row.

    Attributes:
        system: name of the system that made the enhanced file.
        name: of the noisy file, or of the enhanced one where there is none.
        clean_file: path below the clean folder, or the name in a list; empty without reference.
        clean, noisy, enhanced: paths; with a baseline, enhanced is the noisy file. Without
            reference, clean is None.
        baseline: name of the baseline or oracle to apply first, or empty.
        condition: of the noisy file.
        ideal: settings of the oracle, if it is one.
    """

    system: str
    name: str
    clean_file: str
    clean: Path | None
    noisy: Path | None
    enhanced: Path
    baseline: str
    condition: Condition
    ideal: oracles.Settings | None = None


def pair(clean_source: Path, enhanced_source: Path) -> list[FilePair]:
    """Find the clean file of every enhanced one.

    Files belong together that have the same name, the same name without folders, or the name that
    the noisy one contains: see :mod:`specmask.data.names`. One clean file may have many enhanced
    ones. An ending that all enhanced files share, ``_TOOL``, is dropped from their names if no
    pairs are found otherwise.

    Args:
        clean_source, enhanced_source: folders, or lists of files: see
            :mod:`specmask.evaluation.file_lists`.

    Returns:
        pairs, sorted by name.

    Raises:
        UserError: if a folder is missing or empty, or a file has no or no clear counterpart.
    """
    clean, enhanced = file_lists.index(clean_source), file_lists.index(enhanced_source)
    by_stem: dict[str, list[str]] = {}
    for name in clean:
        by_stem.setdefault(stem(name), []).append(name)
    counterpart = partial(_counterpart, clean=clean, by_stem=by_stem, source=clean_source)
    enhanced = _without_ending(enhanced, counterpart)
    counterparts = {name: counterpart(name) for name in enhanced}
    found = {name: other for name, other in counterparts.items() if other is not None}
    orphans = [name for name in enhanced if name not in found]
    if orphans:
        raise UserError(
            f"{enhanced[orphans[0]]}: no clean file for it in {clean_source} ({len(orphans)} of "
            f"{len(enhanced)} files have none); expected the same name, or NAME_clnspN.wav for "
            "clnspN.wav; remove them or name another folder"
        )
    left = sorted(clean.keys() - found.values())
    if left:
        raise UserError(
            f"{enhanced_source}: no file for {clean[left[0]]} ({len(left)} of {len(clean)} clean "
            "files have none); process all of them, or score against a folder of fewer"
        )
    return [FilePair(name, found[name], clean[found[name]], p) for name, p in enhanced.items()]


def _without_ending(
    files: Mapping[str, Path], counterpart: Callable[[str], str | None]
) -> dict[str, Path]:
    """Drop the ending of a tool that all names share, if only then all have a counterpart."""
    some = min(files, key=len)
    starts = [i for i in reversed(range(len(some))) if some[i] in "_-. "]
    endings = [some[i:] for i in starts if all(name.endswith(some[i:]) for name in files)]
    for ending in ("", *endings):
        names = {name.removesuffix(ending): path for name, path in files.items()}
        if all(name and counterpart(name) is not None for name in names):
            return names
    return dict(files)


def items(
    clean_dir: Path | None,
    systems: Mapping[str, Path],
    noisy_dir: Path | None = None,
    baseline_names: Sequence[str] = (),
    by: Path | None = None,
    ideal: oracles.Settings | None = None,
) -> list[Item]:
    """Return the items to be scored, system by system.

    Args:
        clean_dir: the references; None: every file is scored without one.
        systems: enhanced files by name of the system.
        noisy_dir: the noisy files, scored as the system ``noisy``.
        baseline_names: of :data:`specmask.evaluation.baselines.BASELINES` and
            :data:`specmask.evaluation.oracles.ORACLES`, applied to the noisy files.
        by: manifest with the condition of every file; without one it is the manifest that
            data_prep wrote beside the data, or else conditions are read from the names.
        ideal: settings of the oracles; needed where one is named.

    Files are in a folder, or in a list: see :mod:`specmask.evaluation.file_lists`.

    Raises:
        UserError: if files have no counterpart, or a name is unknown or used twice.
    """
    sources = _sources(systems, noisy_dir, baseline_names)
    noisy = _pairs(clean_dir, noisy_dir, None) if noisy_dir else []
    manifest = by or manifest_beside(noisy_dir or clean_dir or next(iter(sources.values())))
    conditions = read_manifest(manifest) if manifest else {}
    found, unknown = [], []
    for system, source in sources.items():
        pairs = noisy if source == noisy_dir else _pairs(clean_dir, source, noisy_dir)
        match: dict[FilePair, FilePair] = {}
        if noisy_dir and clean_dir:
            match = _noisy_of(pairs, noisy, source, noisy_dir)
        elif source == noisy_dir:
            match = {p: p for p in noisy}
        for p in pairs:
            origin = match.get(p)
            name = origin.name if origin else p.name
            listed = conditions.get(name) or conditions.get(stem(name))
            if not listed:
                unknown.append(name)
            found.append(
                Item(
                    system=system,
                    name=name,
                    clean_file=_clean_file(p, clean_dir),
                    clean=p.clean if clean_dir else None,
                    noisy=origin.enhanced if origin else None,
                    enhanced=p.enhanced,
                    baseline=system if system in baseline_names else "",
                    condition=listed or condition_of(name),
                    ideal=ideal if system in oracles.ORACLES else None,
                )
            )
    if by and unknown:
        raise UserError(
            f"--by {by}: no entry for {min(unknown)} ({len(set(unknown))} files have none); "
            "name the manifest of these files"
        )
    return found


def _pairs(clean_dir: Path | None, source: Path, noisy_dir: Path | None) -> list[FilePair]:
    """Pair files with their references; without references, each file is its own."""
    if clean_dir:
        return pair(clean_dir, source)
    found = file_lists.index(source)
    if noisy_dir:
        noisy = file_lists.index(noisy_dir)
        found = _without_ending(found, lambda name: name if name in noisy else None)
    return [FilePair(name, "", path, path) for name, path in found.items()]


def _clean_file(p: FilePair, clean_dir: Path | None) -> str:
    if clean_dir and p.clean.is_relative_to(clean_dir):
        return p.clean.relative_to(clean_dir).as_posix()
    return p.clean_name


def _sources(
    systems: Mapping[str, Path], noisy_dir: Path | None, baseline_names: Sequence[str]
) -> dict[str, Path]:
    """Return the files of every system, those that are built in first."""
    folders = {NOISY: noisy_dir} if noisy_dir else {}
    for name in baseline_names:
        if name not in BUILT_IN[1:]:
            raise UserError(f"--baseline {name}: unknown; known are {', '.join(BUILT_IN[1:])}")
        if noisy_dir is None:
            raise UserError(f"--baseline {name}: no noisy files to run it on; add --noisy DIR")
        folders[name] = noisy_dir
    repeated = {*BUILT_IN, *folders} & systems.keys()
    if repeated:
        raise UserError(f"--system {min(repeated)}=...: this name is used already; choose another")
    return {**folders, **systems}


def _noisy_of(
    pairs: Sequence[FilePair], noisy: Sequence[FilePair], folder: Path, noisy_dir: Path
) -> dict[FilePair, FilePair]:
    """Find the noisy file of every enhanced one: by name, or as the only one of its clean file.

    In the second case they do not belong together if both names have an SNR and these differ.
    """
    by_name = {p.name: p for p in noisy}
    by_stem: dict[tuple[str, Path], list[FilePair]] = {}
    by_clean: dict[Path, list[FilePair]] = {}
    for p in noisy:
        by_stem.setdefault((stem(p.name), p.clean), []).append(p)
        by_clean.setdefault(p.clean, []).append(p)
    found: dict[FilePair, FilePair] = {}
    used: dict[FilePair, FilePair] = {}
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
        snr_db, noisy_snr_db = (
            condition_of(stem(name)).snr_db for name in (p.name, matches[0].name)
        )
        if None not in (snr_db, noisy_snr_db) and snr_db != noisy_snr_db:
            raise UserError(
                f"{p.enhanced}: {snr_db:g} dB by its name, but its clean file has one noisy file, "
                f"{matches[0].enhanced}, of {noisy_snr_db:g} dB; enhance the noisy files again "
                "into an empty folder"
            )
        other = used.setdefault(matches[0], p)
        if other is not p:
            raise UserError(
                f"{p.enhanced}: belongs to the same noisy file as {other.enhanced}, "
                f"{matches[0].enhanced}; keep one of them, or score two folders"
            )
        found[p] = matches[0]
    left = [p for p in noisy if p not in used]
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
        UserError: if it is neither, or has two entries of one file that differ.
    """
    expected = (
        "expected a CSV file with the columns noisy_file, snr_db, noise_type, or a JSON list of "
        "objects with id, snr_db, noise"
    )
    found: dict[str, Condition] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = [(r["id"], r["snr_db"], r["noise"], r.get("speaker")) for r in parse_json(text)]
        else:
            rows = [
                (r["noisy_file"], r["snr_db"], r["noise_type"], r.get("speaker"))
                for r in csv.DictReader(text.splitlines())
            ]
        for file, snr, noise, speaker in rows:
            condition = Condition(_number(snr), str(noise or ""), str(speaker or ""))
            name = file_lists.without_suffix(str(file))
            if found.setdefault(name, condition) != condition:
                raise UserError(f"{path}: two different entries for {file}; keep the right one")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name a manifest with --by") from None
    except KeyError as error:
        raise UserError(f"{path}: an entry has no {error}; {expected}") from None
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path}: not a manifest ({error}); {expected}") from None
    return found


def manifest_beside(folder: Path) -> Path | None:
    """Return the manifest that data_prep wrote beside a folder of its files, if there is one."""
    for split in SPLITS:
        path = folder.parent / f"manifest_{split}.csv"
        if folder.name.endswith(f"_{split}") and path.is_file():
            return path
    return None


def condition_of(name: str) -> Condition:
    """Return the condition in the name of a noisy file, with or without folders.

    >>> condition_of("sp01_car_sn5"), condition_of("snr_-5/a"), condition_of("book_snr12_3")
    (Condition(snr_db=5.0, noise_type='car', speaker=''), \
Condition(snr_db=-5.0, noise_type='', speaker=''), \
Condition(snr_db=12.0, noise_type='', speaker=''))
    """
    noisy = read_noisy(stem(name))
    if noisy and noisy.snr_db is not None:
        return Condition(noisy.snr_db, noisy.noise_type)
    return Condition(read_snr(name), noisy.noise_type if noisy else "")


def stem(name: str) -> str:
    """Return a name without its folders."""
    return PurePosixPath(name).name


def _counterpart(
    name: str, clean: Mapping[str, Path], by_stem: Mapping[str, list[str]], source: Path
) -> str | None:
    if name in clean:
        return name
    bare = stem(name)
    noisy = read_noisy(bare)
    for candidate in (bare, noisy.clean) if noisy else (bare,):
        names = by_stem.get(candidate, [])
        if len(names) > 1:
            raise UserError(
                f"{name}: {len(names)} clean files in {source} fit, among them {names[0]} and "
                f"{names[1]}; keep the folders of the clean files in the enhanced ones"
            )
        if names:
            return names[0]
    return None


def _number(value: str | float | None) -> float | None:
    """Return a number, None for nothing or NaN; raises ValueError or TypeError otherwise."""
    number = math.nan if value in ("", None) else float(value)  # type: ignore[arg-type]  # no None
    return None if math.isnan(number) else number
