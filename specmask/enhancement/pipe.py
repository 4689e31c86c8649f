"""Raw samples through pipes: what ``sox -t raw`` and ``ffmpeg -f s16le`` write and read."""

import time
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.streaming import Streamer
from specmask.errors import UserError

ENCODINGS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
BLOCK_SECONDS = 0.1  # read at most at a time; a live source gives less


@dataclass(frozen=True)
class Summary:
    """The figures of a pipe that has ended."""

    samples: int
    lag_seconds: float  # largest difference between input and output
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
        UserError: if the samples are not finite.
    """
    streamer = Streamer(model, channels, rate)
    dtype = ENCODINGS[encoding]
    sample_bytes = dtype.itemsize * channels
    block_bytes = sample_bytes * max(1, round(BLOCK_SECONDS * rate))
    read = getattr(source, "read1", source.read)  # read1 gives what is ready
    rest, lag, busy, slowest = b"", 0, 0.0, 0.0
    while data := read(block_bytes):
        data = rest + data
        complete = len(data) // sample_bytes * sample_bytes
        data, rest = data[:complete], data[complete:]
        started = time.perf_counter()
        y = streamer.feed(_decode(data, dtype, channels))
        seconds = time.perf_counter() - started
        busy, slowest, lag = busy + seconds, max(slowest, seconds), max(lag, streamer.lag)
        sink.write(_encode(y, dtype))
        sink.flush()
    samples = streamer.samples_in
    sink.write(_encode(streamer.flush(), dtype))
    sink.flush()
    return Summary(samples, lag / rate, slowest, busy * rate / samples if samples else 0.0)


def _decode(data: bytes, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    x = np.frombuffer(data, dtype).reshape(-1, channels)
    if dtype.kind == "i":
        return x.astype(np.float32) / 32768
    if not np.isfinite(x).all():
        raise UserError(
            "--stdin: NaN or infinite samples; expected f32le samples around ±1, see --pcm"
        )
    return x.astype(np.float32)


def _encode(y: np.ndarray, dtype: np.dtype[Any]) -> bytes:
    if dtype.kind == "i":
        y = np.clip(np.rint(y * 32768), -32768, 32767)
    return y.astype(dtype).tobytes()
