"""What a user may turn on a mask: a limit, the share of the input, a gain."""

from dataclasses import dataclass

import numpy as np

from specmask.config.schema import Config

SMALLEST = 1e-20  # divisor for masks of zero: their phase is taken as zero


@dataclass(frozen=True)
class Knobs:
    """Settings of the sound; the defaults change nothing.

    Since the STFT is linear, all three act on the mask, so that the input that is mixed in
    lies in phase, in files, streams and exports alike.
    """

    max_suppression_db: float = 200.0
    mix: float = 1.0
    post_gain_db: float = 0.0

    @classmethod
    def from_config(cls, config: Config) -> "Knobs":
        """Return the settings of [enhance]."""
        c = config.enhance
        return cls(c.max_suppression_db, c.mix, c.post_gain_db)

    @property
    def unity(self) -> float:
        """What becomes of a mask of one."""
        return 10 ** (self.post_gain_db / 20)

    def turn(self, mask: np.ndarray) -> np.ndarray:
        """Return g · (m · M · max(1, f / |M|) + 1 − m) of a complex mask M.

        With f the smallest magnitude, m the mix and g the gain.
        """
        if self == Knobs():
            return mask
        floor = 10 ** (-self.max_suppression_db / 20)
        size = np.abs(mask)
        limited = np.where(
            size < floor,
            np.where(size > SMALLEST, mask / np.maximum(size, SMALLEST), 1) * floor,
            mask,
        )
        mixed = self.mix * limited + (1 - self.mix)
        return (self.unity * mixed).astype(np.complex64)
