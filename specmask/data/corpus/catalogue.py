"""Catalogue of known corpora: addresses, licences and sizes, from catalogue.toml."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        url: its address.
        size: in bytes, about; 0 if not known. The server's own number is the one that counts.
        md5: as published; empty if none is known.
        folder: below the corpus's own folder, where it is unpacked.
    """

    url: str
    size: int = 0
    md5: str = ""
    folder: str = "."

    @property
    def name(self) -> str:
        """File name."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Corpus:
    """One corpus.

    Attributes:
        title, licence, home: for the screen; home is a page on it.
        archives: what is downloaded.
        use: options of the INI file, with {} for the folder.
    """

    title: str
    licence: str
    home: str
    archives: tuple[Archive, ...]
    use: str


def load() -> dict[str, Corpus]:
    """Return the known corpora by name.

    >>> load()["noizeus"].archives[0].name
    'clean.zip'
    """
    text = resources.files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: _corpus(**entry) for name, entry in tomllib.loads(text).items()}


def _corpus(archives: list[dict[str, Any]], **facts: str) -> Corpus:
    return Corpus(archives=tuple(Archive(**a) for a in archives), **facts)
