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
from typing import Any, Protocol

import numpy as np
from keras import ops

from specmask.config.model import Model
from specmask.models.features import FLOOR, power

NOISE_DB, NOISE_DB_SPAN = 6, 82  # middle and half the range of noise_db, after the vbelz project


class Options(Protocol):
    """What ideal masks depend on: options of ``[model]``."""

    @property
    def mask_bound(self) -> float: ...
    @property
    def binary_threshold_db(self) -> float: ...


@dataclass(frozen=True)
class Target:
    """A kind of target.

    Attributes:
        channels: of the network's raw output.
        mask: (raw [..., channels], levelled noisy spectrum [..., 2], [model]) -> mask [..., 2].
        ideal: (clean and noise spectrum [..., 2], options) -> mask [..., 2] of a perfect network;
            where the noisy spectrum is zero, so is the mask. float32 or float64.
    """

    channels: int
    mask: Callable[[Any, Any, Model], Any]
    ideal: Callable[[Any, Any, Options], Any]


def bound(raw: Any, limit: float) -> Any:
    """Limit real and imaginary part of a mask to (-limit, limit): M = limit · tanh(raw / limit).

    The slope at zero is 1 for every limit. After Wisdom et al. 2018.
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


def _divide(above: Any, below: Any) -> Any:
    """Ratio of real tensors, 0 where the divisor is zero."""
    empty = ops.equal(below, 0)
    return ops.where(empty, 0, above / ops.where(empty, 1, below))


def _quotient(above: Any, below: Any) -> Any:
    """Complex ratio A B* / |B|² of two tensors [..., 2], 0 where B is zero."""
    a, b, c, d = above[..., 0], above[..., 1], below[..., 0], below[..., 1]
    size = power(below)
    return ops.stack([_divide(a * c + b * d, size), _divide(b * c - a * d, size)], axis=-1)


def _gain(clean: Any, noise: Any) -> Any:
    """|S| / |Y| of [..., 2] -> [...], 0 where Y is zero."""
    return ops.sqrt(_divide(power(clean), power(clean + noise)))


# ---------------------------------------------------------------- masks of raw outputs


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


# ---------------------------------------------------------------- ideal masks


def _ideal_complex(clean: Any, noise: Any, options: Options) -> Any:
    return ops.clip(_quotient(clean, clean + noise), -options.mask_bound, options.mask_bound)


def _ideal_sigmoids(clean: Any, noise: Any, options: Options) -> Any:
    noisy = clean + noise
    return _quotient(ops.clip(_divide(clean, noisy), 0, 1) * noisy, noisy)


def _ideal_magnitude(clean: Any, noise: Any, options: Options) -> Any:
    return _real(ops.minimum(_gain(clean, noise), options.mask_bound))


def _ideal_ratio(clean: Any, noise: Any, options: Options) -> Any:
    speech = power(clean)
    return _real(ops.sqrt(_divide(speech, speech + power(noise))))


def _ideal_binary(clean: Any, noise: Any, options: Options) -> Any:
    threshold = 10 ** (options.binary_threshold_db / 10)
    return _real(ops.cast(power(clean) > threshold * power(noise), clean.dtype))


def _ideal_phase_sensitive(clean: Any, noise: Any, options: Options) -> Any:
    return _real(ops.clip(_quotient(clean, clean + noise)[..., 0], 0, 1))


def _ideal_magnitude_mapping(clean: Any, noise: Any, options: Options) -> Any:
    return _real(_gain(clean, noise))


def _ideal_complex_mapping(clean: Any, noise: Any, options: Options) -> Any:
    return _quotient(clean, clean + noise)


def _ideal_real_mapping(clean: Any, noise: Any, options: Options) -> Any:
    noisy = clean + noise
    return _quotient(ops.stack([clean[..., 0], noisy[..., 1]], axis=-1), noisy)


def _ideal_noise_db(clean: Any, noise: Any, options: Options) -> Any:
    ends_db = -NOISE_DB - NOISE_DB_SPAN, -NOISE_DB + NOISE_DB_SPAN
    return _real(ops.clip(_gain(clean, noise), *(10 ** (db / 20) for db in ends_db)))


# One line per target: outputs, mask, ideal mask. S clean, N noise, Y noisy, θ the angle between
# S and Y:
TARGETS = {
    # S / Y, real and imaginary part within ± mask_bound (Williamson et al. 2016)
    "complex": Target(2, _complex, _ideal_complex),
    # Re S / Re Y and Im S / Im Y within 0 and 1, as in the YunyangZeng project
    "sigmoids": Target(2, _sigmoids, _ideal_sigmoids),
    # |S| / |Y| within 0 and mask_bound
    "magnitude": Target(1, _magnitude, _ideal_magnitude),
    # √(|S|² / (|S|² + |N|²)) (Wang and Chen 2018)
    "ratio": Target(1, _share, _ideal_ratio),
    # 1 where |S|² / |N|² is above binary_threshold_db, else 0; the output is its probability
    "binary": Target(1, _share, _ideal_binary),
    # |S| / |Y| cos θ within 0 and 1 (Erdogan et al. 2015)
    "phase_sensitive": Target(1, _share, _ideal_phase_sensitive),
    # |S|^p itself, with the noisy phase
    "magnitude_mapping": Target(1, _magnitude_mapping, _ideal_magnitude_mapping),
    # real and imaginary part of the compressed S
    "complex_mapping": Target(2, _complex_mapping, _ideal_complex_mapping),
    # the real part of S alone, as in the Doyosae project; the imaginary part stays noisy
    "real_mapping": Target(1, _real_mapping, _ideal_real_mapping),
    # |Y| − |S| in dB, scaled (x − 6) / 82 as in the vbelz project, subtracted in dB
    "noise_db": Target(1, _noise_db, _ideal_noise_db),
}
