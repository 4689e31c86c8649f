"""Streams of blocks through a network: any block size, rate and number of channels.

Conventions:
    A whole file is a stream that is fed in large blocks, so the two cannot differ. Rows are
    channels at the model's rate, float32 [rows, samples]; blocks are float32 [samples, channels]
    at the recording's rate.
    Above the model's band, and in what a resampler takes at its edge, the output is
    g · (x − x'), where x' is the input resampled there and back and g the gain of the top of the
    mask; x' passes the same resampler as the enhanced sound. So a mask of one gives x back.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import scipy.fft

from specmask.audio import io as audio_io
from specmask.audio.stft import Stft, add, analyse, to_complex, to_pairs
from specmask.enhancement.highband import Bridge
from specmask.enhancement.postprocess import Knobs
from specmask.enhancement.runtimes import Description

FRAMES_A_CALL = 1000  # frames that the network sees at a time, over all rows: bounds the memory
OVERLAP_FRAMES = 100  # cross-fade between the windows of a network that is not causal


class Runtime(Protocol):
    """A network: TensorFlow, ONNX Runtime or LiteRT (see :mod:`specmask.enhancement.runtimes`)."""

    description: Description
    batches: bool

    def zero_state(self, batch: int) -> Any:
        """Return the state before the first frame."""

    def mask(self, noisy: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Return the mask of float32 [batch, frames, bins, 2] and the state after it."""


class Model(Protocol):
    """What streams need of :class:`specmask.enhancement.enhancer.Enhancer`."""

    runtime: Runtime
    knobs: Knobs
    channels: str
    highband: str
    stft: Stft
    rate: int
    causal: bool
    lookahead_frames: int


class Streamer:
    """Enhance a stream of blocks of any size.

    ``feed`` returns what is ready; ``flush`` returns the rest: then as many samples have come
    out as went in, and a new stream may begin.

    Args:
        model: what :func:`specmask.load` returns.
        channels: number of channels.
        rate: of the blocks in Hz; without it the model's.

    ``knobs`` may be set at any time, e.g. ``stream.knobs = Knobs(mix=0)`` to listen to the input,
    equally late; it holds from the next block on.
    """

    def __init__(self, model: Model, channels: int = 1, rate: int | None = None):
        self.model, self.channels, self.rate = model, channels, rate or model.rate
        self.knobs = model.knobs
        self._reset()

    def _reset(self) -> None:
        self.fed = self.given = 0
        self.bridge = _bridge(self.rate, self.model, self.channels)
        self.rows = _Rows(self.model, [self.bridge])

    @property
    def lag(self) -> int:
        """Samples that have been fed and not come out yet."""
        return self.fed - self.given

    def feed(self, block: np.ndarray) -> np.ndarray:
        """Take float32 [samples] or [samples, channels] and return enhanced samples, if any."""
        x = np.asarray(block, np.float32).reshape(len(block), self.channels)
        self.fed += len(x)
        self.rows.knobs = self.knobs
        y = self.bridge.back(*self.rows.feed(self.bridge.there(x).T))
        y = y[: self.lag]
        self.given += len(y)
        return y[:, 0] if block.ndim == 1 else y

    def flush(self) -> np.ndarray:
        """End the stream and return what is still inside: [samples], or [samples, channels]."""
        parts = [np.zeros((0, self.channels), np.float32)]
        if self.fed:
            nothing = np.zeros((0, self.channels), np.float32)
            last = self.bridge.there(nothing, last=True)
            parts.append(self.bridge.back(*self.rows.feed(last.T)))
            parts.append(self.bridge.back(*self.rows.flush(), last=True))
        y = audio_io.fit(np.concatenate(parts), self.lag)
        self._reset()
        return y[:, 0] if self.channels == 1 else y


