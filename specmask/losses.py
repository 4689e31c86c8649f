"""Loss functions: reference first, one value an example, written with keras.ops.

Spectra are float32 ``[batch, frames, bins, 2]``, waveforms float32 ``[batch, samples]``.

References:
    Wilson et al. 2018, Exploring tradeoffs in models for low-latency speech enhancement,
        arXiv 1811.07030.
    Le Roux et al. 2019, SDR - half-baked or well done?, arXiv 1811.02508.
"""

from typing import Any

from keras import ops

from specmask import features


def compressed(clean: Any, enhanced: Any, exponent: float, complex_weight: float) -> Any:
    """Mean over time and frequency of (|S|^p − |Ŝ|^p)² + λ |S^p − Ŝ^p|².

    Wilson et al. 2018, with p = 0.3 and λ = 0.113.

    Differs from the paper: a mean instead of a sum, so that the value does not depend on the
    length; the floor of :func:`specmask.features.compress`.

    Returns:
        float32 [batch].
    """
    magnitude = ops.square(
        features.compressed_magnitude(clean, exponent)
        - features.compressed_magnitude(enhanced, exponent)
    )
    difference = features.power(
        features.compress(clean, exponent) - features.compress(enhanced, exponent)
    )
    return ops.mean(magnitude + complex_weight * difference, axis=(1, 2))


def negative_si_sdr(clean: Any, enhanced: Any) -> Any:
    """−SI-SDR in dB, zero mean; Le Roux et al. 2019.

    Differs from the paper: a floor 60 dB below the clean power keeps the value and its gradient
    finite for silence and for perfect estimates.

    Returns:
        float32 [batch].
    """
    clean = clean - ops.mean(clean, axis=-1, keepdims=True)
    enhanced = enhanced - ops.mean(enhanced, axis=-1, keepdims=True)
    energy = ops.sum(ops.square(clean), axis=-1, keepdims=True)
    floor = 1e-6 * energy + 1e-6
    scale = ops.sum(clean * enhanced, axis=-1, keepdims=True) / (energy + floor)
    target = scale * clean  # α s with α = ⟨ŝ, s⟩ / ‖s‖²
    wanted = ops.sum(ops.square(target), axis=-1) + floor[..., 0]
    unwanted = ops.sum(ops.square(enhanced - target), axis=-1) + floor[..., 0]
    return -10 / ops.log(10.0) * (ops.log(wanted) - ops.log(unwanted))
