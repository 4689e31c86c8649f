"""What a training minimises: the losses of ``[train] loss``, each with its weight.

Conventions:
    All tensors are float32 ``[batch, frames, bins, 2]``; a crop of a longer spectrum is as good
    as a whole one. Waveforms are what the inverse STFT makes of the frames where all windows
    meet: frames · hop_length − pad samples.
"""

from functools import cached_property
from typing import Any

from keras import ops

from specmask import losses, masks
from specmask.config import Config
from specmask.models import transform
from specmask.spectral import Stft

RESOLUTIONS_SECONDS = (0.01, 0.025, 0.05)  # windows of the multi-resolution loss; hops a fifth


class Estimate:
    """A batch with what the network made of it; what several losses need is computed once."""

    def __init__(self, clean: Any, noise: Any, noisy: Any, mask: Any, enhanced: Any, stft: Stft):
        self.clean, self.noise, self.noisy = clean, noise, noisy
        self.mask, self.enhanced, self.stft = mask, enhanced, stft

    @cached_property
    def waves(self) -> tuple[Any, Any]:
        """The clean and the enhanced signals [batch, samples]."""
        samples = ops.shape(self.clean)[1] * self.stft.hop_length - self.stft.pad
        clean, enhanced = (
            transform.inverse(s, samples, self.stft) for s in (self.clean, self.enhanced)
        )
        return clean, enhanced

    @property
    def gain(self) -> Any:
        """The real part of the mask [batch, frames, bins]: all of it where the target is a gain."""
        return self.mask[..., 0]


class Objective:
    """The weighted sum of the losses of a configuration."""

    def __init__(self, config: Config):
        self.config, self.stft = config, Stft.from_config(config)
        self.weights = dict(config.train.loss)

    @property
    def names(self) -> list[str]:
        """Names of the parts, as in the configuration."""
        return list(self.weights)

    def parts(self, e: Estimate) -> Any:
        """Return every part without its weight: float32 [parts, batch]."""
        return ops.stack([getattr(self, f"_{name}")(e) for name in self.weights])

    def total(self, parts: Any) -> Any:
        """Return the weighted sum of parts [parts, ...] -> [...]."""
        weighted = [w * parts[k] for k, w in enumerate(self.weights.values())]
        return sum(weighted[1:], weighted[0])

    def _compressed(self, e: Estimate) -> Any:
        p, weight = self.config.model.compression, self.config.train.complex_weight
        return losses.compressed(e.clean, e.enhanced, p, weight)

    def _si_sdr(self, e: Estimate) -> Any:
        return losses.negative_si_sdr(*e.waves)

    def _waveform_l1(self, e: Estimate) -> Any:
        return losses.waveform_l1(*e.waves)

    def _multi_resolution(self, e: Estimate) -> Any:
        rate = self.config.data.sample_rate
        clean, enhanced = (
            [transform.forward(wave, stft) for stft in resolutions(rate)] for wave in e.waves
        )
        return losses.multi_resolution(clean, enhanced)

    def _consistency(self, e: Estimate) -> Any:
        again = transform.forward(e.waves[1], e.stft)
        # The first and last frames of a crop reach beyond it: what lies there is not known.
        edge = -(-e.stft.pad // e.stft.hop_length)
        inner = slice(edge, -edge or None)
        frames = ops.shape(e.enhanced)[1]
        return losses.consistency(
            e.enhanced[:, inner], again[:, :frames][:, inner], self.config.model.compression
        )

    def _mixture_consistency(self, e: Estimate) -> Any:
        p, weight = self.config.model.compression, self.config.train.complex_weight
        return losses.mixture_consistency(e.noise, e.noisy, e.enhanced, p, weight)

    def _speech_noise(self, e: Estimate) -> Any:
        kept, left = (masks.apply_complex(e.mask, x) for x in (e.clean, e.noise))
        return losses.speech_noise(e.clean, kept, left, self.config.train.speech_weight)

    def _mse(self, e: Estimate) -> Any:
        return losses.mse(e.clean, e.enhanced)

    def _huber(self, e: Estimate) -> Any:
        return losses.huber(e.clean, e.enhanced)

    def _huber_db(self, e: Estimate) -> Any:
        return losses.huber_db(e.clean, e.noisy, e.mask)

    def _mask_mse(self, e: Estimate) -> Any:
        return losses.mask_mse(self._ideal(e), e.gain)

    def _bce(self, e: Estimate) -> Any:
        return losses.bce(self._ideal(e), e.gain)

    def _dice(self, e: Estimate) -> Any:
        return losses.dice(self._ideal(e), e.gain)

    def _ideal(self, e: Estimate) -> Any:
        """The gain that the network should estimate [batch, frames, bins]."""
        ideal = masks.TARGETS[self.config.model.target].ideal
        return ideal(e.clean, e.noise, self.config)


def resolutions(rate: int) -> list[Stft]:
    """Return the transforms of the multi-resolution loss at a sampling rate in Hz."""
    made = []
    for seconds in RESOLUTIONS_SECONDS:
        window = max(10, 5 * round(seconds * rate / 5))
        made.append(Stft.hann(window, window // 5))
    return made
