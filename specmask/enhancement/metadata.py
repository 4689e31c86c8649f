"""Metadata that libsndfile does not copy: speaker masks and chunks of WAV, comments of FLAC."""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Chunks of WAV that stay valid for a file of the same length and rate.
KEPT_CHUNKS = (b"bext", b"cue ", b"iXML", b"axml", b"smpl", b"inst")
ADJACENT = b"adtl"  # kind of a LIST chunk: the labels of cue points
MOST_BYTES = 1 << 24  # of a chunk
WAVE_FORMAT_EXTENSIBLE = 0xFFFE
UNKNOWN_SIZE = 0xFFFFFFFF
MASK_OFFSET = 20  # of the speaker mask in a fmt chunk of that format
FLAC_COMMENTS, FLAC_CUE_SHEET, FLAC_PICTURE = 4, 5, 6  # types of metadata blocks
# Tags that libsndfile reads and writes: results keep them.
TAGS = ["title", "copyright", "software", "artist", "comment", "date", "album", "license"]
TAGS += ["tracknumber", "genre"]


@dataclass(frozen=True)
class Metadata:
    """Metadata of a file beyond its tags.

    Attributes:
        speakers: the speaker mask of a multichannel WAV file, 0 without one.
        chunks: (name, content) of a WAV file, to be copied.
        other: names of what cannot be copied.
    """

    speakers: int = 0
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    other: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of everything, for a message."""
        chunks = [name.decode().strip() for name, _ in self.chunks]
        return [*(["speaker mask"] if self.speakers else []), *chunks, *self.other]


def read_metadata(path: Path) -> Metadata:
    """Return the metadata of a WAV or FLAC file; of another or a damaged one, none."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if magic in (b"RIFF", b"RF64"):
                return _of_wav(file)
            return Metadata(other=tuple(_of_flac(file))) if magic == b"fLaC" else Metadata()
    except (OSError, struct.error, UnicodeDecodeError):
        return Metadata()


def write_metadata(path: Path, metadata: Metadata) -> list[str]:
    """Add metadata to a complete WAV file; return the names of what it does not take."""
    with path.open("r+b") as file:
        header = file.read(12)
        if header[:4] not in (b"RIFF", b"RF64") or header[8:] != b"WAVE":
            return metadata.names
        speakers, chunks = metadata.speakers, metadata.chunks
        for name, start, size in _chunks(file):
            if name == b"fmt " and speakers and size >= MASK_OFFSET + 4:
                if struct.unpack("<H", file.read(2))[0] == WAVE_FORMAT_EXTENSIBLE:
                    file.seek(start + MASK_OFFSET)
                    file.write(struct.pack("<I", speakers))
                    speakers = 0
                break
        if chunks and header[:4] == b"RIFF":
            file.seek(0, os.SEEK_END)
            for name, content in chunks:
                padding = b"\0" * (file.tell() % 2)
                file.write(padding + name + struct.pack("<I", len(content)) + content)
            end = file.tell()
            file.seek(4)
            file.write(struct.pack("<I", end - 8))
            chunks = ()
    return Metadata(speakers, chunks, metadata.other).names


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of the chunks of a RIFF file."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, size = header[:4], struct.unpack("<I", header[4:])[0]
        if not (name.isascii() and name.decode().isprintable()):
            return  # samples behind a wrong size
        start = file.tell()
        yield name, start, size
        file.seek(start + size + size % 2)


def _of_wav(file: BinaryIO) -> Metadata:
    speakers, chunks = 0, []
    for name, start, size in _chunks(file):
        file.seek(start)
        if name == b"fmt " and size >= MASK_OFFSET + 4:
            form = file.read(MASK_OFFSET + 4)
            if struct.unpack_from("<H", form)[0] == WAVE_FORMAT_EXTENSIBLE:
                (speakers,) = struct.unpack_from("<I", form, MASK_OFFSET)
        elif name == b"data" and size == UNKNOWN_SIZE:  # of RF64: what follows is not searched
            break
        elif size <= MOST_BYTES and (name in KEPT_CHUNKS or name == b"LIST"):
            content = file.read(size)
            if len(content) == size and (name != b"LIST" or content[:4] == ADJACENT):
                chunks.append((name, content))
    return Metadata(speakers, tuple(chunks))


def _of_flac(file: BinaryIO) -> Iterator[str]:
    """Yield the names of the metadata that libsndfile does not copy."""
    last = False
    while not last and len(header := file.read(4)) == 4:
        last, kind = bool(header[0] & 0x80), header[0] & 0x7F
        size = int.from_bytes(header[1:], "big")
        start = file.tell()
        if kind == FLAC_COMMENTS:
            block = io.BytesIO(file.read(size))
            (vendor,) = struct.unpack("<I", block.read(4))
            block.seek(vendor, 1)
            (count,) = struct.unpack("<I", block.read(4))
            for _ in range(count):
                (length,) = struct.unpack("<I", block.read(4))
                name = block.read(length).partition(b"=")[0].decode().upper()
                if name.lower() not in (*TAGS, "encoder"):  # which libsndfile makes itself
                    yield name
        elif kind == FLAC_CUE_SHEET:
            yield "cue sheet"
        elif kind == FLAC_PICTURE:
            yield "picture"
        file.seek(start + size)
