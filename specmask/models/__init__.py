"""Networks: one file each. Adding one is a build function and a line in :data:`NETWORKS`.

Look-ahead of L frames is the same for every causal network: its output after frame t + L is the
mask of frame t. So its step stays one frame and a state, and the caller of the step delays the
noisy frames by L. Inside, a :class:`specmask.models.layers.Delay` puts the features of frame t
beside those of frame t + L, so that a network of short convolutions need not remember L frames in
its recurrent state, and the level of frame t, which some targets need.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.errors import UserError
from specmask.models import autoencoder, band_lstm, conv_lstm, crn, features, layers, targets, unet

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
    start. A network that is not causal has no state and treats its input as complete.

    Attributes:
        model: the Keras model of the function.
        causal: whether there is a state.
        lookahead_frames: by how many frames the mask is late: mask t is that of frame
            t − lookahead_frames, and the first ``lookahead_frames`` masks are meaningless.
    """

    model: keras.Model
    causal: bool
    lookahead_frames: int = 0

    @property
    def variables(self) -> dict[str, Any]:
        """Weights and dropout seeds as layer/.../variable: their names in checkpoints.

        The names do not depend on what else was built in the process as long as every layer with
        variables has a name of its own, the layers inside it too.
        """
        named = {}
        for layer in self.model.layers:
            for variable in layer.variables:
                inside = variable.path.startswith(f"{layer.name}/")
                named[variable.path if inside else f"{layer.name}/{variable.name}"] = variable
        return named

    def zero_state(self, batch: int) -> list[Any]:
        """Return the state before the first frame."""
        return [ops.zeros((batch, *x.shape[1:])) for x in self.model.inputs[1:]]

    def __call__(self, noisy: Any, state: list[Any], training: bool = False) -> tuple[Any, list]:
        """Return the mask of these frames and the state after them."""
        inputs = [ops.convert_to_tensor(x) for x in (noisy, *state)]
        mask, *state = _as_list(self.model(inputs, training=training))
        return mask, state

    def mask(self, noisy: Any, training: bool = False) -> Any:
        """Return the masks of whole clips [batch, frames, bins, 2], none of them late.

        After the end it sees silence.
        """
        late = self.lookahead_frames
        ahead = ops.pad(noisy, ((0, 0), (0, late), (0, 0), (0, 0)))
        mask, _ = self(ahead, self.zero_state(ops.shape(noisy)[0]), training)
        return mask[:, late:]

    def estimate(self, noisy: Any, training: bool = False) -> tuple[Any, Any]:
        """Return the enhanced spectra of whole clips [batch, frames, bins, 2] and their masks."""
        mask = self.mask(noisy, training)
        return targets.apply_complex(mask, noisy), mask


def build(config: Config) -> Network:
    """Build the network of a configuration, with weights drawn by Keras's current seed.

    Raises:
        UserError: if it is asked to look ahead and is not causal.
    """
    c, late = config.model, config.lookahead_frames
    noisy = keras.Input((None, config.bins, 2), name="noisy")
    states = layers.States(causal=NETWORKS[c.network].causal(config))
    if c.lookahead_ms and not states.causal:
        raise UserError(
            f"[model] lookahead_ms = {c.lookahead_ms:g} with a network ({c.network}) that is not "
            "causal and sees all of the future; set it to 0, or choose a causal network"
        )
    unseen = config.unseen_bins
    normalise = layers.LevelNormaliser(
        layers.level_frames(config), unseen, c.level_exponent, name="level"
    )
    levelled = states.through(normalise, noisy, 2)
    seen = _features(config, levelled, states)
    if c.low_hz:
        seen = ops.pad(seen[:, :, unseen:], ((0, 0), (0, 0), (unseen, 0), (0, 0)))
    if late:
        both = ops.concatenate([levelled, seen], axis=-1)
        delay = layers.Delay(late, name="lookahead")
        both = states.through(delay, both, late, config.bins, both.shape[-1])
        levelled, seen = both[..., :2], ops.concatenate([both[..., 2:], seen], axis=-1)
    target = targets.TARGETS[c.target]
    raw = NETWORKS[c.network].build(config, seen, target.channels, states)
    # A network may compute in half precision; its mask is made and applied in single precision.
    mask = target.mask(ops.cast(raw, "float32"), levelled, c)
    if unseen:
        mask = _without_offset(config, mask, noisy, states)
    return Network(
        keras.Model([noisy, *states.inputs], [mask, *states.outputs], name=c.network),
        states.causal,
        late,
    )


def _without_offset(config: Config, mask: Any, noisy: Any, states: layers.States) -> Any:
    """Return the mask, with gains that remove a DC offset in the bins that the network misses."""
    unseen, late = config.unseen_bins, config.lookahead_frames
    window = np.fft.rfft(Stft.from_config(config).window, config.stft.n_fft)[:unseen]
    remover = layers.OffsetRemover(layers.level_frames(config), window / window[0], name="offset")
    gain = states.through(remover, noisy, 2)
    if late:
        delay = layers.Delay(late, name="offset_lookahead")
        gain = states.through(delay, gain, late, unseen, 2)
    conjugate = gain * np.array([1, -1], np.float32)
    low = layers.times_conjugate(mask[:, :, :unseen], conjugate)
    return ops.concatenate([low, mask[:, :, unseen:]], axis=2)


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
