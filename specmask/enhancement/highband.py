"""Conversion between a recording's rate and the model's, with the band above the model's kept.

Conventions:
    Where the recording's rate is higher, its output above the model's band is g · (x − x'), with
    x' the input resampled to the model's rate and back, and g the gain of the top of the mask.
    x' passes the same resampler as the enhanced sound, so a mask of one gives x back.
"""

from collections.abc import Callable

import numpy as np
import soxr

from specmask.audio import io as audio_io

# The mean gain of this part of the band that recording and model share is the gain above it.
TOP_BAND = (0.75, 0.9375)


class RateConverter:
    """Resamples the blocks of a recording to the model's rate, and the enhanced ones back.

    Args:
        rate: of the recording in Hz.
        model_rate: in Hz.
        channels: of the recording.
        n_fft: of the model's transform.
        keep: keep what is above the model's band, at the gain of the mask's top.
    """

    def __init__(self, rate: int, model_rate: int, channels: int, n_fft: int, keep: bool):
        self.channels, self.same = channels, rate == model_rate
        self.keep = keep and not self.same
        # Weights of the bins whose mean gain holds above the model's band: [bins].
        bin_hz = np.arange(n_fft // 2 + 1) * model_rate / n_fft
        low_hz, high_hz = (share * min(rate, model_rate) / 2 for share in TOP_BAND)
        top = (bin_hz >= low_hz) & (bin_hz <= high_hz)
        self.top_weights = (top / max(1, top.sum()) if self.keep else 0 * top).astype(np.float32)
        # Both resamplers may round a length down.
        self.padding = 2 * -(-rate // model_rate)
        if not self.same:
            self._down = _resampler(rate, model_rate, channels)
            self._up = _resampler(model_rate, rate, channels * (3 if self.keep else 1))
        # What has gone in and not yet come out, at both rates.
        self.input = np.zeros((0, channels), np.float32)
        self.input_at_model_rate = np.zeros((0, channels), np.float32)

    def to_model_rate(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        """Take a block at the recording's rate and return [samples, channels] at the model's."""
        if self.same:
            return x
        if last:
            x = audio_io.fit(x, len(x) + self.padding)
        y = self._down(x, last)
        if self.keep:
            self.input = np.concatenate([self.input, x])
            self.input_at_model_rate = np.concatenate([self.input_at_model_rate, y])
        return y

    def to_input_rate(
        self, enhanced: np.ndarray, gain: np.ndarray, last: bool = False
    ) -> np.ndarray:
        """Take a block at the model's rate and return [samples, channels] at the recording's.

        Args:
            enhanced: float32 [channels, samples].
            gain: above the model's band, less 1, of the same shape.
            last: whether this is the last block.
        """
        if self.same:
            return enhanced.T
        if not self.keep:
            return self._up(enhanced.T, last)
        count = enhanced.shape[1]
        low = audio_io.fit(self.input_at_model_rate[:count], count)
        self.input_at_model_rate = self.input_at_model_rate[count:]
        y = self._up(np.concatenate([enhanced.T, low, gain.T], axis=1), last)
        original = audio_io.fit(self.input, len(y))[: len(y)]
        self.input = self.input[len(y) :]
        enhanced, low, gain = np.split(y, 3, axis=1)
        return enhanced + (1 + gain) * (original - low)


def _resampler(
    rate_in: int, rate_out: int, channels: int
) -> Callable[[np.ndarray, bool], np.ndarray]:
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")

    def resample(x: np.ndarray, last: bool) -> np.ndarray:
        y = stream.resample_chunk(np.ascontiguousarray(x), last=last)
        return y.reshape(-1, channels)

    return resample
