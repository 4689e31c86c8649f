"""Raw samples through pipes: what ``sox -t raw`` and ``ffmpeg -f s16le`` write and read."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.streaming import Streamer
from specmask.errors import UserError

ENCODINGS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
# First bytes of audio files -> format.
FILE_MAGICS = {b"RIFF": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"FORM": "AIFF"}
MAGIC_BYTES = 4
MOST_BAD_SHARE = 0.1  # of samples that are not finite at the beginning
BLOCK_SECONDS = 0.1  # read at most at a time; a live source gives less


@dataclass(frozen=True)
class Summary:
    """The figures of a pipe that has ended."""

    samples: int
    replaced: int  # that were NaN or infinite, and were taken as zero
    clipped: int  # above full scale in integers, of all channels
    left_over_bytes: int  # at the end, less than a sample of all channels
    latency_seconds: float  # largest delay from input to output, the window at least
    slowest_seconds: float  # longest time that a block took
    real_time_factor: float


def enhance_pipe(
    source: BinaryIO, sink: BinaryIO, model: Enhancer, encoding: str, rate: int, channels: int
) -> Summary:
    """Enhance a stream of raw samples until it ends; each block is passed on at once.

    Args:
        source, sink: binary streams; the channels of a sample follow each other.
        model: what :func:`specmask.load` returns.
        encoding: s16le or f32le.
        rate: in Hz.
        channels: number of channels.

    Raises:
        UserError: if the stream begins as another encoding or a file.
    """
    streamer = Streamer(model, channels, rate)
    dtype = ENCODINGS[encoding]
    sample_bytes = dtype.itemsize * channels
    block_bytes = sample_bytes * max(1, round(BLOCK_SECONDS * rate))
    rest, lag, clipped, busy, slowest = b"", 0, 0, 0.0, 0.0
    for data in _blocks(source, block_bytes):
        data = rest + data
        complete = len(data) // sample_bytes * sample_bytes
        data, rest = data[:complete], data[complete:]
        x = _decode(data, dtype, channels)
        if not streamer.samples_in and len(x):
            _check_beginning(data, x)
        started = time.perf_counter()
        y = streamer.feed(x)
        seconds = time.perf_counter() - started
        busy, slowest, lag = busy + seconds, max(slowest, seconds), max(lag, streamer.lag)
        clipped += _above(y, dtype)
        sink.write(_encode(y, dtype))
        sink.flush()
    samples = streamer.samples_in
    y = streamer.flush()
    clipped += _above(y, dtype)
    sink.write(_encode(y, dtype))
    sink.flush()
    latency = max(model.latency_seconds, lag / rate)
    factor = busy * rate / samples if samples else 0.0
    return Summary(samples, streamer.replaced, clipped, len(rest), latency, slowest, factor)


def _blocks(source: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield what is ready; at first at least the bytes that identify a file format."""
    read = getattr(source, "read1", source.read)  # read1 does not wait for all
    beginning = b""
    while len(beginning) < MAGIC_BYTES and (data := read(size)):
        beginning += data
    if beginning:
        yield beginning
    while data := read(size):
        yield data


def _check_beginning(data: bytes, x: np.ndarray) -> None:
    """Refuse a stream that is not raw samples of the encoding.

    Raises:
        UserError: if it begins as an audio file, or with many samples that are not finite.
    """
    for magic, name in FILE_MAGICS.items():
        if data.startswith(magic):
            raise UserError(
                f"--stdin: found a {name} file, expected raw samples; name the file as IN, or "
                "decode it first, e.g. ffmpeg -i - -f s16le -"
            )
    bad = np.count_nonzero(~np.isfinite(x))
    if bad > MOST_BAD_SHARE * x.size:
        raise UserError(
            f"--stdin: {bad} of the first {x.size} samples are NaN or infinite; expected f32le "
            "samples around ±1, see --pcm"
        )


def _decode(data: bytes, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    x = np.frombuffer(data, dtype).reshape(-1, channels)
    return x.astype(np.float32) / 32768 if dtype.kind == "i" else x.astype(np.float32)


def _above(y: np.ndarray, dtype: np.dtype[Any]) -> int:
    """Return how many samples an integer encoding clips."""
    return int(np.count_nonzero(np.abs(y) > 1)) if dtype.kind == "i" else 0


def _encode(y: np.ndarray, dtype: np.dtype[Any]) -> bytes:
    if dtype.kind == "i":
        y = np.clip(np.rint(y * 32768), -32768, 32767)
    return y.astype(dtype).tobytes()
