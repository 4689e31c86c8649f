"""One recording from file to file: block by block, with its rate, sample format and tags."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from specmask import files
from specmask.audio import io as audio_io
from specmask.audio.io import AudioError, AudioFile
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.metadata import TAGS, Metadata, read_metadata, write_metadata
from specmask.enhancement.streaming import Streamer

WRITE_FRAMES = 1 << 14  # libsndfile's Vorbis encoder overflows its stack on long writes
WAV_BYTES = 4_000_000_000  # a WAV file holds less than 4 GiB; RF64 is the same with long sizes
AS_INPUT = "as input"
# Suffix of an output file -> its format.
FORMATS = {f".{name}": name for name in ("wav", "flac", "mp3", "ogg", "aiff", "w64", "caf", "au")}
FORMATS |= {".wave": "wav", ".rf64": "rf64", ".oga": "ogg", ".opus": "opus", ".snd": "au"}
FORMATS |= {".aif": "aiff", ".aifc": "aiff"}
# Written in place of such an input only.
RARE_SUFFIXES = (".sph", ".nist", ".voc")
# They write whole blocks: the file would get longer.
BLOCK_CODECS = ("IMA_ADPCM", "MS_ADPCM", "GSM610", "NMS_ADPCM")
FLOATS = ("FLOAT", "DOUBLE", "VORBIS", "OPUS")  # subtypes that hold more than full scale
UNCOMPRESSED = ["PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
SAMPLE_BYTES = {"PCM_U8": 1, "PCM_S8": 1, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True)
class Layout:
    """The properties of an input file that its output keeps."""

    rate: int  # Hz
    channels: int
    frames: int
    format: str  # as libsndfile names it, e.g. WAV
    subtype: str  # e.g. PCM_16
    endian: str
    tags: dict[str, str]
    metadata: Metadata

    @classmethod
    def of(cls, file: AudioFile, path: Path) -> "Layout":
        """Return the layout of an open file."""
        return cls(
            file.samplerate,
            file.channels,
            file.frames,
            file.format,
            file.subtype,
            file.endian,
            file.tags(TAGS),
            read_metadata(path),
        )


@dataclass(frozen=True)
class Enhanced:
    """The figures of an enhanced file."""

    seconds: float
    limited: int = 0  # samples above full scale
    lost: tuple[str, ...] = ()  # names of what the output does not keep, e.g. cue sheet


def enhance_file(
    source: Path,
    target: Path,
    model: Enhancer,
    block_seconds: float,
    format: str = AS_INPUT,
) -> Enhanced:
    """Enhance a file, block by block, into another one that appears when it is complete.

    Args:
        source, target: two files.
        model: what :func:`specmask.load` returns.
        block_seconds: audio held in memory at a time.
        format: of the target: as input, or one of the values of :data:`FORMATS`.

    Raises:
        AudioError: if the source cannot be used.
    """
    with audio_io.AudioFile(source) as file:
        size = max(1, round(block_seconds * file.samplerate))
        layout = Layout.of(file, source)
        return enhance_blocks(file.blocks(size), layout, target, model, format)


def enhance_blocks(
    blocks: Iterable[np.ndarray],
    layout: Layout,
    target: Path,
    model: Enhancer,
    format: str = AS_INPUT,
    progress: Callable[[float], object] = lambda share: None,
) -> Enhanced:
    """Enhance the blocks of a file, float32 [samples, channels], into another one.

    ``progress`` is called with the share of the file that each block was; for the rest see
    :func:`enhance_file`.
    """
    streamer = Streamer(model, layout.channels, layout.rate)
    with new_file(target, layout, format) as out:
        for block in blocks:
            out.write(streamer.feed(block))
            progress(len(block) / layout.frames)
        seconds = streamer.samples_in / layout.rate
        out.write(streamer.flush())
    return Enhanced(seconds, out.limited, tuple(out.lost))


def write_file(samples: np.ndarray, layout: Layout, target: Path, format: str) -> Enhanced:
    """Write enhanced samples, float32 [samples, channels], as a file."""
    with new_file(target, layout, format) as out:
        out.write(samples)
    return Enhanced(len(samples) / layout.rate, out.limited, tuple(out.lost))


@contextmanager
def new_file(target: Path, layout: Layout, format: str) -> Iterator["Writer"]:
    """Give a writer whose file appears, with its metadata, when the block succeeds."""
    with files.replacing(target) as temporary:
        with Writer(temporary, layout, format) as out:
            yield out
        out.lost += write_metadata(temporary, layout.metadata)


class Writer:
    """An output file with the layout of an input, in its format or another one.

    Raises:
        AudioError: if there is no such format.
    """

    def __init__(self, path: Path, layout: Layout, format: str):
        self.limited, self.lost = 0, []
        reason = ""
        for kind, subtype in _encodings(format, layout):
            size = layout.frames * layout.channels * SAMPLE_BYTES.get(subtype, 2)
            if kind in ("WAV", "WAVEX") and size > WAV_BYTES:
                kind = "RF64"
            endian = layout.endian if kind == layout.format else None
            try:
                name = path if os.name == "nt" else os.fsencode(path)  # it may not be Unicode
                self.file = sf.SoundFile(
                    name, "w", layout.rate, layout.channels, subtype, endian, kind
                )
                break
            except (ValueError, sf.LibsndfileError, RuntimeError) as error:
                reason = getattr(error, "error_string", str(error)).rstrip(".")
        else:
            raise AudioError(
                f"cannot write {layout.channels} channels at {layout.rate} Hz as {kind} "
                f"({reason}); convert it, or ask for format = wav"
            )
        if format == AS_INPUT and subtype != layout.subtype:
            self.lost.append(f"{layout.subtype} ({subtype} in {kind} instead)")
        for tag, text in layout.tags.items():
            setattr(self.file, tag, text)
        self.bounded = subtype not in FLOATS

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, block: np.ndarray) -> None:
        """Write float32 [samples, channels]; count the samples above full scale."""
        if self.bounded:
            self.limited += int(np.count_nonzero(np.abs(block) > 1))
        for start in range(0, len(block), WRITE_FRAMES):
            self.file.write(block[start : start + WRITE_FRAMES])


def _encodings(format: str, layout: Layout) -> list[tuple[str, str]]:
    """Return containers and subtypes to try: the input's, then the nearest, then the usual one."""
    kind = layout.format if format == AS_INPUT else format.upper()
    if format == AS_INPUT and kind not in sf.available_formats():
        kind = "WAV"
    if kind == "OPUS":
        return [("OGG", "OPUS")]
    if kind == "WAV" and layout.format in ("WAVEX", "RF64"):
        kind = layout.format
    wide = layout.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_24", "ALAC_32")
    subtypes = ["PCM_24" if wide else "PCM_16", sf.default_subtype(kind)]
    same_length = not layout.subtype.startswith(BLOCK_CODECS)
    if (kind == layout.format and same_length) or layout.subtype in UNCOMPRESSED:
        subtypes.insert(0, layout.subtype)
    return [(kind, subtype) for subtype in subtypes if sf.check_format(kind, subtype)]
