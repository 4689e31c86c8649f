"""Windows, padding, frame counts and the STFT with its exact inverse, in NumPy.

Conventions:
    A waveform is ``[..., samples]`` float32, a spectrum ``[..., frames, bins]`` complex64.
    The signal is padded with ``window_length - hop_length`` zeros on both sides and with zeros
    up to a whole hop at the end. So every sample is in as many windows as every other, and
    the inverse is exact for all of them, the first and the last too. Frame t ends with sample
    (t + 1) * hop_length - 1: it needs no audio later than that.
    The window is at the left of its n_fft frame.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from specmask.config.schema import Config
from specmask.errors import UserError

# Below this ratio of the smallest to the largest sum of squared windows, the inverse would amplify
# the changes that a mask or rounding makes to a frame by more than 20 dB at some samples.
SMALLEST_OVERLAP = 1e-2

# w[n] = Σ a_k cos(2πkn/N): the same numbers as scipy.signal.get_window, whose import (0.5 s) would
# be most of the start of a stream.
COSINE_SUMS: dict[str, tuple[float, ...]] = {
    "hann": (0.5, -0.5),
    "hamming": (0.54, -0.46),
    "blackman": (0.42, -0.5, 0.08),
    "boxcar": (1.0,),
}


@dataclass(frozen=True)
class Stft:
    """The settings of a short-time Fourier transform; all lengths in samples."""

    window_type: str
    window_length: int
    hop_length: int
    n_fft: int

    @classmethod
    def from_config(cls, config: Config) -> "Stft":
        """Return the transform of a configuration.

        Raises:
            UserError: if the windows overlap too little to be inverted.
        """
        stft = cls(
            config.stft.window_type, config.window_length, config.hop_length, config.stft.n_fft
        )
        if not stft.is_invertible():
            hops = range(stft.hop_length, 0, -1)
            largest = next(hop for hop in hops if _is_invertible(stft.window, hop))
            raise UserError(
                f"[STFT] hop_size = {config.stft.hop_size:g} with a {stft.window_type} window of "
                f"{stft.window_length} samples cannot be inverted; the largest hop that works is "
                f"{largest} samples, hop_size = {largest / config.data.sample_rate:.6g}"
            )
        return stft

    @classmethod
    def hann(cls, window_length: int, hop_length: int) -> "Stft":
        """Return the transform with Hann windows and the shortest FFT that is a power of two."""
        return cls("hann", window_length, hop_length, 1 << (window_length - 1).bit_length())

    @property
    def bins(self) -> int:
        """Number of frequency bins."""
        return self.n_fft // 2 + 1

    @property
    def pad(self) -> int:
        """Number of zeros before the first sample, and how far the output lags in a stream."""
        return self.window_length - self.hop_length

    @cached_property
    def window(self) -> np.ndarray:
        """The periodic analysis window, float32 [window_length]."""
        phase = 2 * np.pi * np.arange(self.window_length) / self.window_length
        terms = COSINE_SUMS["hann" if self.window_type == "cosine" else self.window_type]
        window = np.sum([a * np.cos(k * phase) for k, a in enumerate(terms)], axis=0)
        if self.window_type == "cosine":
            window = np.sqrt(np.maximum(window, 0))
        return window.astype(np.float32)

    @cached_property
    def synthesis_window(self) -> np.ndarray:
        """w / Σw² over the hops, float32 [window_length]: makes overlap-add exact."""
        places = np.arange(self.window_length) % self.hop_length
        return (self.window / overlap(self.window, self.hop_length)[places]).astype(np.float32)

    def is_invertible(self) -> bool:
        """Return whether the windows overlap enough for the inverse."""
        return _is_invertible(self.window, self.hop_length)

    def frames(self, samples: int) -> int:
        """Number of frames of a signal of so many samples."""
        return -(-(samples + self.pad) // self.hop_length)


def overlap(window: np.ndarray, hop_length: int) -> np.ndarray:
    """Sum of the squared windows that overlap at each sample of a hop, float64 [hop_length]."""
    squared = np.zeros(-(-len(window) // hop_length) * hop_length)
    squared[: len(window)] = window.astype(np.float64) ** 2
    return squared.reshape(-1, hop_length).sum(0)


def _is_invertible(window: np.ndarray, hop_length: int) -> bool:
    sums = overlap(window, hop_length)
    return sums.min() >= SMALLEST_OVERLAP * sums.max()


def analyse(padded: np.ndarray, stft: Stft) -> np.ndarray:
    """Return the spectrum of every whole window in a signal that is already padded.

    Args:
        padded: float32 [..., samples].

    Returns:
        complex64 [..., frames, bins].
    """
    windows = np.lib.stride_tricks.sliding_window_view(padded, stft.window_length, axis=-1)
    return scipy.fft.rfft(windows[..., :: stft.hop_length, :] * stft.window, stft.n_fft)


def overlap_add(spectrum: np.ndarray, stft: Stft) -> np.ndarray:
    """Add up the inverse transforms of the frames, each weighted by the synthesis window.

    Args:
        spectrum: complex64 [..., frames, bins].

    Returns:
        float32 [..., (frames - 1) * hop_length + window_length]. All but the first and the last
        ``stft.pad`` samples are complete.
    """
    return add(scipy.fft.irfft(spectrum, stft.n_fft)[..., : stft.window_length], stft)


def add(frames: np.ndarray, stft: Stft) -> np.ndarray:
    """Weight frames by the synthesis window and overlap-add them.

    Args:
        frames: float32 [..., frames, window_length].

    Returns:
        float32 [..., (frames - 1) * hop_length + window_length].
    """
    frames = frames * stft.synthesis_window
    count, hop = frames.shape[-2], stft.hop_length
    # float64: hundreds of windows may overlap at a sample, and their rounding would add up
    out = np.zeros((*frames.shape[:-2], (count - 1) * hop + stft.window_length))
    for start in range(0, stft.window_length, hop):  # the k-th hop of every window at once
        piece = frames[..., start : start + hop]
        width = piece.shape[-1]
        places = np.lib.stride_tricks.sliding_window_view(
            out[..., start:], width, axis=-1, writeable=True
        )
        places[..., : (count - 1) * hop + 1 : hop, :] += piece
    return out.astype(np.float32)


def to_pairs(spectrum: np.ndarray) -> np.ndarray:
    """complex64 [..., bins] -> float32 [..., bins, 2] (real, imaginary), no copy if possible."""
    spectrum = np.ascontiguousarray(spectrum, np.complex64)
    return spectrum.view(np.float32).reshape(*spectrum.shape, 2)


def to_complex(pairs: np.ndarray) -> np.ndarray:
    """float32 [..., bins, 2] -> complex64 [..., bins], no copy if possible."""
    return np.ascontiguousarray(pairs, np.float32).view(np.complex64)[..., 0]


def forward(x: np.ndarray, stft: Stft) -> np.ndarray:
    """Return the STFT of a whole signal.

    Args:
        x: float32 [..., samples], at least one sample.

    Returns:
        complex64 [..., stft.frames(samples), bins].

    >>> forward(np.zeros(16000, np.float32), Stft.hann(400, 160)).shape
    (102, 257)
    """
    samples = x.shape[-1]
    total = (stft.frames(samples) - 1) * stft.hop_length + stft.window_length
    padded = np.zeros((*x.shape[:-1], total), np.float32)
    padded[..., stft.pad : stft.pad + samples] = x
    return analyse(padded, stft)


def inverse(spectrum: np.ndarray, samples: int, stft: Stft) -> np.ndarray:
    """Return the signal of a spectrum, cut to ``samples``.

    Args:
        spectrum: complex64 [..., frames, bins] as :func:`forward` makes it.
        samples: length of the signal.

    Returns:
        float32 [..., samples].

    >>> x, stft = np.ones(16000, np.float32), Stft.hann(400, 160)
    >>> bool(np.allclose(inverse(forward(x, stft), len(x), stft), x, atol=1e-6))
    True
    """
    return overlap_add(spectrum, stft)[..., stft.pad : stft.pad + samples]
