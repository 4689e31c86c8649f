"""One recording from file to file: block by block, with its rate, sample format and tags."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from specmask import files
from specmask.audio import io as audio_io
from specmask.audio.io import AudioError
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.streaming import Streamer

WRITE_FRAMES = 1 << 14  # libsndfile's Vorbis encoder overflows its stack on long writes
WAV_BYTES = 4_000_000_000  # a WAV file holds less than 4 GiB; RF64 is the same with long sizes
AS_INPUT = "as input"
TAGS = ["title", "copyright", "software", "artist", "comment", "date", "album", "license"]
TAGS += ["tracknumber", "genre"]
FLOATS = ("FLOAT", "DOUBLE", "VORBIS", "OPUS")  # subtypes that hold more than full scale
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

    @classmethod
    def of(cls, file: sf.SoundFile) -> "Layout":
        """Return the layout of an open file."""
        tags = {tag: text for tag in TAGS if (text := getattr(file, tag))}
        form = file.format, file.subtype, file.endian
        return cls(file.samplerate, file.channels, file.frames, *form, tags)


def enhance_file(
    source: Path,
    target: Path,
    model: Enhancer,
    block_seconds: float,
    format: str = AS_INPUT,
    progress: Callable[[float], object] = lambda share: None,
) -> tuple[float, int]:
    """Enhance a file, block by block, into another one that appears when it is complete.

    Args:
        source, target: two files.
        model: what :func:`specmask.load` returns.
        block_seconds: audio held in memory at a time.
        format: of the target: as input, wav or flac.
        progress: called with the share of the file that each block was.

    Returns:
        the file's length in seconds, and how many samples were above full scale and limited.

    Raises:
        AudioError: if the source cannot be used.
    """
    with audio_io.opened(source) as file:
        size = max(1, round(block_seconds * file.samplerate))
        return enhance_blocks(blocks(file, size), Layout.of(file), target, model, format, progress)


def enhance_blocks(
    blocks: Iterable[np.ndarray],
    layout: Layout,
    target: Path,
    model: Enhancer,
    format: str = AS_INPUT,
    progress: Callable[[float], object] = lambda share: None,
) -> tuple[float, int]:
    """Enhance the blocks of a file, float32 [samples, channels], into another one.

    For the rest see :func:`enhance_file`.
    """
    streamer = Streamer(model, layout.channels, layout.rate)
    with files.replacing(target) as temporary, Writer(temporary, layout, format) as out:
        for block in blocks:
            out.write(streamer.feed(block))
            progress(len(block) / layout.frames)
        seconds = streamer.samples_in / layout.rate
        out.write(streamer.flush())
    return seconds, out.limited


def write_file(samples: np.ndarray, layout: Layout, target: Path, format: str) -> int:
    """Write float32 [samples, channels] as a file; return how many samples were limited."""
    with files.replacing(target) as temporary, Writer(temporary, layout, format) as out:
        out.write(samples)
    return out.limited


def blocks(file: sf.SoundFile, size: int) -> Iterator[np.ndarray]:
    """Read a file from its beginning in blocks of ``size`` samples: float32 [samples, channels].

    Raises:
        AudioError: if it is damaged, or holds no samples or some that are not finite.
    """
    # After each read soundfile seeks to where it is already, and an MP3 decoder loses there
    # what it carries from frame to frame (measured: errors as large as the signal).
    file.seekable = lambda: False
    done = 0
    while done < file.frames:
        try:
            block = file.read(min(size, file.frames - done), dtype="float32", always_2d=True)
        except (sf.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"damaged after {done / file.samplerate:.2f} s: {error}") from None
        if not len(block):
            raise AudioError(f"truncated: {done} frames of {file.frames}")
        if not np.isfinite(block).all():
            raise AudioError("holds NaN or infinite samples")
        done += len(block)
        yield block
    if not done:
        raise AudioError("holds no samples")


class Writer:
    """An output file with the layout of an input, in its format or another one.

    Raises:
        AudioError: if there is no such format.
    """

    def __init__(self, path: Path, layout: Layout, format: str):
        kind, subtype = _format(format, layout)
        size = layout.frames * layout.channels * SAMPLE_BYTES.get(subtype, 2)
        if kind == "WAV" and size > WAV_BYTES:
            kind = "RF64"
        if not sf.check_format(kind, subtype):
            raise AudioError(f"cannot write {kind} {subtype}; convert it, or ask for format = wav")
        endian = layout.endian if kind == layout.format else None
        try:
            self.file = sf.SoundFile(path, "w", layout.rate, layout.channels, subtype, endian, kind)
        except (sf.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"cannot write {kind} {subtype}: {error}") from None
        for tag, text in layout.tags.items():
            setattr(self.file, tag, text)
        self.bounded = subtype not in FLOATS
        self.limited = 0

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


def _format(format: str, layout: Layout) -> tuple[str, str]:
    """Return format and subtype: the input's, or the nearest ones in another format."""
    kind = layout.format if format == AS_INPUT else format.upper()
    if kind == layout.format or (kind == "WAV" and layout.format in ("WAVEX", "RF64")):
        return layout.format, layout.subtype
    if sf.check_format(kind, layout.subtype):
        return kind, layout.subtype
    wide = layout.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_24", "ALAC_32")
    return kind, "PCM_24" if wide else "PCM_16"
