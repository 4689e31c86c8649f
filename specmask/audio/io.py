"""Audio files: finding, reading, resampling and writing.

Conventions:
    Samples are float32, ``[frames, channels]`` as in the file, ``[samples]`` when mono. Full scale
    is 1. Nothing here changes a level.
"""

import functools
import io
import math
import os
import stat
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import soundfile as sf
import soxr

from specmask.audio import containers, media
from specmask.audio.containers import AudioError, Part
from specmask.files import replacing, write_table

_NAMES = "wav wave flac ogg oga opus mp3 mp2 aif aiff aifc au snd caf w64 rf64 sph nist voc"
# All that are found; those of media are set aside with the reason where PyAV is not installed.
SUFFIXES = media.SUFFIXES | frozenset(f".{name}" for name in _NAMES.split())

# Length of the filters of soxr and resampy on each side of a sample, at the lower of the two rates,
# with a margin: longer ones give the same piece to below -120 dB (see tests).
ROLL_SECONDS = 0.05

BLOCK_FRAMES = 1 << 20
LONGEST = 1 << 62  # samples: a length from here on means that it is not known
ENCODER_DELAY = 2 * 1152  # samples by which an MP3 decoder may give less than the frames hold


@dataclass(frozen=True)
class Rejected:
    """A file that was set aside, with the reason; of a copy also the file that is used."""

    path: str
    reason: str
    copy_of: str = ""


def files(folder: Path) -> list[Path]:
    """Return the audio files below a folder, relative to it, in the same order on all systems.

    Hidden files and folders, whose names begin with a dot, are left out. Symbolic links to folders
    are followed, each folder once: the folders that are really there first, then those of links in
    order of their names. A link to a folder above is not followed.
    """
    found = []
    visited = {*Path(os.path.realpath(folder)).parents}
    links = [folder]
    for start in links:  # extended in the loop
        for parent, folders, names in os.walk(start):
            real = Path(os.path.realpath(parent))
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            folders[:] = [n for n in folders if n[0] != "."]
            base = Path(parent).relative_to(folder)
            found += [base / n for n in names if Path(n).suffix.lower() in SUFFIXES and n[0] != "."]
            links += sorted(path for n in folders if (path := Path(parent) / n).is_symlink())
    return sorted(found, key=lambda p: p.as_posix())


Decoder: TypeAlias = "sf.SoundFile | media.MediaFile"


