"""Features: the inputs of networks, made from a compressed spectrum.

Spectra are float32 ``[..., frames, bins, 2]``, levelled: the running mean of |Y|² is 1.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from specmask.config.schema import Config

# Floor of |X|²: gradients stay finite at zero bins, and features made in float32 and float64
# agree. A spectrum bin of 16-bit rounding noise has about this power.
FLOOR = 1e-8
PEAK_DB = 20  # of a levelled spectrum: upper end of the logarithm's range
RANGE_DB = 80


def power(spectrum: Any) -> Any:
    """|X|² of [..., 2] -> [...]."""
    return ops.square(spectrum[..., 0]) + ops.square(spectrum[..., 1])


def compress(spectrum: Any, exponent: float) -> Any:
    """Compress the magnitude and keep the phase: X · (|X|² + ε)^((p − 1) / 2).

    The input of Wilson et al. 2018 (arXiv 1811.07030, p = 0.3). ``pow`` of a complex
    number would scale the phase as well.

    Differs from the paper: the floor ε, without which the gradient at a zero bin is not finite.

    Args:
        spectrum: float32 [..., 2].

    Returns:
        float32 [..., 2].
    """
    return spectrum * ops.power(power(spectrum) + FLOOR, (exponent - 1) / 2)[..., None]


def compressed_magnitude(spectrum: Any, exponent: float) -> Any:
    """(|X|² + ε)^(p / 2) of [..., 2] -> [...]."""
    powers = power(spectrum) + FLOOR
    # The slow part is the one of :func:`compress`: exports compute it once for both.
    return ops.power(powers, (exponent - 1) / 2) * ops.sqrt(powers)


def scaled_db(powers: Any) -> Any:
    """Powers in dB, scaled as in the vbelz project: (x + 46) / 50 with x from −80 to 0 dB.

    Differs from the project: 0 dB is 20 dB above the running level, not the loudest bin of the
    window, which a stream does not know.
    """
    x = 10 / math.log(10) * ops.log(powers + FLOOR) - PEAK_DB
    return (ops.clip(x, -RANGE_DB, 0) + 46) / 50


def mel_matrix(bins: int, rate: int, bands: int) -> np.ndarray:
    """Return triangles of area 1, evenly on mel(f) = 2595 log10(1 + f / 700): [bins, bands].

    A band narrower than the bins are apart takes the nearest bin.

    >>> mel_matrix(bins=257, rate=16000, bands=40).sum(axis=0).round(3).tolist() == [1.0] * 40
    True
    """
    hz = np.linspace(0, rate / 2, bins)
    edges = np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    rise = (hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz[:, None]) / (edges[2:] - edges[1:-1])
    matrix = np.maximum(0, np.minimum(rise, fall))
    for band in np.flatnonzero(matrix.sum(axis=0) < 1e-3):
        matrix[np.argmin(np.abs(hz - edges[band + 1])), band] = 1
    return (matrix / matrix.sum(axis=0)).astype(np.float32)


def _log_mel(spectrum: Any, config: Config) -> Any:
    matrix = mel_matrix(config.bins, config.data.sample_rate, config.model.mel_bands)
    return scaled_db(ops.matmul(power(spectrum), matrix))


def _to_bins(config: Config) -> np.ndarray:
    """Interpolate from mel bands to bins: [bands, bins]."""
    mel = mel_matrix(config.bins, config.data.sample_rate, config.model.mel_bands)
    centres = np.arange(config.bins) @ mel
    at = np.interp(np.arange(config.bins), centres, np.arange(mel.shape[1]))
    distance = np.abs(at[None, :] - np.arange(mel.shape[1])[:, None])
    return np.maximum(0, 1 - distance).astype(np.float32)


def _cepstral_smoothing(config: Config) -> np.ndarray:
    """Keep the first cepstral coefficients: DCT, its first rows, and back; [bands, bands]."""
    bands, kept = (
        config.model.mel_bands,
        min(config.model.mfcc_coefficients, config.model.mel_bands),
    )
    k, n = np.arange(kept)[:, None], np.arange(bands)[None, :]
    dct = np.sqrt(2 / bands) * np.cos(np.pi * k * (2 * n + 1) / (2 * bands))
    dct[0] /= np.sqrt(2)
    return (dct.T @ dct).astype(np.float32)


def mel(spectrum: Any, config: Config) -> Any:
    """Logarithmic mel spectrum, interpolated to the bins, as the other features."""
    return ops.matmul(_log_mel(spectrum, config), _to_bins(config))


def mfcc(spectrum: Any, config: Config) -> Any:
    """The envelope that the first mel-frequency cepstral coefficients describe, on the bins."""
    matrix = _cepstral_smoothing(config) @ _to_bins(config)
    return ops.matmul(_log_mel(spectrum, config), matrix)


# One line per feature: name -> function (levelled spectrum [..., bins, 2], config) -> [..., bins].
FEATURES = {
    "magnitude": lambda x, config: compressed_magnitude(x, config.model.compression),
    "real": lambda x, config: compress(x, config.model.compression)[..., 0],
    "imaginary": lambda x, config: compress(x, config.model.compression)[..., 1],
    "log_magnitude": lambda x, config: scaled_db(power(x)),
    "mel": mel,
    "mfcc": mfcc,
}


def stack(spectrum: Any, config: Config) -> Any:
    """Return the features of a configuration as channels: [..., 2] -> [..., features]."""
    return ops.stack([FEATURES[name](spectrum, config) for name in config.model.features], axis=-1)


def delta_phase(spectrum: Any, before: Any, turn: Any = None) -> Any:
    """Cosine and sine of the phase step between two spectra of one shape [..., bins, 2].

    ∠(Y · Y'* · e^{−jφ}) with φ = ``turn`` [bins], the step that a steady tone in the middle of
    the bin makes; zero where |Y| ≈ 0, since the product is divided by its magnitude + ε.
    """
    a, b = spectrum[..., 0], spectrum[..., 1]
    c, d = before[..., 0], before[..., 1]
    real, imaginary = a * c + b * d, b * c - a * d
    if turn is not None:
        cos, sin = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
        real, imaginary = real * cos + imaginary * sin, imaginary * cos - real * sin
    product = ops.stack([real, imaginary], axis=-1)
    return product / (ops.sqrt(power(product) + FLOOR**2) + FLOOR)[..., None]


def delta_phase_time(spectrum: Any, last: Any, hop_length: int, n_fft: int) -> tuple[Any, Any]:
    """Phase steps along time, ∠(Y[t,k] · Y*[t−1,k] · e^{−j2πk·hop/n_fft}), and the new state.

    Args:
        spectrum: [batch, frames, bins, 2].
        last: the frame before the first one [batch, bins, 2]; zero at the start.

    Returns:
        cosine and sine [batch, frames, bins, 2], and the last frame.
    """
    turn = 2 * np.pi * np.arange(spectrum.shape[2]) * hop_length / n_fft
    before = ops.concatenate([last[:, None], spectrum], axis=1)
    return delta_phase(spectrum, before[:, :-1], turn), before[:, -1]


def delta_phase_frequency(spectrum: Any) -> Any:
    """Phase steps along frequency, ∠(Y[t,k] · Y*[t,k−1]); zero at the first bin."""
    before = ops.pad(spectrum[..., :-1, :], [(0, 0)] * (len(spectrum.shape) - 2) + [(1, 0), (0, 0)])
    return delta_phase(spectrum, before)
