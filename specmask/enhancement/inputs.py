"""Inputs: the recordings to enhance, with the paths of their results.

Conventions:
    A result is in the target folder under the input's name and subfolder. It never replaces an
    input, and is never outside the target folder.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specmask.audio import io as audio_io
from specmask.enhancement.file import AS_INPUT, FORMATS, RARE_SUFFIXES
from specmask.errors import UserError


@dataclass(frozen=True)
class Recording:
    """A file to enhance: its path, the path of its result, and its name below the input folder."""

    source: Path
    target: Path
    name: Path

    def format(self, asked: str) -> str:
        """Return the format of the result where one was asked for: as input, wav or flac.

        What became WAV by its name, because its own suffix is not written, is written as WAV.
        """
        is_renamed = self.target.suffix.lower() != self.source.suffix.lower()
        return "wav" if asked == AS_INPUT and is_renamed else asked


def find_recordings(
    sources: Sequence[Path], target: Path, glob: str = "*", format: str = AS_INPUT
) -> list[Recording]:
    """Return the recordings of folders and files with the paths of their results in a folder.

    Args:
        sources: folders or files.
        target: folder for the results.
        glob: only files of folders whose name or last part of the path matches.
        format: of the results: as input, wav or flac.

    Raises:
        UserError: if there are none, or a result would replace an input or another result, or be
            outside the target folder.
    """
    found: list[tuple[Path, Path]] = []  # folder and name in it
    inside = target.resolve()
    real_folder = functools.cache(Path.resolve)  # each is looked up once

    def real(path: Path) -> Path:
        return path.resolve() if path.is_symlink() else real_folder(path.parent) / path.name

    def is_inside(path: Path) -> bool:
        return path.parent == inside or inside in path.parents

    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file; name a folder for the results")
    for source in sources:
        root, names = _audio_files(source, glob)
        if root.resolve() == inside or (target.is_dir() and target.samefile(root)):
            raise UserError(
                f"{target}: is the input folder itself; name another folder for the output"
            )
        # Results of an earlier run are not inputs.
        found += [(root, n) for n in names if not is_inside(real(root / n))]
    if not found:
        raise UserError(
            f"{sources[0]}: all its recordings are results in {target}; name a folder of recordings"
        )
    results = _result_names([name for _, name in found], format)
    recordings = [
        Recording(root / name, target / result, name)
        for (root, name), result in zip(found, results, strict=True)
    ]
    inputs = {real(recording.source) for recording in recordings}
    first: dict[Path, Recording] = {}  # by result
    for recording in recordings:
        place = real_folder(recording.target.parent) / recording.target.name
        other = first.setdefault(place, recording)
        if other is not recording:
            raise UserError(
                f"{other.source} and {recording.source}: both would become {recording.target}; "
                "enhance them into two folders, or name the folder above them"
            )
        if place in inputs:
            raise UserError(f"{recording.target}: is one of the inputs; name another output folder")
        if not is_inside(place):
            raise UserError(
                f"{recording.target}: leads out of {target} through a link; name another output "
                "folder"
            )
    return recordings


def is_single(sources: Sequence[Path], target: Path) -> bool:
    """Return whether the target is not a folder, but the path for the result of a single file."""
    is_audio = target.suffix.lower() in audio_io.SUFFIXES
    return len(sources) == 1 and sources[0].is_file() and is_audio and not target.is_dir()


def single_recording(source: Path, target: Path, overwrite: bool) -> tuple[Recording, str]:
    """Return a recording whose result has a path of its own, and the format of that path's suffix.

    Raises:
        UserError: if the suffix is unknown, or the result would replace a file.
    """
    _audio_files(source, "*")
    suffix = target.suffix.lower()
    is_same = suffix == source.suffix.lower()
    if suffix not in FORMATS and not (is_same and suffix in RARE_SUFFIXES):
        raise UserError(
            f"{target}: no format of that suffix can be written; expected a folder, or one of "
            f"{' '.join(sorted(FORMATS))}"
        )
    if target.exists() and target.samefile(source):
        raise UserError(f"{target}: is the input itself; name another file")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists; --overwrite replaces it, or name another file")
    format = AS_INPUT if is_same else FORMATS[suffix]
    return Recording(source, target, Path(source.name)), format


def _audio_files(source: Path, glob: str) -> tuple[Path, list[Path]]:
    """Return the folder and the names in it of one recording, or of all below a folder."""
    if source.is_file():
        return source.parent, [Path(source.name)]
    advice = (
        "name a recording or a folder of some; without IN, python data/data_prep.py makes a test "
        "set first"
    )
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder; {advice}")
    names = [name for name in audio_io.files(source) if name.match(glob)]
    if not names:
        found = "no audio files" + ("" if glob == "*" else f" that match {glob}")
        raise UserError(f"{source}: {found}; {advice}")
    return source, names


def _result_names(names: Sequence[Path], format: str) -> list[Path]:
    """Return the names of the results: another suffix for another format, no two the same.

    What cannot be written in its own format becomes WAV.
    """
    suffixes = [_result_suffix(name.suffix, format) for name in names]
    new = [name.with_suffix(suffix) for name, suffix in zip(names, suffixes, strict=True)]
    counts = Counter(new)
    results = []
    for name, suffix, result in zip(names, suffixes, new, strict=True):
        is_kept = format == AS_INPUT and result == name
        long = name.with_name(name.name + suffix)
        results.append(long if counts[result] > 1 and not is_kept else result)
    return results


def _result_suffix(suffix: str, format: str) -> str:
    if format != AS_INPUT:
        return f".{format}"
    return suffix if suffix.lower() in FORMATS else ".wav"
