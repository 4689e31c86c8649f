"""Training targets: what a network's raw output means, as the complex mask that it amounts to.

Spectra and masks are float32 ``[..., frames, bins, 2]`` (real, imaginary): complex tensors are
never passed through a network. Whatever is estimated, a network hands out a complex mask M with
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

from specmask.config.schema import Config
from specmask.models.features import FLOOR, power

TINY = 1e-30  # of powers: silence is not divided by zero


@dataclass(frozen=True)
class Target:
    """A kind of target.

    Attributes:
        channels: of the network's raw output.
        mask: (raw [..., channels], levelled noisy spectrum [..., 2], config) -> mask [..., 2].
        ideal: (clean and noise spectrum [..., 2], config) -> the wanted gain [...], for losses on
            the mask itself; None where there are none.
    """

    channels: int
    mask: Callable[[Any, Any, Config], Any]
    ideal: Callable[[Any, Any, Config], Any] | None = None


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


def _complex(raw: Any, noisy: Any, config: Config) -> Any:
    # training starts near M = 1
    return bound(raw + np.array([1, 0], np.float32), config.model.mask_bound)


def _sigmoids(raw: Any, noisy: Any, config: Config) -> Any:
    return from_spectrum(ops.sigmoid(raw) * noisy, noisy)


def _magnitude(raw: Any, noisy: Any, config: Config) -> Any:
    return _real(config.model.mask_bound * ops.sigmoid(raw[..., 0]))


def _share(raw: Any, noisy: Any, config: Config) -> Any:
    return _real(ops.sigmoid(raw[..., 0]))


def _magnitude_mapping(raw: Any, noisy: Any, config: Config) -> Any:
    wanted = ops.power(ops.softplus(raw[..., 0]), 1 / config.model.compression)
    return _real(wanted / ops.sqrt(power(noisy) + FLOOR))


def _complex_mapping(raw: Any, noisy: Any, config: Config) -> Any:
    return from_spectrum(expand(raw, config.model.compression), noisy)


def _real_mapping(raw: Any, noisy: Any, config: Config) -> Any:
    real = expand(_real(raw[..., 0]), config.model.compression)
    return from_spectrum(ops.stack([real[..., 0], noisy[..., 1]], axis=-1), noisy)


def _noise_db(raw: Any, noisy: Any, config: Config) -> Any:
    attenuation_db = 82 * ops.tanh(raw[..., 0]) + 6
    return _real(ops.exp(-math.log(10) / 20 * attenuation_db))  # 10^(−dB / 20)


def _ideal_ratio(clean: Any, noise: Any, config: Config) -> Any:
    speech = power(clean)
    return ops.sqrt(speech / ops.maximum(speech + power(noise), TINY))


def _ideal_binary(clean: Any, noise: Any, config: Config) -> Any:
    threshold = 10 ** (config.model.binary_threshold_db / 10)
    return ops.cast(power(clean) > threshold * power(noise), "float32")


def _ideal_phase_sensitive(clean: Any, noise: Any, config: Config) -> Any:
    noisy = clean + noise
    product = ops.sum(clean * noisy, axis=-1)  # Re S Y*
    return ops.clip(product / ops.maximum(power(noisy), TINY), 0, 1)


# One line a target, with its NumPy twin in oracles.py. S clean, N noise, Y noisy, θ the angle
# between S and Y:
TARGETS = {
    # S / Y, real and imaginary part within ± mask_bound (Williamson et al. 2016)
    "complex": Target(2, _complex),
    # Re S / Re Y and Im S / Im Y within 0 and 1, as in the YunyangZeng project
    "sigmoids": Target(2, _sigmoids),
    # |S| / |Y| within 0 and mask_bound
    "magnitude": Target(1, _magnitude),
    # √(|S|² / (|S|² + |N|²)) (Wang and Chen 2018)
    "ratio": Target(1, _share, _ideal_ratio),
    # 1 where |S|² / |N|² is above binary_threshold_db, else 0; the output is its probability
    "binary": Target(1, _share, _ideal_binary),
    # |S| / |Y| cos θ within 0 and 1 (Erdogan et al. 2015)
    "phase_sensitive": Target(1, _share, _ideal_phase_sensitive),
    # |S|^p itself, with the noisy phase
    "magnitude_mapping": Target(1, _magnitude_mapping),
    # real and imaginary part of the compressed S
    "complex_mapping": Target(2, _complex_mapping),
    # the real part of S alone, as in the Doyosae project; the imaginary part stays noisy
    "real_mapping": Target(1, _real_mapping),
    # |Y| − |S| in dB, scaled (x − 6) / 82 as in the vbelz project, subtracted in dB
    "noise_db": Target(1, _noise_db),
}
