"""Ideal masks: the complex mask of a perfect network for every target.

Spectra and masks are tensors ``[..., 2]`` (real, imaginary): S clean, N noise, Y = S + N noisy, θ
the angle between S and Y. Where Y is zero the mask is zero.

The functions take ``xp``, NumPy or ``keras.ops``, whose names they use: the losses of masks need
them in a training step, the oracles in double precision and without TensorFlow.

References:
    [1] Wang, Narayanan, Wang: On training targets for supervised speech separation.
        IEEE/ACM TASLP 22(12), 2014.
    [2] Williamson, Wang, Wang: Complex ratio masking for monaural speech separation.
        IEEE/ACM TASLP 24(3), 2016.
    [3] Erdogan, Hershey, Watanabe, Le Roux: Phase-sensitive and recognition-boosted speech
        separation using deep recurrent neural networks. ICASSP 2015.
"""

from collections.abc import Callable
from typing import Any, Protocol

NOISE_DB, NOISE_DB_SPAN = 6, 82  # middle and half the range of noise_db, after the vbelz project


class Options(Protocol):
    """Options of ``[model]`` that ideal masks depend on."""

    @property
    def mask_bound(self) -> float: ...
    @property
    def binary_threshold_db(self) -> float: ...


def complex_mask(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """S / Y of [2], real and imaginary part within ± mask_bound."""
    return xp.clip(_quotient(clean, clean + noise, xp), -options.mask_bound, options.mask_bound)


def sigmoids(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """Re S / Re Y and Im S / Im Y, each within 0 and 1: Ŝ = M₁ Re Y + j M₂ Im Y."""
    noisy = clean + noise
    return _quotient(xp.clip(_divide(clean, noisy, xp), 0, 1) * noisy, noisy, xp)


def magnitude(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """|S| / |Y| within 0 and mask_bound, with the noisy phase."""
    return _real(xp.minimum(_gain(clean, noise, xp), options.mask_bound), xp)


def ratio(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """√(|S|² / (|S|² + |N|²)) of [1]."""
    speech = _power(clean)
    return _real(xp.sqrt(_divide(speech, speech + _power(noise), xp)), xp)


def binary(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """1 where |S|² / |N|² is above binary_threshold_db, else 0 [1]."""
    threshold = 10 ** (options.binary_threshold_db / 10)
    return _real(xp.where(_power(clean) > threshold * _power(noise), 1.0, 0.0), xp)


def phase_sensitive(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """|S| / |Y| cos θ = Re(S / Y) within 0 and 1 [3]."""
    return _real(xp.clip(_quotient(clean, clean + noise, xp)[..., 0], 0, 1), xp)


def magnitude_mapping(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """|S| itself with the noisy phase: |S| / |Y| without a bound."""
    return _real(_gain(clean, noise, xp), xp)


def complex_mapping(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """S itself: S / Y without a bound, nothing but the clean speech."""
    return _quotient(clean, clean + noise, xp)


def real_mapping(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """Re S with the noisy imaginary part: (Re S + j Im Y) / Y."""
    noisy = clean + noise
    return _quotient(xp.stack([clean[..., 0], noisy[..., 1]], axis=-1), noisy, xp)


def noise_db(clean: Any, noise: Any, options: Options, xp: Any) -> Any:
    """|S| / |Y| where |Y| − |S| in dB is within 6 ± 82, else at the end of that range."""
    ends_db = -NOISE_DB - NOISE_DB_SPAN, -NOISE_DB + NOISE_DB_SPAN
    return _real(xp.clip(_gain(clean, noise, xp), *(10 ** (db / 20) for db in ends_db)), xp)


IDEAL_MASKS: dict[str, Callable[[Any, Any, Options, Any], Any]] = {
    "complex": complex_mask,
    "sigmoids": sigmoids,
    "magnitude": magnitude,
    "ratio": ratio,
    "binary": binary,
    "phase_sensitive": phase_sensitive,
    "magnitude_mapping": magnitude_mapping,
    "complex_mapping": complex_mapping,
    "real_mapping": real_mapping,
    "noise_db": noise_db,
}


def _power(spectrum: Any) -> Any:
    return spectrum[..., 0] * spectrum[..., 0] + spectrum[..., 1] * spectrum[..., 1]


def _real(gain: Any, xp: Any) -> Any:
    """A gain [...] as a mask [..., 2] that leaves the phase alone."""
    return xp.stack([gain, xp.zeros_like(gain)], axis=-1)


def _divide(above: Any, below: Any, xp: Any) -> Any:
    """Ratio of real tensors, 0 where the divisor is zero."""
    empty = xp.equal(below, 0)
    return xp.where(empty, 0.0, above / xp.where(empty, 1.0, below))


def _quotient(above: Any, below: Any, xp: Any) -> Any:
    """Complex ratio A B* / |B|² of two tensors [..., 2], 0 where B is zero."""
    a, b, c, d = above[..., 0], above[..., 1], below[..., 0], below[..., 1]
    size = _power(below)
    return xp.stack([_divide(a * c + b * d, size, xp), _divide(b * c - a * d, size, xp)], axis=-1)


def _gain(clean: Any, noise: Any, xp: Any) -> Any:
    """|S| / |Y| of [..., 2] -> [...], 0 where Y is zero."""
    return xp.sqrt(_divide(_power(clean), _power(clean + noise), xp))
