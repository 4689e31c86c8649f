"""Short-time Fourier transform in Keras, for losses on waveforms: that of specmask.audio.stft.

Not ``keras.ops.stft``, which centres the window in its n_fft frame; here it is left-aligned.
"""

from typing import Any

from keras import ops

from specmask.audio.stft import Stft


def forward(signal: Any, stft: Stft) -> Any:
    """Return the spectra [batch, frames, bins, 2] of signals [batch, samples]."""
    samples = ops.shape(signal)[-1]
    frames = -(-(samples + stft.pad) // stft.hop_length)
    total = (frames - 1) * stft.hop_length + stft.window_length
    return analyse(ops.pad(signal, ((0, 0), (stft.pad, total - stft.pad - samples))), stft)


def analyse(padded: Any, stft: Stft) -> Any:
    """Return the spectra of every whole window in signals [batch, samples] padded already."""
    count = (ops.shape(padded)[-1] - stft.window_length) // stft.hop_length + 1
    hops = -(-stft.window_length // stft.hop_length)
    rows = ops.pad(padded, ((0, 0), (0, hops * stft.hop_length)))
    rows = rows[:, : (count + hops - 1) * stft.hop_length]
    rows = ops.reshape(rows, (ops.shape(padded)[0], count + hops - 1, stft.hop_length))
    frames = ops.concatenate([rows[:, k : k + count] for k in range(hops)], axis=-1)
    frames = frames[..., : stft.window_length] * ops.convert_to_tensor(stft.window)
    frames = ops.pad(frames, ((0, 0), (0, 0), (0, stft.n_fft - stft.window_length)))
    real, imaginary = ops.rfft(frames, fft_length=stft.n_fft)
    return ops.stack([real, imaginary], axis=-1)


def inverse(spectrum: Any, samples: Any, stft: Stft) -> Any:
    """Return the signals [batch, samples] of spectra [batch, frames, bins, 2]."""
    frames = ops.irfft((spectrum[..., 0], spectrum[..., 1]), fft_length=stft.n_fft)
    frames = frames[..., : stft.window_length] * ops.convert_to_tensor(stft.synthesis_window)
    return overlap_add(frames, stft)[:, stft.pad : stft.pad + samples]


def overlap_add(frames: Any, stft: Stft) -> Any:
    """Add up frames [batch, frames, window_length], each a hop after the one before."""
    hop = stft.hop_length
    hops = -(-stft.window_length // hop)  # hops that a window covers
    frames = ops.pad(frames, ((0, 0), (0, 0), (0, hops * hop - stft.window_length)))
    # The k-th hop of every window, moved k hops later, adds up to the signal.
    parts = [
        ops.pad(frames[..., k * hop : (k + 1) * hop], ((0, 0), (k, hops - 1 - k), (0, 0)))
        for k in range(hops)
    ]
    return ops.reshape(sum(parts[1:], parts[0]), (ops.shape(frames)[0], -1))
