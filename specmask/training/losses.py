"""Loss functions, reference first, one value per example, and their weighted sum.

Conventions:
    Spectra and masks are float32 ``[batch, frames, bins, 2]``, waveforms float32
    ``[batch, samples]``, gains within 0 and 1 (the network's and the ideal one, see
    :class:`specmask.models.targets.Target`) ``[batch, frames, bins]``.
    Every function is written with keras.ops and returns float32 ``[batch]``; smaller is better,
    and its gradient is finite on silence. :class:`Objective` combines them.

References:
    [1] Wilson et al. 2018, Exploring tradeoffs in models for low-latency speech enhancement,
        arXiv 1811.07030.
    [2] Le Roux et al. 2019, SDR - half-baked or well done?, arXiv 1811.02508.
    [3] Wisdom et al. 2018, Differentiable consistency constraints for improved deep speech
        enhancement, arXiv 1811.08521.
    [4] Yamamoto et al. 2020, Parallel WaveGAN, arXiv 1910.11480.
    [5] Xia et al. 2020, Weighted speech distortion losses for neural-network-based real-time
        speech enhancement, arXiv 2001.10601.
    [6] Huber 1964, Robust estimation of a location parameter.
    [7] Milletari et al. 2016, V-Net, arXiv 1606.04797.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

from keras import ops

from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.models import features, targets
from specmask.models.stft import forward, inverse
from specmask.training.pesq import pesq

PROBABILITY_FLOOR = 1e-6  # log(p) of the cross entropy stays finite
AMPLITUDE_FLOOR = 1e-4  # of spectral magnitudes in logarithms and norms
CONVERGENCE_FLOOR = 0.01  # of the power of the mixture, under the norm of the clean spectrum
HUBER_RANGE_DB, HUBER_SCALE_DB = 80, 82  # of the vbelz project
RESOLUTIONS_SECONDS = (0.01, 0.025, 0.05)  # windows of the multi-resolution loss; hops a fifth
GAIN_FLOOR = 1e-12  # of |M|² in a logarithm: 32 dB below what the target noise_db reaches


# ---------------------------------------------------------------- spectra


def compressed(clean: Any, enhanced: Any, exponent: float, complex_weight: float) -> Any:
    """Mean over time and frequency of (|S|^p − |Ŝ|^p)² + λ |S^p − Ŝ^p|², after [1].

    There p = 0.3 and λ = 0.113.

    Differs from the paper: a mean instead of a sum, so that the value does not depend on the
    length; the floor of :func:`specmask.models.features.compress`.
    """
    magnitude = ops.square(
        features.compressed_magnitude(clean, exponent)
        - features.compressed_magnitude(enhanced, exponent)
    )
    difference = features.power(
        features.compress(clean, exponent) - features.compress(enhanced, exponent)
    )
    return ops.mean(magnitude + complex_weight * difference, axis=(1, 2))


def lost_speech(clean: Any, enhanced: Any, exponent: float) -> Any:
    """Mean over time and frequency of max(0, |S|^p − |Ŝ|^p)²: missing speech, not noise left.

    Beside :func:`compressed`, it weights lost speech higher than noise that remains.
    """
    missing = features.compressed_magnitude(clean, exponent)
    missing -= features.compressed_magnitude(enhanced, exponent)
    return ops.mean(ops.square(ops.maximum(missing, 0.0)), axis=(1, 2))


def mse(clean: Any, enhanced: Any) -> Any:
    """Mean over time and frequency of |S − Ŝ|²."""
    return ops.mean(features.power(clean - enhanced), axis=(1, 2))


def huber(clean: Any, enhanced: Any, delta: float = 1.0) -> Any:
    """Mean of e² / 2 where |e| ≤ δ and δ (|e| − δ / 2) beyond, e a real or imaginary part [6]."""
    return ops.mean(_huber(clean - enhanced, delta), axis=(1, 2, 3))


def huber_db(clean: Any, noisy: Any, mask: Any) -> Any:
    """Mean of Huber's function [6] (δ = 1) of the error of a mask in dB, in units of 82 dB.

    (20 log10 |M| − 20 log10 |S| / |Y|) / 82: with the target noise_db it is the error of the
    scaled attenuation, as the vbelz project trains on it. S and Y have a floor 80 dB below the
    loudest bin of Y; M has none to speak of, so that its gradient is the same at every level.
    """
    loudest = ops.max(features.power(noisy), axis=(1, 2), keepdims=True)
    floor = 10 ** (-HUBER_RANGE_DB / 10) * loudest + features.FLOOR
    ideal = (features.power(clean) + floor) / (features.power(noisy) + floor)
    error_db = 10 / math.log(10) * (ops.log(features.power(mask) + GAIN_FLOOR) - ops.log(ideal))
    return ops.mean(_huber(error_db / HUBER_SCALE_DB, 1), axis=(1, 2))


def _huber(error: Any, delta: float) -> Any:
    error = ops.abs(error)
    small = ops.minimum(error, delta)
    return 0.5 * ops.square(small) + delta * (error - small)


def consistency(resynthesised: Any, enhanced: Any, exponent: float) -> Any:
    """Mean of |Ŝ^p − P(Ŝ)^p|², P(Ŝ) the STFT of the inverse STFT of Ŝ, after [3].

    Zero if the estimate is the spectrum of some signal.

    Differs from the paper: there P is a layer and its output goes into the loss; here the
    distance to it is a part of the loss, so that it costs nothing when enhancing.
    """
    difference = features.compress(enhanced, exponent) - features.compress(resynthesised, exponent)
    return ops.mean(features.power(difference), axis=(1, 2))


def mixture_consistency(
    noise: Any, noisy: Any, enhanced: Any, exponent: float, complex_weight: float
) -> Any:
    """:func:`compressed` of the noise and of what the estimate leaves of the mixture, Y − Ŝ.

    After [3]: the estimates of speech and noise have to add up to the mixture. With one mask the
    noise estimate that does so is Y − Ŝ, and it is held against the noise.

    Differs from the paper: there both sources are estimated and projected onto that constraint.
    """
    return compressed(noise, noisy - enhanced, exponent, complex_weight)


def speech_noise(clean: Any, kept: Any, left: Any, speech_weight: float) -> Any:
    """α mean |S − M S|² + (1 − α) mean |M N|², after [5]: distortion against residual noise.

    Args:
        clean: S.
        kept: the mask applied to the clean spectrum, M S.
        left: the mask applied to the noise of the mixture, M N.
        speech_weight: α.

    Differs from the paper: a complex mask; all frames, also those without speech.
    """
    residual = ops.mean(features.power(left), axis=(1, 2))
    return speech_weight * mse(clean, kept) + (1 - speech_weight) * residual


# ---------------------------------------------------------------- waveforms


def negative_si_sdr(clean: Any, enhanced: Any) -> Any:
    """−SI-SDR in dB, of signals without their means [2].

    Differs from the paper: a floor 60 dB below the clean power keeps the value and its gradient
    finite for silence and for perfect estimates.
    """
    clean = clean - ops.mean(clean, axis=-1, keepdims=True)
    enhanced = enhanced - ops.mean(enhanced, axis=-1, keepdims=True)
    energy = ops.sum(ops.square(clean), axis=-1, keepdims=True)
    floor = 1e-6 * energy + 1e-6
    scale = ops.sum(clean * enhanced, axis=-1, keepdims=True) / (energy + floor)
    target = scale * clean  # α s with α = ⟨ŝ, s⟩ / ‖s‖²
    wanted = ops.sum(ops.square(target), axis=-1) + floor[..., 0]
    unwanted = ops.sum(ops.square(enhanced - target), axis=-1) + floor[..., 0]
    return -10 / ops.log(10.0) * (ops.log(wanted) - ops.log(unwanted))


def negative_sdr(clean: Any, enhanced: Any) -> Any:
    """10 log10 ‖s − ŝ‖² / ‖s‖², −SDR in dB: unlike SI-SDR, it depends on the level.

    Differs from the plain ratio: a floor 40 dB below the clean power keeps the value and its
    gradient finite for silence, and nearly perfect estimates from outweighing all others.
    """
    energy = ops.sum(ops.square(clean), axis=-1)
    floor = 1e-4 * energy + 1e-6
    error = ops.sum(ops.square(clean - enhanced), axis=-1)
    return 10 / ops.log(10.0) * (ops.log(error + floor) - ops.log(energy + floor))


def waveform_l1(clean: Any, enhanced: Any) -> Any:
    """Mean of |s − ŝ| over the samples."""
    return ops.mean(ops.abs(clean - enhanced), axis=-1)


def multi_resolution(clean: list[Any], noisy: list[Any], enhanced: list[Any]) -> Any:
    """Spectral convergence plus the mean distance of log magnitudes, over resolutions [4].

    ‖|S| − |Ŝ|‖_F / max(‖|S|‖_F, 0.1 ‖|Y|‖_F) + mean |ln |S| − ln |Ŝ||, averaged over the
    resolutions.

    Differs from the paper: magnitudes have a floor of 1e-4, and the norm below has one 20 dB
    under the mixture, so that a file without speech counts no more than others.

    Args:
        clean: the spectra of the clean signals, one tensor per resolution.
        noisy: those of the mixtures.
        enhanced: those of the estimates.
    """
    values = []
    for s, y, e in zip(clean, noisy, enhanced, strict=True):
        s, e = (ops.sqrt(features.power(x) + AMPLITUDE_FLOOR**2) for x in (s, e))
        above = ops.sum(ops.square(s - e), axis=(1, 2)) + AMPLITUDE_FLOOR**2
        below = ops.sum(ops.square(s), axis=(1, 2)) + AMPLITUDE_FLOOR**2
        floor = CONVERGENCE_FLOOR * ops.sum(features.power(y), axis=(1, 2))
        convergence = ops.sqrt(above / ops.maximum(below, floor))
        values.append(convergence + ops.mean(ops.abs(ops.log(s) - ops.log(e)), axis=(1, 2)))
    return sum(values[1:], values[0]) / len(values)


# ---------------------------------------------------------------- masks


def mask_mse(ideal: Any, gain: Any) -> Any:
    """Mean over time and frequency of (t − p)²."""
    return ops.mean(ops.square(ideal - gain), axis=(1, 2))


def bce(ideal: Any, gain: Any) -> Any:
    """Cross entropy −mean(t ln p + (1 − t) ln(1 − p)), the gain p held within [1e-6, 1 − 1e-6].

    Smallest at p = t for a ratio t as well, but zero only where all t are 0 or 1.
    """
    p = ops.clip(gain, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -ops.mean(ideal * ops.log(p) + (1 - ideal) * ops.log(1 - p), axis=(1, 2))


def dice(ideal: Any, gain: Any) -> Any:
    """1 − (2 Σ p t + 1) / (Σ p² + Σ t² + 1), after [7].

    Differs from the paper: the ones, by which two empty masks agree.
    """
    both = ops.sum(ideal * gain, axis=(1, 2))
    each = ops.sum(ops.square(ideal), axis=(1, 2)) + ops.sum(ops.square(gain), axis=(1, 2))
    return 1 - (2 * both + 1) / (each + 1)


# ---------------------------------------------------------------- the objective


class Estimate:
    """A batch and what the network made of it, with everything that losses need of them.

    What several losses need is computed once.

    Args:
        config: the configuration.
        stft: its transform.
        clean, noise: spectra [batch, frames, bins, 2].
        mask, enhanced: of the network, of the same shape.
    """

    def __init__(
        self, config: Config, stft: Stft, clean: Any, noise: Any, mask: Any, enhanced: Any
    ):
        self.config, self.stft = config, stft
        self.clean, self.noise, self.noisy = clean, noise, clean + noise
        self.mask, self.enhanced = mask, enhanced
        self.exponent = config.model.compression
        self.complex_weight = config.train.complex_weight
        self.speech_weight = config.train.speech_weight

    @cached_property
    def clean_wave(self) -> Any:
        """The clean signals [batch, samples]."""
        return self._wave(self.clean)

    @cached_property
    def enhanced_wave(self) -> Any:
        """The enhanced signals [batch, samples]."""
        return self._wave(self.enhanced)

    @property
    def clean_resolutions(self) -> list[Any]:
        """Spectra of the clean signals, one tensor per resolution."""
        return self._resolutions(self.clean_wave)

    @property
    def noisy_resolutions(self) -> list[Any]:
        """Spectra of the mixtures, one tensor per resolution."""
        return self._resolutions(self._wave(self.noisy))

    @property
    def enhanced_resolutions(self) -> list[Any]:
        """Spectra of the enhanced signals, one tensor per resolution."""
        return self._resolutions(self.enhanced_wave)

    @property
    def enhanced_inside(self) -> Any:
        """The enhanced spectra without the frames at the edges."""
        return self._inside(self.enhanced)

    @property
    def resynthesised_inside(self) -> Any:
        """STFT of the enhanced signals without the frames at the edges."""
        return self._inside(forward(self.enhanced_wave, self.stft))

    @property
    def speech_kept(self) -> Any:
        """The mask applied to the clean spectra."""
        return targets.apply_complex(self.mask, self.clean)

    @property
    def noise_left(self) -> Any:
        """The mask applied to the noise."""
        return targets.apply_complex(self.mask, self.noise)

    @property
    def gain(self) -> Any:
        """The real part of the mask [batch, frames, bins]: all of it where the target is a gain."""
        return self.mask[..., 0]

    @property
    def ideal_gain(self) -> Any:
        """The gain that the network should estimate [batch, frames, bins]."""
        c = self.config.model
        return targets.TARGETS[c.target].ideal(self.clean, self.noise, c, ops)[..., 0]

    def _wave(self, spectrum: Any) -> Any:
        samples = ops.shape(self.clean)[1] * self.stft.hop_length - self.stft.pad
        return inverse(spectrum, samples, self.stft)

    def _resolutions(self, wave: Any) -> list[Any]:
        return [forward(wave, stft) for stft in resolutions(self.config.data.sample_rate)]

    def _inside(self, spectrum: Any) -> Any:
        # The first and last frames of a crop extend beyond it, where the signal is not known.
        edge = -(-self.stft.pad // self.stft.hop_length)
        return spectrum[:, : ops.shape(self.clean)[1]][:, edge : -edge or None]


# name: (function, attributes of an Estimate that it takes)
LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "compressed": (compressed, "clean enhanced exponent complex_weight"),
    "si_sdr": (negative_si_sdr, "clean_wave enhanced_wave"),
    "waveform_l1": (waveform_l1, "clean_wave enhanced_wave"),
    "multi_resolution": (
        multi_resolution,
        "clean_resolutions noisy_resolutions enhanced_resolutions",
    ),
    "consistency": (consistency, "resynthesised_inside enhanced_inside exponent"),
    "mixture_consistency": (mixture_consistency, "noise noisy enhanced exponent complex_weight"),
    "speech_noise": (speech_noise, "clean speech_kept noise_left speech_weight"),
    "sdr": (negative_sdr, "clean_wave enhanced_wave"),
    "lost_speech": (lost_speech, "clean enhanced exponent"),
    "pesq": (pesq, "clean_wave enhanced_wave"),
    "mse": (mse, "clean enhanced"),
    "huber": (huber, "clean enhanced"),
    "huber_db": (huber_db, "clean noisy mask"),
    "mask_mse": (mask_mse, "ideal_gain gain"),
    "bce": (bce, "ideal_gain gain"),
    "dice": (dice, "ideal_gain gain"),
}


class Objective:
    """The weighted sum of the losses of a configuration, its terms."""

    def __init__(self, config: Config):
        self.config, self.stft = config, Stft.from_config(config)
        self.weights = dict(config.train.loss)

    @property
    def names(self) -> list[str]:
        """Names of the terms, as in the configuration."""
        return list(self.weights)

    def terms(self, clean: Any, noise: Any, mask: Any, enhanced: Any) -> Any:
        """Return every term without its weight, float32 [terms, batch].

        Args:
            clean, noise: spectra [batch, frames, bins, 2].
            mask, enhanced: of the network, of the same shape.
        """
        estimate = Estimate(self.config, self.stft, clean, noise, mask, enhanced)
        terms = []
        for function, needs in (LOSSES[name] for name in self.weights):
            terms.append(function(*(getattr(estimate, need) for need in needs.split())))
        return ops.stack(terms)

    def total(self, terms: Any) -> Any:
        """Return the weighted sum of terms [terms, ...] -> [...]."""
        weighted = [w * terms[k] for k, w in enumerate(self.weights.values())]
        return sum(weighted[1:], weighted[0])


def resolutions(rate: int) -> list[Stft]:
    """Return the transforms of the multi-resolution loss at a sampling rate in Hz."""
    made = []
    for seconds in RESOLUTIONS_SECONDS:
        window = max(10, 5 * round(seconds * rate / 5))
        made.append(Stft.hann(window, window // 5))
    return made
