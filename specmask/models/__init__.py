"""Networks: one file each. Adding one is a build function and a line in :data:`NETWORKS`."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from specmask import features, masks
from specmask.config import Config
from specmask.models import autoencoder, band_lstm, conv_lstm, crn, layers, unet

# name -> module with causal(config) -> bool and
# build(config, features [batch, frames, bins, n], channels, states) -> raw [..., bins, channels]
NETWORKS = {
    "conv_lstm": conv_lstm,
    "band_lstm": band_lstm,
    "crn": crn,
    "unet": unet,
    "autoencoder": autoencoder,
}


@dataclass(frozen=True)
class Network:
    """One function ``(noisy spectrum, state) -> (mask, state)`` for whole files and for streams.

    The spectrum is float32 [batch, frames, bins, 2] with any number of frames from 1 on, the
    mask has its shape; the state is a list of float32 tensors [batch, ...], all zero at the
    start. A network that is not causal has no state and sees what it is given as the whole.
    """

    model: keras.Model
    causal: bool

    def zero_state(self, batch: int) -> list[Any]:
        """Return the state before the first frame."""
        return [ops.zeros((batch, *x.shape[1:])) for x in self.model.inputs[1:]]

    def __call__(self, noisy: Any, state: list[Any], training: bool = False) -> tuple[Any, list]:
        """Return the mask of these frames and the state after them."""
        inputs = [ops.convert_to_tensor(x) for x in (noisy, *state)]
        mask, *state = _as_list(self.model(inputs, training=training))
        return mask, state

    def estimate(self, noisy: Any, training: bool = False) -> tuple[Any, Any]:
        """Return the enhanced spectra of whole clips [batch, frames, bins, 2] and their masks."""
        mask, _ = self(noisy, self.zero_state(ops.shape(noisy)[0]), training)
        return masks.apply_complex(mask, noisy), mask

    def enhance(self, noisy: Any, training: bool = False) -> Any:
        """Return the enhanced spectra of whole clips [batch, frames, bins, 2]."""
        return self.estimate(noisy, training)[0]


def build(config: Config) -> Network:
    """Build the network of a configuration, with weights drawn by Keras's current seed."""
    noisy = keras.Input((None, config.bins, 2), name="noisy")
    states = layers.States(causal=NETWORKS[config.model.network].causal(config))
    normalise = layers.LevelNormaliser(layers.level_frames(config), name="level")
    levelled = states.through(normalise, noisy, 2)
    target = masks.TARGETS[config.model.target]
    raw = NETWORKS[config.model.network].build(
        config, _features(config, levelled, states), target.channels, states
    )
    # A network may compute in half precision; its mask is made and applied in single precision.
    mask = target.mask(ops.cast(raw, "float32"), levelled, config)
    return Network(
        keras.Model([noisy, *states.inputs], [mask, *states.outputs], name=config.model.network),
        causal=states.causal,
    )


def _features(config: Config, levelled: Any, states: layers.States) -> Any:
    """Return what the network sees [batch, frames, bins, features]."""
    found = [features.stack(levelled, config)]
    if config.model.delta_phase in ("time", "both"):
        layer = layers.DeltaPhase(
            config.hop_length, config.stft.n_fft, name="delta_phase", dtype="float32"
        )
        found.append(states.through(layer, levelled, config.bins, 2))
    if config.model.delta_phase in ("frequency", "both"):
        found.append(features.delta_phase_frequency(levelled))
    return ops.concatenate(found, axis=-1) if len(found) > 1 else found[0]


def _as_list(x: Any) -> list:
    return list(x) if isinstance(x, list | tuple) else [x]
