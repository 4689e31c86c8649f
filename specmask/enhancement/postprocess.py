"""Post-processing of masks: attenuation limit, dry/wet mix, gain."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from specmask.config.schema import Config

# name -> smallest and largest value
BOUNDS = {"max_suppression_db": (0, 200), "mix": (0, 1), "post_gain_db": (-60, 60)}
SMALLEST = 1e-20  # smaller masks count as zero: their phase is taken as zero


@dataclass(frozen=True)
class Knobs:
    """Settings of the post-processing; the defaults change nothing.

    The STFT is linear, so all three act on the mask: the input that is mixed in is in phase with
    the enhanced sound, in files, streams and exports alike.

    >>> Knobs(mix=0.5).apply(np.zeros(2, np.complex64))
    array([0.5+0.j, 0.5+0.j], dtype=complex64)

    Args:
        max_suppression_db: attenuation limit of every bin.
        mix: share of the enhanced sound (wet); the rest is the input (dry).
        post_gain_db: gain of the result.

    Raises:
        ValueError: if a value is out of range.
    """

    max_suppression_db: float = 200.0
    mix: float = 1.0
    post_gain_db: float = 0.0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in BOUNDS.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ValueError(f"{name} = {value}: expected a number from {lowest} to {highest}")

    @classmethod
    def of(cls, values: "Knobs | Mapping[str, float] | None") -> "Knobs":
        """Return knobs as they are, from a dictionary such as ``{"mix": 0.5}``, or the defaults.

        Raises:
            ValueError: if there is another name, or a value out of range.
        """
        if isinstance(values, Knobs):
            return values
        values = dict(values or {})
        if unknown := sorted(set(values) - set(BOUNDS)):
            raise ValueError(f"knobs: expected some of {', '.join(BOUNDS)}, found {unknown[0]}")
        return cls(**values)

    @classmethod
    def from_config(cls, config: Config) -> "Knobs":
        """Return the settings of [enhance]."""
        c = config.enhance
        return cls(c.max_suppression_db, c.mix, c.post_gain_db)

    @property
    def gain(self) -> float:
        """The gain as a factor: a mask of one becomes this."""
        return 10 ** (self.post_gain_db / 20)

    def apply(self, mask: np.ndarray) -> np.ndarray:
        """Return g · (m · M · max(1, f / |M|) + 1 − m) of a complex64 mask M of any shape.

        f is the smallest magnitude 10^(−max_suppression_db / 20), m the mix and g the gain.
        """
        if self == Knobs():
            return mask
        floor = 10 ** (-self.max_suppression_db / 20)
        magnitude = np.abs(mask)
        limited = np.where(
            magnitude < floor,
            np.where(magnitude > SMALLEST, mask / np.maximum(magnitude, SMALLEST), 1) * floor,
            mask,
        )
        mixed = self.mix * limited + (1 - self.mix)
        return (self.gain * mixed).astype(np.complex64)
