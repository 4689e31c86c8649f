"""Audio files by name: those below a folder, or those in a list.

Conventions:
    A file's name is its path below its folder with forward slashes and without the suffix, in
    Unicode's composed form: macOS writes an é as two characters, Linux and Windows as one.
    Paths in a list are relative to its folder, or to the current one.

Lists:
    .scp, .txt      a line per file: NAME PATH (Kaldi), or a path alone
    .csv, .tsv      columns id (or name, key, utt) and path (or file, wav, audio, audio_filepath)
    .json           an object of paths by name, a list of paths, or a list of objects with the
                    keys of the columns above
"""

import csv
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from specmask.audio import io, media
from specmask.errors import UserError
from specmask.files import parse_json

NAME_KEYS = ("id", "name", "key", "utt")
PATH_KEYS = ("path", "file", "wav", "audio", "audio_filepath")


def index(source: Path) -> dict[str, Path]:
    """Return the audio files by name: of a folder sorted, of a list in its order.

    Raises:
        UserError: if it does not exist, is neither, is empty, or has a name twice.
    """
    if source.is_file():
        entries = list(_read_list(source))
    elif source.is_dir():
        entries = list(_files_below(source))
    else:
        raise UserError(f"{source}: no such folder; correct the path, or make its files first")
    found: dict[str, Path] = {}
    for full_name, path in entries:
        name = without_suffix(full_name)
        if name in found:
            raise UserError(f"{path}: {found[name].name} has the same name; keep one of them")
        found[name] = path
    if not found:
        raise UserError(f"{source}: no audio files; correct the path, or make its files first")
    return found


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of the audio files of a folder; no video beside its own sound track."""
    paths = io.files(folder)
    names = {without_suffix(p.as_posix()) for p in paths if not media.is_media(p)}
    for path in paths:
        if not media.is_media(path) or without_suffix(path.as_posix()) not in names:
            yield path.as_posix(), folder / path


def without_suffix(name: str) -> str:
    """Return a name without the suffix of an audio file, in composed form.

    >>> without_suffix("a/noisy1_SNRdb_-3.00"), without_suffix("a/b.flac")
    ('a/noisy1_SNRdb_-3.00', 'a/b')
    """
    path = PurePosixPath(name)
    bare = name.removesuffix(path.suffix) if path.suffix.lower() in io.SUFFIXES else name
    return unicodedata.normalize("NFC", bare)


def _read_list(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of every entry of a list."""
    if path.suffix.lower() in io.SUFFIXES:
        raise UserError(f"{path}: an audio file, expected a folder or a list of audio files")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            entries = _of_json(parse_json(text))
        elif path.suffix.lower() in (".csv", ".tsv"):
            table = csv.DictReader(text.splitlines(), dialect=_dialect(path))
            entries = [_of_object(row) for row in table]
        else:
            entries = [_of_line(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(
            f"{path}: not a list of audio files ({error}); expected lines of NAME PATH, a CSV file "
            "with the columns id and path, or JSON with the same keys"
        ) from None
    for name, file in entries:
        beside = path.parent / file
        short = file if not Path(file).is_absolute() else PurePosixPath(file).name
        yield name or short, beside if beside.exists() else Path(file)


def _dialect(path: Path) -> type[csv.Dialect]:
    return csv.excel_tab if path.suffix.lower() == ".tsv" else csv.excel


def _of_line(line: str) -> tuple[str, str]:
    line = line.strip()
    name, _, file = line.partition("\t" if "\t" in line else " ")  # paths may have spaces
    if file.endswith("|"):
        raise ValueError("a command in place of a path is not run; write its output to a file")
    return (name.strip(), file.strip()) if file else ("", name)


def _of_json(content: object) -> list[tuple[str, str]]:
    if isinstance(content, dict):
        return [(str(name), str(file)) for name, file in content.items()]
    if not isinstance(content, list):
        raise ValueError("expected an object or a list")
    return [("", entry) if isinstance(entry, str) else _of_object(entry) for entry in content]


def _of_object(entry: dict[str, str]) -> tuple[str, str]:
    fields = {str(key).lower(): value for key, value in entry.items()}
    name = next((fields[key] for key in NAME_KEYS if fields.get(key)), "")
    file = next((fields[key] for key in PATH_KEYS if fields.get(key)), "")
    if not file:
        raise ValueError(f"an entry has none of {', '.join(PATH_KEYS)}")
    return str(name), str(file)
