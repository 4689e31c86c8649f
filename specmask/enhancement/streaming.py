"""Streaming: blocks of any size, rate and number of channels through a network.

Conventions:
    A whole file is a stream of large blocks, so the two cannot differ. Rows are
    channels at the model's rate, float32 [rows, samples]; blocks are float32 [samples, channels]
    at the recording's rate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.fft

from specmask.audio import io as audio_io
from specmask.audio.stft import add, analyse, to_complex, to_pairs
from specmask.enhancement.channels import Channels
from specmask.enhancement.enhancer import WINDOW_FRAMES, Enhancer
from specmask.enhancement.highband import RateConverter
from specmask.enhancement.postprocess import Knobs

FRAMES_PER_CALL = 1000  # that a causal network sees at a time, over all rows: bounds the memory
OVERLAP_FRAMES = 100  # cross-fade between the windows of a network that is not causal

# Noisy frames and their masks, complex64 [rows, frames, bins] each.
Masked = tuple[np.ndarray, np.ndarray]


class Streamer:
    """A stream of blocks of any size through a model.

    ``feed`` returns what is ready; ``flush`` returns the rest: then as many samples have come
    out as went in, and a new stream may begin.

    >>> import specmask
    >>> stream = Streamer(specmask.load(), channels=2, rate=48000)
    >>> blocks = [stream.feed(np.zeros((4800, 2), np.float32)) for _ in range(3)]
    >>> sum(map(len, blocks)) + len(stream.flush())
    14400

    Args:
        model: what :func:`specmask.load` returns.
        channels: number of channels.
        rate: of the blocks in Hz; without it the model's.

    Attributes:
        knobs: settings of the post-processing. They may be set at any time, e.g.
            ``stream.knobs = {"mix": 0}`` to listen to the input with the same delay, and hold from
            the next block on.
        replaced: samples that were NaN or infinite and were taken as zero.

    Raises:
        ValueError: if the number of channels or the rate is not a whole number from 1 on.
    """

    def __init__(self, model: Enhancer, channels: int = 1, rate: float | None = None):
        self.model, self.rate = model, model.rate if rate is None else as_rate(rate)
        self.channels = _whole_number(channels, "channels")
        self.knobs = model.knobs
        self.replaced = 0
        self._start()

    def _start(self) -> None:
        self.samples_in = self.samples_out = 0
        self._one_dimension = self.channels == 1
        self._converter = _converter(self.rate, self.model, self.channels)
        self._rows = _Rows(self.model, [self._converter])

    @property
    def knobs(self) -> Knobs:
        """Settings of the post-processing."""
        return self._knobs

    @knobs.setter
    def knobs(self, values: Knobs | Mapping[str, float]) -> None:
        self._knobs = Knobs.of(values)

    @property
    def lag(self) -> int:
        """Samples that have gone in and not come out yet."""
        return self.samples_in - self.samples_out

    def feed(self, block: np.ndarray) -> np.ndarray:
        """Take a block and return the enhanced samples that are ready, if any.

        Args:
            block: float [samples, channels], or [samples] where there is one channel.

        Returns:
            float32 of the same number of dimensions.

        Raises:
            ValueError: if the block is not of one of these shapes, or not of floats.
        """
        x = as_samples(block)
        if (x.shape[1] if x.ndim == 2 else 1) != self.channels:
            expected = "[samples]" if self.channels == 1 else f"[samples, {self.channels}]"
            raise ValueError(f"block: expected {expected}, found {list(x.shape)}")
        self._one_dimension = x.ndim == 1
        x = x.reshape(len(x), self.channels)
        finite = np.isfinite(x)
        if not finite.all():  # one NaN would stay in the network's state to the end
            self.replaced += int(np.count_nonzero(~finite))
            x = np.where(finite, x, np.float32(0))
        self.samples_in += len(x)
        self._rows.knobs = self.knobs
        y = self._converter.to_input_rate(*self._rows.feed(self._converter.to_model_rate(x).T))
        return self._shaped(y[: self.lag])

    def flush(self) -> np.ndarray:
        """End the stream and return the rest, in the dimensions of the last block."""
        empty = np.zeros((0, self.channels), np.float32)
        parts = [empty]
        if self.samples_in:
            last = self._converter.to_model_rate(empty, last=True)
            parts.append(self._converter.to_input_rate(*self._rows.feed(last.T)))
            parts.append(self._converter.to_input_rate(*self._rows.flush(), last=True))
        y = self._shaped(audio_io.fit(np.concatenate(parts), self.lag))
        self._start()
        return y

    def _shaped(self, y: np.ndarray) -> np.ndarray:
        self.samples_out += len(y)
        return y[:, 0] if self._one_dimension else y


def enhance_together(
    recordings: Sequence[tuple[np.ndarray, int]], model: Enhancer
) -> list[np.ndarray]:
    """Enhance several recordings in the same calls of the network, each as if it were alone.

    Args:
        recordings: float32 [samples, channels] of at least one sample, and the rate in Hz.
        model: causal, unless there is one recording only.

    Returns:
        float32 [samples, channels] of each.
    """
    converters = [_converter(rate, model, x.shape[1]) for x, rate in recordings]
    converted = [
        converter.to_model_rate(x, last=True)
        for converter, (x, _) in zip(converters, recordings, strict=True)
    ]
    longest = max(map(len, converted))
    rows = _Rows(model, converters)
    ready = rows.feed(np.concatenate([audio_io.fit(x, longest) for x in converted], axis=1).T)
    enhanced, gain = (np.concatenate(x, axis=1) for x in zip(ready, rows.flush(), strict=True))
    results, row = [], 0
    for converter, x, (original, _) in zip(converters, converted, recordings, strict=True):
        own = slice(row, row + converter.channels), slice(0, len(x))
        row += converter.channels
        y = converter.to_input_rate(enhanced[own], gain[own], last=True)
        results.append(audio_io.fit(y, len(original)))
    return results


def as_samples(samples: Any) -> np.ndarray:
    """Return samples as a float32 array [samples] or [samples, channels].

    Raises:
        ValueError: if they are not floats, or not of one of these shapes.
    """
    x = np.asarray(samples)
    if x.dtype.kind != "f":
        raise ValueError(
            f"samples: expected floats of full scale 1, found {x.dtype}; divide whole numbers by "
            "their full scale, those of int16 by 32768"
        )
    if x.ndim not in (1, 2):
        raise ValueError(
            f"samples: expected [samples] or [samples, channels], found {list(x.shape)}"
        )
    return x.astype(np.float32, copy=False)


def as_rate(rate: float) -> int:
    """Return a sampling rate in Hz, e.g. 44100.0, as a whole number.

    Raises:
        ValueError: if it is none.
    """
    return _whole_number(rate, "rate")


def _whole_number(value: Any, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number != value or number < 1:
        raise ValueError(f"{name} = {value!r}: expected a whole number from 1 on")
    return number


def _converter(rate: int, model: Enhancer, channels: int) -> RateConverter:
    return RateConverter(rate, model.rate, channels, model.stft.n_fft, model.highband == "keep")


class _Rows:
    """Rows at the model's rate through STFT, network and inverse STFT.

    Args:
        model: see above.
        converters: of the recordings whose channels are the rows, one after the other.
    """

    def __init__(self, model: Enhancer, converters: Sequence[RateConverter]):
        self.stft, self.knobs, self.runtime = model.stft, model.knobs, model.runtime
        self.channels = Channels(model.channels, [c.channels for c in converters])
        self.top_weights = np.stack([c.top_weights for c in converters])[self.channels.recording]
        rows, pad = self.channels.rows, self.stft.pad
        self.queue = np.zeros((rows, pad), np.float32)  # starts with the zeros in front
        # The audio, and where it is needed the gain above the band, which overlaps as the audio.
        self.overlap = np.zeros((2 * rows if self.top_weights.any() else rows, pad), np.float32)
        # Look-ahead: as many frames of zeros come out before the first one.
        self.delay = model.lookahead_frames * self.stft.hop_length
        self.to_drop = pad + self.delay
        self.samples_in = self.samples_out = 0
        network_rows = self.channels.network_rows
        self.masks: _CausalMasks | _WindowedMasks
        if model.causal:
            held = np.zeros((rows, model.lookahead_frames, self.stft.bins), np.complex64)
            self.masks = _CausalMasks(self._mask, self.runtime.zero_state(network_rows), held)
            self.frames_per_call = max(1, FRAMES_PER_CALL // network_rows)
        else:
            self.masks = _WindowedMasks(lambda noisy: self._mask(noisy, noisy, None)[0])
            self.frames_per_call = WINDOW_FRAMES

    def feed(self, x: np.ndarray, last: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Take [rows, samples]; return what is ready, and the gain above the band, less 1.

        The second is meaningless where no recording needs it.
        """
        self.samples_in += 0 if last else x.shape[1]
        stft = self.stft
        self.queue = np.concatenate([self.queue, x], axis=1)
        frames = (self.queue.shape[1] - stft.pad) // stft.hop_length
        ready = [self.overlap[:, :0]]
        for start in range(0, frames, self.frames_per_call):
            count = min(self.frames_per_call, frames - start)
            begin = start * stft.hop_length
            piece = self.queue[:, begin : begin + stft.pad + count * stft.hop_length]
            ready += [self._add(*masked) for masked in self.masks.feed(analyse(piece, stft))]
        self.queue = self.queue[:, frames * stft.hop_length :]
        if last:
            ready += [self._add(*masked) for masked in self.masks.flush()]
        y = np.concatenate(ready, axis=1)[:, : self.samples_in - self.samples_out]
        self.samples_out += y.shape[1]
        return y[: len(x)], y[-len(x) :]

    def flush(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rest, so that as many samples have come out as went in."""
        total = self.stft.frames(self.samples_in) * self.stft.hop_length + self.delay
        zeros = total - self.samples_in if self.samples_in else 0
        return self.feed(np.zeros((len(self.queue), zeros), np.float32), last=True)

    def _add(self, noisy: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Apply masks, overlap-add the frames and return the samples that are complete."""
        stft = self.stft
        mask = self.knobs.apply(mask)
        frames = scipy.fft.irfft(mask * noisy, stft.n_fft)[..., : stft.window_length]
        if len(self.overlap) > len(frames):
            # Some targets have no upper bound; above the model's band the gain is bounded.
            magnitude = np.minimum(np.abs(mask), self.knobs.gain)
            gain = np.einsum("rtf,rf->rt", magnitude, self.top_weights) - 1
            frames = np.concatenate([frames, gain[..., None] * stft.window])
        y = add(frames, stft)
        y[:, : stft.pad] += self.overlap
        complete = frames.shape[1] * stft.hop_length
        self.overlap = y[:, complete:]
        drop = min(self.to_drop, complete)
        self.to_drop -= drop
        return y[:, drop:complete]

    def _mask(self, seen: np.ndarray, noisy: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Return the masks of frames, complex64 [rows, frames, bins], and the network's state.

        Args:
            seen: the frames that the network is given.
            noisy: the frames that the masks are for: earlier by the look-ahead.
            state: of the network.
        """
        mask, state = self.runtime.mask(to_pairs(self.channels.to_network(seen)), state)
        return self.channels.from_network(to_complex(mask), noisy), state


class _CausalMasks:
    """Masks of a causal network, its state carried from call to call.

    Args:
        mask: see :meth:`_Rows._mask`.
        state: of the network before the first frame.
        held: as many frames of zeros as the network looks ahead: they come out first.
    """

    def __init__(
        self,
        mask: Callable[[np.ndarray, np.ndarray, Any], tuple[np.ndarray, Any]],
        state: Any,
        held: np.ndarray,
    ):
        self.mask, self.state, self.held = mask, state, held

    def feed(self, seen: np.ndarray) -> Iterator[Masked]:
        """Take frames and give as many back, those that were held first, with their masks."""
        noisy = np.concatenate([self.held, seen], axis=1)
        noisy, self.held = noisy[:, : seen.shape[1]], noisy[:, seen.shape[1] :]
        mask, self.state = self.mask(seen, noisy, self.state)
        yield noisy, mask

    def flush(self) -> Iterator[Masked]:
        """Give nothing back: what is still held are the zeros after the end."""
        return iter(())


class _WindowedMasks:
    """Masks of a network that is not causal, in windows with a cross-fade between them.

    Args:
        mask: of a window, complex64 [rows, frames, bins].
    """

    def __init__(self, mask: Callable[[np.ndarray], np.ndarray]):
        self.mask = mask
        self.buffer: np.ndarray | None = None
        self.tail: np.ndarray | None = None  # the last masks of the window before
        ramp = np.arange(1, OVERLAP_FRAMES + 1, dtype=np.float32)[:, None]
        self.fade = ramp / (OVERLAP_FRAMES + 1)

    def feed(self, noisy: np.ndarray) -> Iterator[Masked]:
        """Take frames and give back those of complete windows, with their masks."""
        if self.buffer is not None:
            noisy = np.concatenate([self.buffer, noisy], axis=1)
        self.buffer = noisy
        while self.buffer.shape[1] > WINDOW_FRAMES:
            mask = self._window(self.buffer[:, :WINDOW_FRAMES])
            cut = WINDOW_FRAMES - OVERLAP_FRAMES
            self.tail = mask[:, cut:]
            done, self.buffer = self.buffer[:, :cut], self.buffer[:, cut:]
            yield done, mask[:, :cut]

    def flush(self) -> Iterator[Masked]:
        """Give back the rest."""
        if self.buffer is not None and self.buffer.shape[1]:
            yield self.buffer, self._window(self.buffer)

    def _window(self, noisy: np.ndarray) -> np.ndarray:
        mask = self.mask(noisy)
        if self.tail is not None:
            shared = min(OVERLAP_FRAMES, mask.shape[1])
            fade = self.fade[:shared]
            mask[:, :shared] = mask[:, :shared] * fade + self.tail[:, :shared] * (1 - fade)
        return mask
