"""Training targets, and how a mask is applied.

Spectra and masks are float32 ``[..., frames, bins, 2]`` (real, imaginary): complex tensors are
never passed through a network.
"""

from typing import Any

from keras import ops


def bound(raw: Any, limit: float) -> Any:
    """Limit real and imaginary part of a mask to (-limit, limit): M = limit · tanh(raw / limit).

    The slope at zero is 1 for every limit. After Wisdom et al. 2018, arXiv 1811.08521.
    """
    return limit * ops.tanh(raw / limit)


def apply_complex(mask: Any, noisy: Any) -> Any:
    """Complex product Ŝ = M · Y of two tensors [..., 2]."""
    mask_real, mask_imag = mask[..., 0], mask[..., 1]
    noisy_real, noisy_imag = noisy[..., 0], noisy[..., 1]
    return ops.stack(
        [
            mask_real * noisy_real - mask_imag * noisy_imag,
            mask_real * noisy_imag + mask_imag * noisy_real,
        ],
        axis=-1,
    )
