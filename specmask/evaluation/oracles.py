"""Oracles: what every target would reach with a perfect network, which knows the clean speech.

Conventions:
    Spectra are complex ``[frames, bins]``: S clean, Y noisy, N = Y − S. The oracle of a target is
    a function (clean, noisy, settings) -> complex mask M, what a perfect network with this target
    puts out: Ŝ = M · Y. The targets are those of :mod:`specmask.models.targets`, which are written
    for networks; these are their NumPy twins, so that nobody who scores needs TensorFlow.
    Where Y is zero the mask is zero, and so is the estimate.

References:
    [1] Wang, Narayanan, Wang: On training targets for supervised speech separation.
        IEEE/ACM TASLP 22(12), 2014.
    [2] Williamson, Wang, Wang: Complex ratio masking for monaural speech separation.
        IEEE/ACM TASLP 24(3), 2016.
    [3] Erdogan, Hershey, Watanabe, Le Roux: Phase-sensitive and recognition-boosted speech
        separation using deep recurrent neural networks. ICASSP 2015.
"""

from dataclasses import dataclass

import numpy as np

from specmask.audio.stft import Stft, forward, inverse
from specmask.config.schema import Config

TINY = np.finfo(np.float32).tiny
PREFIX = "oracle_"  # of their names among the systems
NOISE_DB = (6 - 82, 6 + 82)  # |Y| − |S| in dB that noise_db can tell


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
        """Return the network's transform, as long in time, for signals at a rate in Hz."""
        scale = rate / self.sample_rate
        window = max(2, round(scale * self.window_length))
        hop = min(window, max(1, round(scale * self.hop_length)))
        return Stft(self.window_type, window, hop, max(window, round(scale * self.n_fft)))


def complex_mask(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """S / Y of [2], real and imaginary part within ± mask_bound."""
    mask, bound = _divide(clean, noisy), settings.mask_bound
    return np.clip(mask.real, -bound, bound) + 1j * np.clip(mask.imag, -bound, bound)


def sigmoids(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """Re S / Re Y and Im S / Im Y, each within 0 and 1: Ŝ = M₁ Re Y + j M₂ Im Y."""
    real, imaginary = (
        np.clip(np.divide(s, y, out=np.zeros_like(s), where=y != 0), 0, 1) * y
        for s, y in ((clean.real, noisy.real), (clean.imag, noisy.imag))
    )
    return _divide(real + 1j * imaginary, noisy)


def magnitude(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """|S| / |Y| within 0 and mask_bound, with the noisy phase."""
    return np.minimum(_gain(clean, noisy), settings.mask_bound)


def ratio(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """√(|S|² / (|S|² + |N|²)) of [1]."""
    speech, noise = _power(clean), _power(noisy - clean)
    return np.sqrt(speech / np.maximum(speech + noise, TINY))


def binary(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """1 where |S|² / |N|² is above binary_threshold_db, else 0 [1]."""
    threshold = 10 ** (settings.binary_threshold_db / 10)
    return (_power(clean) > threshold * _power(noisy - clean)).astype(np.float64)


def phase_sensitive(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """|S| / |Y| cos θ = Re(S / Y) within 0 and 1 [3]."""
    return np.clip(_divide(clean, noisy).real, 0, 1)


def magnitude_mapping(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """|S| itself with the noisy phase: |S| / |Y| without a bound."""
    return _gain(clean, noisy)


def complex_mapping(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """S itself: S / Y without a bound, nothing but the clean speech."""
    return _divide(clean, noisy)


def real_mapping(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """Re S with the noisy imaginary part: (Re S + j Im Y) / Y."""
    return _divide(clean.real + 1j * noisy.imag, noisy)


def noise_db(clean: np.ndarray, noisy: np.ndarray, settings: Settings) -> np.ndarray:
    """Noisy minus clean magnitude in dB within 6 ± 82, subtracted in dB from the noisy one."""
    gain_db = 20 * np.log10(np.maximum(_gain(clean, noisy), TINY))
    return 10 ** (-np.clip(-gain_db, *NOISE_DB) / 20)


# One line a target, as in masks.TARGETS.
MASKS = {
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
ORACLES = tuple(PREFIX + target for target in MASKS)


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
    mask = MASKS[name.removeprefix(PREFIX)](s, y, settings)
    return inverse((mask * y).astype(np.complex64), len(noisy), stft)


def _power(spectrum: np.ndarray) -> np.ndarray:
    return np.square(spectrum.real) + np.square(spectrum.imag)


def _gain(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """|S| / |Y|, 0 where Y is zero."""
    return np.abs(_divide(clean, noisy))


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Complex ratio, 0 where the divisor is zero."""
    return np.divide(above, below, out=np.zeros(below.shape, complex), where=below != 0)
