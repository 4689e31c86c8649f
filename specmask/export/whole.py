"""A network with its STFT around it: samples in, samples out."""

from typing import Any

import keras
import numpy as np
from keras import ops

from specmask.audio.stft import Stft
from specmask.enhancement.postprocess import SMALLEST, Knobs
from specmask.models import Network, targets
from specmask.models.stft import overlap_add


class WholeModel(keras.Model):
    """A recording enhanced in one call: float32 [1, samples] -> [1, samples].

    The transforms are matrix products: the converter to ONNX has no FFT. Memory grows with the
    square of the length (the level normaliser compares all pairs of frames): meant for up to about
    a minute.

    Args:
        network: with its weights.
        stft: the transform that it was trained with.
        knobs: settings of the post-processing, part of the graph.
    """

    def __init__(self, network: Network, stft: Stft, knobs: Knobs):
        super().__init__(name="whole")
        self.network, self.stft, self.knobs = network, stft, knobs
        self.inner = network.model  # Keras tracks the weights of its attributes
        self.analysis = self._constant(analysis_matrix(stft)[:, None, :], "analysis")
        self.synthesis = self._constant(synthesis_matrix(stft), "synthesis")

    def _constant(self, values: np.ndarray, name: str) -> Any:
        constant = keras.initializers.Constant(values)
        return self.add_weight(shape=values.shape, initializer=constant, trainable=False, name=name)

    def call(self, x: Any) -> Any:
        """Return the enhanced samples."""
        stft, samples = self.stft, ops.shape(x)[1]
        x = ops.pad(x, ((0, 0), (stft.pad, stft.pad + stft.hop_length - 1)))
        noisy = ops.conv(x[..., None], self.analysis, strides=stft.hop_length, padding="valid")
        noisy = ops.reshape(noisy, (1, -1, stft.bins, 2))
        mask = apply_knobs(self.network.mask(noisy), self.knobs)
        enhanced = targets.apply_complex(mask, noisy)
        frames = ops.matmul(ops.reshape(enhanced, (1, -1, 2 * stft.bins)), self.synthesis)
        return overlap_add(frames, stft)[:, stft.pad : stft.pad + samples]


def apply_knobs(mask: Any, knobs: Knobs) -> Any:
    """Return what :meth:`specmask.enhancement.postprocess.Knobs.apply` does, of [..., bins, 2]."""
    if knobs == Knobs():
        return mask
    one = np.array([1, 0], np.float32)
    floor = 10 ** (-knobs.max_suppression_db / 20)
    magnitude = ops.sqrt(ops.sum(ops.square(mask), axis=-1, keepdims=True))
    least = ops.where(magnitude >= SMALLEST, mask / ops.maximum(magnitude, SMALLEST), one) * floor
    mask = ops.where(magnitude >= floor, mask, least)
    return knobs.gain * (knobs.mix * mask + (1 - knobs.mix) * one)


def analysis_matrix(stft: Stft) -> np.ndarray:
    """Return the windowed DFT, float32 [window_length, 2 bins]: real, imaginary, real, ..."""
    spectra = np.fft.rfft(np.diag(stft.window.astype(np.float64)), stft.n_fft)
    return spectra.view(np.float64).astype(np.float32)


def synthesis_matrix(stft: Stft) -> np.ndarray:
    """Return the inverse DFT with the synthesis window, float32 [2 bins, window_length]."""
    units = np.eye(stft.bins)[:, None, :] * np.array([1, 1j])[:, None]  # [bins, 2, bins]
    signals = np.fft.irfft(units, stft.n_fft)[..., : stft.window_length]
    return (signals * stft.synthesis_window).reshape(2 * stft.bins, -1).astype(np.float32)


def whole_model(network: Network, stft: Stft, knobs: Knobs) -> WholeModel:
    """Return a network with its STFT around it: samples [1, samples] -> [1, samples]."""
    model = WholeModel(network, stft, knobs)
    model(np.zeros((1, 1000), np.float32))
    return model
