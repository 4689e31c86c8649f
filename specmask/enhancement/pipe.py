"""Raw samples through pipes: what ``sox -t raw`` and ``ffmpeg -f s16le`` write and read."""

import time
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.streaming import Streamer
from specmask.errors import UserError

ENCODINGS = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
BLOCK_SECONDS = 0.1  # read at most at a time; a live source gives less


@dataclass(frozen=True)
class Passed:
    """What went through a pipe."""

    samples: int
    lag_seconds: float  # largest, from what was fed to what came out
    slowest_seconds: float  # longest time that a block took
    real_time_factor: float


def enhance(
    source: BinaryIO, sink: BinaryIO, model: Enhancer, encoding: str, rate: int, channels: int
) -> Passed:
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
    size = dtype.itemsize * channels
    wanted = size * max(1, round(BLOCK_SECONDS * rate))
    read = getattr(source, "read1", source.read)  # read1 gives what is there
    rest, lag, busy, slowest = b"", 0, 0.0, 0.0
    while data := read(wanted):
        data = rest + data
        whole = len(data) // size * size
        data, rest = data[:whole], data[whole:]
        started = time.perf_counter()
        y = streamer.feed(_samples(data, dtype, channels))
        taken = time.perf_counter() - started
        busy, slowest, lag = busy + taken, max(slowest, taken), max(lag, streamer.lag)
        sink.write(_bytes(y, dtype))
        sink.flush()
    samples = streamer.fed
    sink.write(_bytes(streamer.flush().reshape(-1, channels), dtype))
    sink.flush()
    return Passed(samples, lag / rate, slowest, busy * rate / samples if samples else 0.0)


def _samples(data: bytes, dtype: np.dtype, channels: int) -> np.ndarray:
    x = np.frombuffer(data, dtype).reshape(-1, channels)
    if dtype.kind == "i":
        return x.astype(np.float32) / 32768
    if not np.isfinite(x).all():
        raise UserError(
            "--stdin: NaN or infinite samples; expected f32le samples around ±1, look at --pcm"
        )
    return x.astype(np.float32)


def _bytes(y: np.ndarray, dtype: np.dtype) -> bytes:
    if dtype.kind == "i":
        y = np.clip(np.rint(y * 32768), -32768, 32767)
    return y.astype(dtype).tobytes()
