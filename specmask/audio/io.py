"""Audio files: finding, reading, resampling and writing.

Conventions:
    Samples are float32, ``[frames, channels]`` as in the file, ``[samples]`` when mono. Full scale
    is 1. Nothing here changes a level.
"""

import io
import math
import os
import stat
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from specmask.files import replacing, write_table

# Formats that libsndfile does not read: such files are found, and set aside with the reason.
FOREIGN = frozenset((".m4a", ".aac", ".wma", ".amr"))
SUFFIXES = FOREIGN | frozenset(
    f".{name}"
    for name in "wav wave flac ogg oga opus mp3 aif aiff aifc au snd caf w64 rf64".split()  # noqa: SIM905
)

# Length of the filters of soxr and resampy on each side of a sample, at the lower of the two rates,
# with a margin: longer ones give the same piece to below -120 dB (see tests).
ROLL_SECONDS = 0.05


class AudioError(Exception):
    """An audio file that cannot be used; the text is the reason, without the file's name."""


@dataclass(frozen=True)
class Rejected:
    """A file that was set aside, with the reason."""

    path: str
    reason: str


def files(folder: Path) -> list[Path]:
    """Return the audio files below a folder, relative to it, in the same order on all systems.

    Symbolic links to folders are not followed, so that a loop of links cannot trap the search.
    """
    found = []
    for parent, _, names in os.walk(folder):
        base = Path(parent).relative_to(folder)
        found += [base / n for n in names if Path(n).suffix.lower() in SUFFIXES and n[0] != "."]
    return sorted(found, key=lambda p: p.as_posix())


@contextmanager
def opened(path: Path) -> Iterator[sf.SoundFile]:
    """Open an audio file for reading.

    Raises:
        AudioError: if it is missing, empty, or not audio.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
            raise AudioError("not readable: not a regular file")
        if status.st_size == 0:
            raise AudioError("empty file (0 bytes)")
        # bytes: names that are not Unicode; TypeError: .raw, which has no header to read
        file = sf.SoundFile(path if os.name == "nt" else os.fsencode(path))
    except (sf.LibsndfileError, RuntimeError, TypeError) as error:
        raise AudioError(f"not readable as audio: {_open_error(path, error)}") from None
    except OSError as error:
        raise AudioError(f"not readable: {error.strerror or error}") from None
    with file:
        yield file


def _open_error(path: Path, error: Exception) -> str:
    """Return the reason why libsndfile cannot open a file that exists."""
    if path.suffix.lower() in FOREIGN:
        return f"{path.suffix} is not among the formats; convert it to flac first, e.g. with ffmpeg"
    reason = getattr(error, "error_string", str(error)).rstrip(".")
    # libsndfile's message for an MP3 file without a frame
    return "no sound found in it" if reason.startswith("File does not exist") else reason


def read(path: Path, start: int = 0, frames: int = -1) -> tuple[np.ndarray, int]:
    """Read a file or a part of it at its own rate.

    Returns:
        float32 [frames, channels] and the rate in Hz; fewer frames where the file ends.

    Raises:
        AudioError: if it cannot be read.
    """
    with opened(path) as file:
        return _part(file, start, frames), file.samplerate


def _part(file: sf.SoundFile, start: int, frames: int) -> np.ndarray:
    try:
        file.seek(min(start, file.frames))
        return file.read(frames, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"damaged: {getattr(error, 'error_string', error)}") from None
    except MemoryError:  # the length in the header may be wrong
        hours = file.frames / file.samplerate / 3600
        raise AudioError(f"claims {hours:.0f} h of sound, which do not fit into memory") from None


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Return the mean of the channels: [frames, channels] -> [frames]."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    # np.add.reduce in channel order: the same bytes on every machine, unlike a BLAS product
    return np.add.reduce(samples, axis=1) / np.float32(samples.shape[1])


def resample(x: np.ndarray, rate_in: int, rate_out: int, resampler: str = "soxr") -> np.ndarray:
    """Resample [samples] or [samples, channels] from one rate in Hz to another.

    Returns:
        float32 of ceil(samples * rate_out / rate_in) samples; sample 0 stays sample 0.

    >>> resample(np.zeros(44100, np.float32), 44100, 16000).shape
    (16000,)
    """
    if rate_in == rate_out:
        return x
    length = resampled_length(len(x), rate_in, rate_out)
    if resampler == "resampy":
        import resampy  # slow import: it compiles

        padded = fit(x, len(x) + -(-rate_in // rate_out))  # resampy rounds the length down
        y = resampy.resample(padded, rate_in, rate_out, axis=0, filter="kaiser_best")
    else:
        y = soxr.resample(x, rate_in, rate_out, quality="HQ")
    return fit(y.astype(np.float32, copy=False), length)


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """Number of samples after resampling, rounded up so that no sound is lost."""
    return -(-samples * rate_out // rate_in)


def fit(x: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-pad the first axis to a length."""
    if len(x) >= length:
        return x[:length]
    return np.concatenate([x, np.zeros((length - len(x), *x.shape[1:]), x.dtype)])


def read_piece(
    path: Path, offset: int, length: int, rate: int, resampler: str = "soxr"
) -> np.ndarray:
    """Read a piece of a file as mono at a rate; offset and length are in samples at that rate.

    The result depends on the file, offset and length alone, never on earlier reads: the source is
    decoded from a fixed roll-in before the piece to a fixed roll-out after it.

    Returns:
        float32 [length]; zeros where the file has ended.

    Raises:
        AudioError: if it cannot be read.
    """
    with opened(path) as file:
        source_rate = file.samplerate
        if source_rate == rate:
            return fit(to_mono(_part(file, offset, length)), length)
        # The roll-in starts where an input and an output sample coincide: no fraction of a sample.
        common = math.gcd(source_rate, rate)
        step_in, step_out = source_rate // common, rate // common
        roll = math.ceil(ROLL_SECONDS * max(rate, rate * rate / source_rate))
        blocks = max(0, (offset - roll) // step_out)
        stop = resampled_length(offset + length + roll, rate, source_rate)
        samples = to_mono(_part(file, blocks * step_in, stop - blocks * step_in))
    y = resample(samples, source_rate, rate, resampler)
    return fit(y[offset - blocks * step_out :], length)


def write_pcm16(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write int16 [samples] or [samples, channels] as a WAV file, complete or not at all.

    The bytes are those that libsndfile writes, but it would wait for the disk after every file.
    """
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples, np.int16).tobytes())
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def write_rejected(path: Path, rejected: list[Rejected]) -> Path | None:
    """Write the list of files that were set aside, or remove an old list when there is none."""
    return write_table(path, ("path", "reason"), [(r.path, r.reason) for r in rejected])
