"""What a network sees of a spectrum: power-law compression and the features made from it."""

from typing import Any

from keras import ops

# Floor of |X|²: gradients stay finite at zero bins, and features made in float32 and float64
# agree. A spectrum bin of 16-bit rounding noise has about this power.
FLOOR = 1e-8


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
    return ops.power(power(spectrum) + FLOOR, exponent / 2)


# One line a feature: name -> function (spectrum [..., bins, 2], exponent) -> [..., bins].
FEATURES = {
    "magnitude": compressed_magnitude,
    "real": lambda spectrum, exponent: compress(spectrum, exponent)[..., 0],
    "imaginary": lambda spectrum, exponent: compress(spectrum, exponent)[..., 1],
}


def stack(spectrum: Any, names: list[str], exponent: float) -> Any:
    """Return the named features as channels: [..., bins, 2] -> [..., bins, features]."""
    return ops.stack([FEATURES[name](spectrum, exponent) for name in names], axis=-1)
