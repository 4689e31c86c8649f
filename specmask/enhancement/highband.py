"""Between a recording's rate and the model's, there and back, in blocks."""

from typing import Any

import numpy as np
import soxr

from specmask.audio import io as audio_io

TOP_BAND = (0.75, 0.9375)  # of the band that recording and model share: tells the gain above it


class Bridge:
    """Resamples the blocks of a recording to the model's rate, and what comes out of it back.

    Args:
        rate: of the recording in Hz.
        model_rate: in Hz.
        channels: of the recording.
        n_fft: of the model's transform.
        keep: keep what lies above the model's band, at the gain of the mask's top.
    """

    def __init__(self, rate: int, model_rate: int, channels: int, n_fft: int, keep: bool):
        self.channels, self.same = channels, rate == model_rate
        self.keep = keep and not self.same
        # Weights of the bins whose mean gain counts above the model's band: [bins].
        hertz = np.arange(n_fft // 2 + 1) * model_rate / n_fft
        edges = [share * min(rate, model_rate) / 2 for share in TOP_BAND]
        top = (hertz >= edges[0]) & (hertz <= edges[1])
        self.top = (top / max(1, top.sum()) if self.keep else 0 * top).astype(np.float32)
        self.spare = 2 * -(-rate // model_rate)
        if not self.same:
            self._there = _resampler(rate, model_rate, channels)
            self._back = _resampler(model_rate, rate, channels * (3 if self.keep else 1))
        self.input = np.zeros((0, channels), np.float32)
        self.inside = np.zeros((0, channels), np.float32)  # the input at the model's rate

    def there(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        """Take a block at the recording's rate and return [samples, channels] at the model's."""
        if self.same:
            return x
        if last:  # both resamplers may round a length down
            x = audio_io.fit(x, len(x) + self.spare)
        y = self._there(x, last)
        if self.keep:
            self.input = np.concatenate([self.input, x])
            self.inside = np.concatenate([self.inside, y])
        return y

    def back(self, enhanced: np.ndarray, gain: np.ndarray, last: bool = False) -> np.ndarray:
        """Take rows at the model's rate and return a block at the recording's.

        Args:
            enhanced: float32 [channels, samples].
            gain: of what lies above the model's band, less 1, of the same shape.
        """
        if self.same:
            return enhanced.T
        if not self.keep:
            return self._back(enhanced.T, last)
        count = enhanced.shape[1]
        ready, self.inside = self.inside[:count], self.inside[count:]
        z = self._back(
            np.concatenate([enhanced.T, audio_io.fit(ready, count), gain.T], axis=1), last
        )
        own, self.input = audio_io.fit(self.input, len(z))[: len(z)], self.input[len(z) :]
        enhanced, low, gain = np.split(z, 3, axis=1)
        return enhanced + (1 + gain) * (own - low)


def _resampler(rate_in: int, rate_out: int, channels: int) -> Any:
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")

    def resample(x: np.ndarray, last: bool) -> np.ndarray:
        y = stream.resample_chunk(np.ascontiguousarray(x), last=last)
        return y.reshape(-1, channels)

    return resample