class AudioFile:
    """An audio file, open for reading; all of its sound, also where its header states less.

    Attributes:
        samplerate: in Hz.
        channels: their number.
        format: name of the container, as libsndfile has it: WAV.
        subtype: name of the codec, as libsndfile has it: PCM_16.
        endian: byte order: FILE, LITTLE or BIG.

    Raises:
        AudioError: if it is missing, empty, truncated, or not audio.
    """

    def __init__(self, path: Path):
        self._path = path
        self._decoders: list[Decoder] = []
        self._raw: BinaryIO | None = None  # the file, where it is decoded in parts
        self._stamp = _stamp(path)
        try:
            self._container = containers.examine(*self._stamp)
            self._open()
        except OSError as error:
            raise AudioError(f"not readable: {error.strerror or error}") from None
        first = self._decoders[0]
        self.samplerate, self.channels = first.samplerate, first.channels
        self.format, self.subtype, self.endian = first.format, first.subtype, first.endian

    def _open(self) -> None:
        self._current = self._position = 0
        try:
            if not self._container.parts or self._container.counted:
                self._open_whole()
            if not self._decoders:
                self._open_parts()
        except BaseException:
            self.close()
            raise

    def _open_whole(self) -> None:
        decoder = _decoder(self._path)
        self._decoders = [decoder]
        missing = self._container.counted - decoder.frames
        if missing > ENCODER_DELAY:  # it would end too early
            self.close()
            if not self._container.parts:
                seconds, rate = decoder.frames / decoder.samplerate, decoder.samplerate
                raise AudioError(
                    f"only {seconds:.2f} s of {self._container.counted / rate:.2f} s can be "
                    "decoded; convert it to flac first, e.g. with ffmpeg"
                )

    def _open_parts(self) -> None:
        self._raw = self._path.open("rb")
        for part in self._container.parts:
            self._decoders.append(_decoder(self._path, _PartOfFile(self._raw, part)))
        kinds = {f"{d.samplerate} Hz with {d.channels} channels" for d in self._decoders}
        if len(kinds) > 1:
            raise AudioError(f"joined from parts of {' and of '.join(sorted(kinds))}; split it")

    def close(self) -> None:
        """Close the file."""
        for decoder in self._decoders:
            decoder.close()
        self._decoders = []
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @functools.cached_property
    def frames(self) -> int:
        """Length in samples per channel; counted by decoding where the file does not state it."""
        frames, container = sum(d.frames for d in self._decoders), self._container
        if frames > LONGEST:
            return _decoded_length(*self._stamp)
        if container.samples <= frames < container.samples + container.block:
            return container.samples
        return min(frames, container.counted) if container.counted and not self._raw else frames

    @property
    def _is_stated(self) -> bool:
        return self._container.stated and sum(d.frames for d in self._decoders) <= LONGEST

    def tags(self, names: Iterable[str]) -> dict[str, str]:
        """Return those of the named tags that the file has."""
        return {name: text for name in names if (text := getattr(self._decoders[0], name, ""))}

    def read(self, frames: int = -1, start: int = 0, dtype: str = "float32") -> np.ndarray:
        """Return a piece of the sound, [frames, channels]; less where the file ends.

        Args:
            frames: number of samples; -1: up to the end.
            start: the first one.
            dtype: float32, or int16 for the samples of such a file as they are.

        Raises:
            AudioError: if it is damaged, or is read up to the end and truncated.
        """
        start = min(start, self.frames)
        wanted = self.frames - start if frames < 0 else min(frames, self.frames - start)
        try:
            x = self._piece(start, wanted, dtype)
        except (sf.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"damaged: {getattr(error, 'error_string', error)}") from None
        except MemoryError:  # the length in the header may be wrong
            hours = self.frames / self.samplerate / 3600
            raise AudioError(
                f"claims {hours:.0f} h of sound, which do not fit into memory"
            ) from None
        if frames < 0 and len(x) < wanted and self._is_stated:
            raise AudioError(f"truncated: {start + len(x)} frames of {self.frames}")
        return x

    def _piece(self, start: int, frames: int, dtype: str) -> np.ndarray:
        first = self._decoders[0]
        if (
            not (self._raw or isinstance(first, media.MediaFile))
            and first.frames <= LONGEST
            and first.seekable()
        ):
            first.seek(start)
            return first.read(frames, dtype=dtype, always_2d=True)
        # decoded from the beginning: GSM 6.10, G.721, FLAC of unknown length, files in parts
        if start < self._position:
            self.close()
            self._open()
        self._keep_from_seeking()
        while self._position < start and len(
            self._next(min(BLOCK_FRAMES, start - self._position), dtype)
        ):
            pass
        pieces = [np.zeros((0, self.channels), dtype)]
        while frames > 0 and len(x := self._next(frames, dtype)):
            pieces.append(x)
            frames -= len(x)
        return np.concatenate(pieces)

    def _next(self, frames: int, dtype: str = "float32") -> np.ndarray:
        """Return the next samples, of the next part where one ends."""
        while self._current < len(self._decoders):
            x = self._decoders[self._current].read(frames, dtype=dtype, always_2d=True)
            if len(x):
                self._position += len(x)
                return x
            self._current += 1
        return np.zeros((0, self.channels), dtype)

    def _keep_from_seeking(self) -> None:
        """Keep soundfile from seeking after each read."""
        for decoder in self._decoders:
            if isinstance(decoder, sf.SoundFile):
                decoder.seekable = lambda: False

    def blocks(self, size: int, exact: bool = True) -> Iterator[np.ndarray]:
        """Yield all of the sound: float32 [samples, channels], at most ``size`` samples at a time.

        Args:
            size: of a block.
            exact: False: as soundfile reads blocks. It seeks after each one to where it is already,
                and an MP3 decoder loses there what it carries from frame to frame (measured:
                errors as large as the signal).

        Raises:
            AudioError: if it is damaged, truncated, or has no samples or some that are not finite.
        """
        if exact or self._raw or self._decoders[0].frames > LONGEST:
            self._keep_from_seeking()
        limit = self.frames if self._container.samples else LONGEST
        done = 0
        while done < limit:
            try:
                block = self._next(min(size, limit - done))
            except (sf.LibsndfileError, RuntimeError) as error:
                seconds = done / self.samplerate
                raise AudioError(f"damaged after {seconds:.2f} s: {error}") from None
            if not len(block):
                break
            if not np.isfinite(block).all():
                raise AudioError("holds NaN or infinite samples")
            done += len(block)
            yield block
        if self._is_stated and done < self.frames:
            raise AudioError(f"truncated: {done} frames of {self.frames}")
        if not done:
            raise AudioError("holds no samples")


