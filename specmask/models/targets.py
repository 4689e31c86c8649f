"""Training targets: the complex mask that a network's raw output stands for, and the ideal one.

Spectra and masks are float32 ``[..., frames, bins, 2]`` (real, imaginary): complex tensors are
never passed through a network. Whatever is estimated, a network returns a complex mask M with
Ŝ = M · Y: so streams, several channels, exports and limits work alike for all.

References:
    Williamson, Wang and Wang 2016, Complex ratio masking for monaural speech separation.
    Erdogan et al. 2015, Phase-sensitive and recognition-boosted speech separation using deep
        recurrent neural networks.
    Wang and Chen 2018, Supervised speech separation based on deep learning: an overview.
    Wisdom et al. 2018, Differentiable consistency constraints, arXiv 1811.08521.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from specmask.audio import ideal_masks
from specmask.audio.ideal_masks import NOISE_DB, NOISE_DB_SPAN, Options
from specmask.config.model import Model
from specmask.models.features import FLOOR, power


@dataclass(frozen=True)
class Target:
    """A kind of target.

    Attributes:
        channels: of the network's raw output.
        mask: (raw [..., channels], levelled noisy spectrum [..., 2], [model]) -> mask [..., 2].
        ideal: (clean and noise spectrum [..., 2], [model], xp) -> mask [..., 2] of a perfect
            network; xp is NumPy or keras.ops.
    """

    channels: int
    mask: Callable[[Any, Any, Model], Any]
    ideal: Callable[[Any, Any, Options, Any], Any]


def bound(raw: Any, limit: float) -> Any:
    """Limit real and imaginary part of a mask to (-limit, limit): M = limit · tanh(raw / limit).

    The slope at zero is 1 for every limit. After Wisdom et al. 2018.

    >>> float(bound(np.float32(100), 2)), float(bound(np.float32(0), 2))
    (2.0, 0.0)
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


def from_spectrum(enhanced: Any, noisy: Any) -> Any:
    """Return the mask that makes one spectrum of another: M = Ŝ Y* / (|Y|² + ε)."""
    conjugate = noisy * np.array([1, -1], np.float32)
    return apply_complex(enhanced, conjugate) / (power(noisy) + FLOOR)[..., None]


def expand(compressed: Any, exponent: float) -> Any:
    """Undo :func:`specmask.models.features.compress`: X · (|X|² + ε)^((1/p − 1) / 2)."""
    return compressed * ops.power(power(compressed) + FLOOR, (1 / exponent - 1) / 2)[..., None]


def _real(gain: Any) -> Any:
    """A gain [...] as a mask [..., 2] that leaves the phase alone."""
    return ops.stack([gain, ops.zeros_like(gain)], axis=-1)


def _complex(raw: Any, noisy: Any, c: Model) -> Any:
    # training starts near M = 1
    return bound(raw + np.array([1, 0], np.float32), c.mask_bound)


def _sigmoids(raw: Any, noisy: Any, c: Model) -> Any:
    return from_spectrum(ops.sigmoid(raw) * noisy, noisy)


def _magnitude(raw: Any, noisy: Any, c: Model) -> Any:
    return _real(c.mask_bound * ops.sigmoid(raw[..., 0]))


def _share(raw: Any, noisy: Any, c: Model) -> Any:
    return _real(ops.sigmoid(raw[..., 0]))


def _magnitude_mapping(raw: Any, noisy: Any, c: Model) -> Any:
    magnitude = ops.power(ops.softplus(raw[..., 0]), 1 / c.compression)
    return _real(magnitude / ops.sqrt(power(noisy) + FLOOR))


def _complex_mapping(raw: Any, noisy: Any, c: Model) -> Any:
    return from_spectrum(expand(raw, c.compression), noisy)


def _real_mapping(raw: Any, noisy: Any, c: Model) -> Any:
    real = expand(_real(raw[..., 0]), c.compression)
    return from_spectrum(ops.stack([real[..., 0], noisy[..., 1]], axis=-1), noisy)


def _noise_db(raw: Any, noisy: Any, c: Model) -> Any:
    attenuation_db = NOISE_DB_SPAN * ops.tanh(raw[..., 0]) + NOISE_DB
    return _real(ops.exp(-math.log(10) / 20 * attenuation_db))  # 10^(−dB / 20)


# One line per target: outputs, mask, ideal mask. S clean, N noise, Y noisy, θ the angle between
# S and Y:
TARGETS = {
    # S / Y, real and imaginary part within ± mask_bound (Williamson et al. 2016)
    "complex": Target(2, _complex, ideal_masks.complex_mask),
    # Re S / Re Y and Im S / Im Y within 0 and 1, as in the YunyangZeng project
    "sigmoids": Target(2, _sigmoids, ideal_masks.sigmoids),
    # |S| / |Y| within 0 and mask_bound
    "magnitude": Target(1, _magnitude, ideal_masks.magnitude),
    # √(|S|² / (|S|² + |N|²)) (Wang and Chen 2018)
    "ratio": Target(1, _share, ideal_masks.ratio),
    # 1 where |S|² / |N|² is above binary_threshold_db, else 0; the output is its probability
    "binary": Target(1, _share, ideal_masks.binary),
    # |S| / |Y| cos θ within 0 and 1 (Erdogan et al. 2015)
    "phase_sensitive": Target(1, _share, ideal_masks.phase_sensitive),
    # |S|^p itself, with the noisy phase
    "magnitude_mapping": Target(1, _magnitude_mapping, ideal_masks.magnitude_mapping),
    # real and imaginary part of the compressed S
    "complex_mapping": Target(2, _complex_mapping, ideal_masks.complex_mapping),
    # the real part of S alone, as in the Doyosae project; the imaginary part stays noisy
    "real_mapping": Target(1, _real_mapping, ideal_masks.real_mapping),
    # |Y| − |S| in dB, scaled (x − 6) / 82 as in the vbelz project, subtracted in dB
    "noise_db": Target(1, _noise_db, ideal_masks.noise_db),
}
