"""Oracles: the enhanced signal of a perfect network of every target, which knows the clean speech.

Spectra are complex ``[frames, bins]``: S clean, Y noisy, N = Y − S; Ŝ = M · Y. The ideal masks M
are those of :mod:`specmask.audio.ideal_masks`.
"""

from dataclasses import dataclass

import numpy as np

from specmask.audio.ideal_masks import IDEAL_MASKS
from specmask.audio.stft import Stft, forward, inverse
from specmask.config.schema import Config

PREFIX = "oracle_"  # of their names among the systems
ORACLES = tuple(PREFIX + target for target in IDEAL_MASKS)


@dataclass(frozen=True)
class Settings:
    """What oracles depend on, as numbers that a report can keep.

    Attributes:
        sample_rate: of the network, in Hz.
        window_type, window_length, hop_length, n_fft: its transform, lengths in samples.
        mask_bound, binary_threshold_db: of ``[model]``. Its ``compression`` makes no difference:
            what is compressed is expanded again.
    """

    sample_rate: int
    window_type: str
    window_length: int
    hop_length: int
    n_fft: int
    mask_bound: float
    binary_threshold_db: float

    @classmethod
    def from_config(cls, config: Config) -> "Settings":
        """Return the settings of a configuration.

        Raises:
            UserError: if its transform cannot be inverted.
        """
        stft, model = Stft.from_config(config), config.model
        return cls(
            config.data.sample_rate,
            stft.window_type,
            stft.window_length,
            stft.hop_length,
            stft.n_fft,
            model.mask_bound,
            model.binary_threshold_db,
        )

    def transform(self, rate: int) -> Stft:
        """Return the network's transform for another rate in Hz, of the same length in time."""
        scale = rate / self.sample_rate
        window = max(2, round(scale * self.window_length))
        hop = min(window, max(1, round(scale * self.hop_length)))
        return Stft(self.window_type, window, hop, max(window, round(scale * self.n_fft)))


def mask(target: str, clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the complex mask [frames, bins] of a perfect network with a target.

    Where Y is zero the mask is zero, and so is the estimate.
    """
    s, n = (np.stack([x.real, x.imag], axis=-1) for x in (clean, noisy - clean))
    found = IDEAL_MASKS[target](s, n, settings, np)
    return found[..., 0] + 1j * found[..., 1]


def apply(
    name: str, noisy: np.ndarray, clean: np.ndarray, rate: int, settings: Settings
) -> np.ndarray:
    """Run an oracle by its name, ``oracle_`` and its target.

    Args:
        name: one of :data:`ORACLES`.
        noisy, clean: [samples].
        rate: in Hz.
        settings: transform and bounds.

    Returns:
        float32 [samples].
    """
    stft = settings.transform(rate)
    s, y = (forward(np.asarray(x, np.float32), stft).astype(np.complex128) for x in (clean, noisy))
    estimate = mask(name.removeprefix(PREFIX), s, y, settings) * y
    return inverse(estimate.astype(np.complex64), len(noisy), stft)