def together(recordings: Sequence[tuple[np.ndarray, int]], model: Model) -> list[np.ndarray]:
    """Enhance several recordings in the same calls of the network, each as if it were alone.

    Args:
        recordings: float32 [samples, channels] of at least one sample, and the rate in Hz.
        model: causal, unless there is one recording only.

    Returns:
        float32 [samples, channels] of each.
    """
    bridges = [_bridge(rate, model, x.shape[1]) for x, rate in recordings]
    inside = [b.there(x, last=True) for b, (x, _) in zip(bridges, recordings, strict=True)]
    longest = max(map(len, inside))
    rows = _Rows(model, bridges)
    fed = rows.feed(np.concatenate([audio_io.fit(x, longest) for x in inside], axis=1).T)
    enhanced, gain = (np.concatenate(parts, 1) for parts in zip(fed, rows.flush(), strict=True))
    results, at = [], 0
    for bridge, x, (whole, _) in zip(bridges, inside, recordings, strict=True):
        own = slice(at, at + bridge.channels), slice(0, len(x))
        at += bridge.channels
        y = bridge.back(enhanced[own], gain[own], last=True)
        results.append(audio_io.fit(y, len(whole)))
    return results


def _bridge(rate: int, model: Model, channels: int) -> Bridge:
    return Bridge(rate, model.rate, channels, model.stft.n_fft, model.highband == "keep")


