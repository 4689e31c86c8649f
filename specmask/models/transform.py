"""The Keras twin of :mod:`specmask.spectral`, for losses on waveforms; tested against it."""

from typing import Any

from keras import ops

from specmask.spectral import Stft


def inverse(spectrum: Any, samples: int, stft: Stft) -> Any:
    """Return the signals [batch, samples] of spectra [batch, frames, bins, 2]."""
    frames = ops.irfft((spectrum[..., 0], spectrum[..., 1]), fft_length=stft.n_fft)
    frames = frames[..., : stft.window_length] * ops.convert_to_tensor(stft.synthesis_window)
    hop = stft.hop_length
    hops = -(-stft.window_length // hop)  # hops that a window covers
    frames = ops.pad(frames, ((0, 0), (0, 0), (0, hops * hop - stft.window_length)))
    # The k-th hop of every window, moved k hops later, adds up to the signal.
    parts = [
        ops.pad(frames[..., k * hop : (k + 1) * hop], ((0, 0), (k, hops - 1 - k), (0, 0)))
        for k in range(hops)
    ]
    signal = ops.reshape(sum(parts[1:], parts[0]), (ops.shape(spectrum)[0], -1))
    return signal[:, stft.pad : stft.pad + samples]
