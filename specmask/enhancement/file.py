"""One recording from file to file: block by block, with its rate, sample format and tags."""

from collections.abc import Callable, Iterator
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


def enhance_file(
    source: Path,
    target: Path,
    model: Enhancer,
    block_seconds: float,
    format: str = AS_INPUT,
    tell: Callable[[float], object] = lambda share: None,
) -> tuple[float, int]:
    """Enhance a file, block by block, into another one that appears when it is complete.

    Args:
        source, target: two files.
        model: what :func:`specmask.load` returns.
        block_seconds: held in memory at a time.
        format: of the target: as input, wav or flac.
        tell: called with the share of the file that each block was.

    Returns:
        the file's length in seconds, and how many samples were above full scale and limited.

    Raises:
        AudioError: if the source cannot be used.
    """
    with audio_io.opened(source) as file:
        total = file.frames
        size = max(1, round(block_seconds * file.samplerate))
        streamer = Streamer(model, file.channels, file.samplerate)
        with files.replacing(target) as temporary, Writer(temporary, file, format) as out:
            for block in blocks(file, size):
                out.write(streamer.feed(block))
                tell(len(block) / total)
            out.write(streamer.flush().reshape(-1, file.channels))
    return total / file.samplerate, out.limited


def blocks(file: sf.SoundFile, size: int) -> Iterator[np.ndarray]:
    """Read a file from its beginning: float32 [samples, channels] each.

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
    """An output file with an input's rate, channels and tags, in its format or another one."""

    def __init__(self, path: Path, like: sf.SoundFile, format: str):
        kind, subtype = _format(format, like)
        if kind == "WAV" and like.frames * like.channels * _bytes(subtype) > WAV_BYTES:
            kind = "RF64"
        if not sf.check_format(kind, subtype):
            raise AudioError(f"cannot write {kind} {subtype}; convert it, or ask for format = wav")
        endian = like.endian if kind == like.format else None
        try:
            self.file = sf.SoundFile(
                path, "w", like.samplerate, like.channels, subtype, endian, kind
            )
        except (sf.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"cannot write {kind} {subtype}: {error}") from None
        for tag in TAGS:
            if text := getattr(like, tag):
                setattr(self.file, tag, text)
        self.whole_numbers = subtype not in ("FLOAT", "DOUBLE", "VORBIS", "OPUS")
        self.limited = 0

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, block: np.ndarray) -> None:
        """Write float32 [samples, channels]; count what whole numbers cannot hold."""
        if self.whole_numbers:
            self.limited += int(np.count_nonzero(np.abs(block) > 1))
        for start in range(0, len(block), WRITE_FRAMES):
            self.file.write(block[start : start + WRITE_FRAMES])


def _format(format: str, like: sf.SoundFile) -> tuple[str, str]:
    """Return format and subtype: the input's, or in another format what comes nearest."""
    kind = like.format if format == AS_INPUT else format.upper()
    if kind == like.format or (kind == "WAV" and like.format in ("WAVEX", "RF64")):
        return like.format, like.subtype
    if sf.check_format(kind, like.subtype):
        return kind, like.subtype
    wide = like.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_24", "ALAC_32")
    return kind, "PCM_24" if wide else "PCM_16"


def _bytes(subtype: str) -> int:
    return {"PCM_U8": 1, "PCM_S8": 1, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}.get(
        subtype, 2
    )