def _stamp(path: Path) -> tuple[Path, int, int]:
    """Return path, size and time of change of a file that can be read."""
    try:
        status = path.stat()
    except OSError as error:
        raise AudioError(f"not readable: {error.strerror or error}") from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
        raise AudioError("not readable: not a regular file")
    if status.st_size == 0:
        raise AudioError("empty file (0 bytes)")
    return path, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=4096)
def _decoded_length(path: Path, size: int, modified_ns: int) -> int:
    with AudioFile(path) as file:
        return sum(len(block) for block in file.blocks(BLOCK_FRAMES >> 4))


class _PartOfFile(io.RawIOBase):
    """A header and a range of bytes of a file, as a separate file."""

    def __init__(self, raw: BinaryIO, part: Part):
        self._raw, self._part = raw, part
        self._length = len(part.header) + part.stop - part.start
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count = max(0, min(len(view), self._length - self._position))
        in_header = self._part.header[self._position : self._position + count]
        if in_header:
            content = in_header
        else:
            self._raw.seek(self._part.start + self._position - len(self._part.header))
            content = self._raw.read(count)
        view[: len(content)] = content
        self._position += len(content)
        return len(content)


def _decoder(path: Path, part: "_PartOfFile | None" = None) -> Decoder:
    """Open a file, or a part of it, with libsndfile; formats of media with PyAV."""
    try:
        # bytes: names that are not Unicode; TypeError: .raw, which has no header to read
        return sf.SoundFile(part or (path if os.name == "nt" else os.fsencode(path)))
    except (sf.LibsndfileError, RuntimeError, TypeError) as error:
        if media.is_media(path) and media.is_installed():
            return media.MediaFile(path)
        raise AudioError(f"not readable as audio: {_open_error(path, error)}") from None
    except OSError as error:
        raise AudioError(f"not readable: {error.strerror or error}") from None


def _open_error(path: Path, error: Exception) -> str:
    """Return the reason why libsndfile cannot open a file that exists."""
    if not media.can_read(path):
        return f"{path.suffix} {media.NOT_INSTALLED}"
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
    with AudioFile(path) as file:
        return file.read(frames, start), file.samplerate


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
    with AudioFile(path) as file:
        source_rate = file.samplerate
        if source_rate == rate:
            return fit(to_mono(file.read(length, offset)), length)
        # The roll-in starts where an input and an output sample coincide: no fraction of a sample.
        common = math.gcd(source_rate, rate)
        step_in, step_out = source_rate // common, rate // common
        roll = math.ceil(ROLL_SECONDS * max(rate, rate * rate / source_rate))
        blocks = max(0, (offset - roll) // step_out)
        stop = resampled_length(offset + length + roll, rate, source_rate)
        samples = to_mono(file.read(stop - blocks * step_in, blocks * step_in))
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