class _Rows:
    """Rows at the model's rate through STFT, network and inverse STFT, as late as they must be.

    Args:
        model: see above.
        bridges: of the recordings whose channels are the rows, one after the other.
    """

    def __init__(self, model: Model, bridges: Sequence[Bridge]):
        self.stft, self.knobs, self.channels = model.stft, model.knobs, model.channels
        self.runtime = model.runtime
        counts = [b.channels for b in bridges]
        self.starts = np.cumsum([0, *counts[:-1]])
        self.owner = np.repeat(np.arange(len(counts)), counts)  # recording of each row
        self.counts = np.array(counts, np.float32)
        self.top = np.stack([b.top for b in bridges])[self.owner]
        rows, pad = len(self.owner), self.stft.pad
        self.queue = np.zeros((rows, pad), np.float32)  # starts with the zeros in front
        # The audio, and where it is needed the gain above the band, which overlaps as the audio.
        self.overlap = np.zeros((2 * rows if self.top.any() else rows, pad), np.float32)
        # Look-ahead: as many frames of zeros go before the first one.
        self.late = model.lookahead_frames * self.stft.hop_length
        self.to_drop = pad + self.late
        self.fed = self.given = 0
        batch = len(counts) if self.channels == "mid" else rows
        self.frames_a_call = max(1, FRAMES_A_CALL // batch)
        if model.causal:
            held = np.zeros((rows, model.lookahead_frames, self.stft.bins), np.complex64)
            state = self.runtime.zero_state(batch)
            self.masker: _Carried | _Windows = _Carried(self._mask, state, held)
        else:
            self.masker = _Windows(self._mask)
            self.frames_a_call = FRAMES_A_CALL

    def feed(self, x: np.ndarray, last: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Take [rows, samples]; return what is ready, and the gain above the band, less 1.

        Where no recording needs that gain, the second is nothing of use.
        """
        self.fed += 0 if last else x.shape[1]
        stft = self.stft
        self.queue = np.concatenate([self.queue, x], axis=1)
        frames = (self.queue.shape[1] - stft.pad) // stft.hop_length
        out = [self.overlap[:, :0]]
        for start in range(0, frames, self.frames_a_call):
            count = min(self.frames_a_call, frames - start)
            begin = start * stft.hop_length
            piece = self.queue[:, begin : begin + stft.pad + count * stft.hop_length]
            out += [self._add(*pair) for pair in self.masker.feed(analyse(piece, stft))]
        self.queue = self.queue[:, frames * stft.hop_length :]
        if last:
            out += [self._add(*pair) for pair in self.masker.flush()]
        y = np.concatenate(out, axis=1)[:, : self.fed - self.given]
        self.given += y.shape[1]
        return y[: len(x)], y[-len(x) :]

    def flush(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rest, so that as many samples have come out as went in."""
        whole = self.stft.frames(self.fed) * self.stft.hop_length + self.late
        zeros = whole - self.fed if self.fed else 0
        return self.feed(np.zeros((len(self.queue), zeros), np.float32), last=True)

    def _add(self, noisy: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Apply masks, overlap-add the frames and return the samples that are complete."""
        stft = self.stft
        mask = self.knobs.turn(mask)
        frames = scipy.fft.irfft(mask * noisy, stft.n_fft)[..., : stft.window_length]
        if len(self.overlap) > len(frames):
            # What a target may amplify in its band without end, it does not above it.
            size = np.minimum(np.abs(mask), self.knobs.unity)
            gain = np.einsum("rtf,rf->rt", size, self.top) - 1
            frames = np.concatenate([frames, gain[..., None] * stft.window])
        y = add(frames, stft)
        y[:, : stft.pad] += self.overlap
        ready = frames.shape[1] * stft.hop_length
        self.overlap = y[:, ready:]
        drop = min(self.to_drop, ready)
        self.to_drop -= drop
        return y[:, drop:ready]

    def _mask(self, seen: np.ndarray, noisy: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Ask the network: complex64 [rows, frames, bins] -> masks of the same shape, and state.

        Linked channels share the mean of their masks, weighted by the power of their frames: a
        channel that is silent says nothing about the others.

        Args:
            seen: the frames that the network is given.
            noisy: those that the masks are for.
            state: of the network.
        """
        if self.channels == "mid":
            seen = np.add.reduceat(seen, self.starts) / self.counts[:, None, None]
        mask, state = self.runtime.mask(to_pairs(seen), state)
        mask = to_complex(mask)
        if self.channels == "mid":
            mask = mask[self.owner]
        elif self.channels == "linked" and len(self.counts) < len(mask):
            power = np.sum(np.abs(noisy) ** 2, axis=2, keepdims=True) + np.float32(1e-12)
            total = np.add.reduceat(power, self.starts)
            mask = (np.add.reduceat(mask * power, self.starts) / total)[self.owner]
        return mask, state


class _Carried:
    """Frames through a causal network, its state carried from call to call.

    Args:
        mask: see :meth:`_Rows._mask`.
        state: of the network before the first frame.
        held: as many frames of zeros as the network looks ahead: they come out first.
    """

    def __init__(self, mask: Any, state: Any, held: np.ndarray):
        self.mask, self.state, self.held = mask, state, held

    def feed(self, seen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Take frames and give as many back, those that were held first, with their masks."""
        noisy = np.concatenate([self.held, seen], axis=1)
        noisy, self.held = noisy[:, : seen.shape[1]], noisy[:, seen.shape[1] :]
        mask, self.state = self.mask(seen, noisy, self.state)
        yield noisy, mask

    def flush(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What is still held are the zeros behind the end."""
        return iter(())


class _Windows:
    """Frames through a network that is not causal, in windows with a cross-fade between them."""

    def __init__(self, mask: Any):
        self.mask = mask
        self.buffer: np.ndarray | None = None
        self.tail: np.ndarray | None = None  # the last masks of the window before
        self.fade = (np.arange(OVERLAP_FRAMES) + 1).astype(np.float32)[:, None]
        self.fade /= OVERLAP_FRAMES + 1

    def feed(self, noisy: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Take frames and give back those of complete windows, with their masks."""
        if self.buffer is not None:
            noisy = np.concatenate([self.buffer, noisy], axis=1)
        self.buffer = noisy
        while self.buffer.shape[1] > FRAMES_A_CALL:
            mask = self._window(self.buffer[:, :FRAMES_A_CALL])
            cut = FRAMES_A_CALL - OVERLAP_FRAMES
            self.tail = mask[:, cut:]
            done, self.buffer = self.buffer[:, :cut], self.buffer[:, cut:]
            yield done, mask[:, :cut]

    def flush(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give back the rest."""
        if self.buffer is not None and self.buffer.shape[1]:
            yield self.buffer, self._window(self.buffer)

    def _window(self, noisy: np.ndarray) -> np.ndarray:
        mask, _ = self.mask(noisy, noisy, None)
        if self.tail is not None:
            shared = min(OVERLAP_FRAMES, mask.shape[1])
            fade = self.fade[:shared]
            mask[:, :shared] = mask[:, :shared] * fade + self.tail[:, :shared] * (1 - fade)
        return mask
