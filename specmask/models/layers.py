"""Layers that carry state: block by block they give the same output as on the whole.

Each causal layer is called as ``layer(x, state) -> (y, state)`` with x [batch, frames, ...].
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from specmask.config.schema import Config
from specmask.models import features

# Added to the running power: digital silence is not lifted, and -60 dBFS is still normalised.
LEVEL_FLOOR = 1e-6
LEVEL_SECONDS = 2.0
OFFSET_POWER = 2e-4  # mean |Y|² of noise at -60 dBFS: softer frames count no more for an offset
OFFSET_FLOOR = 1e-12  # of |Y|² below the gain that removes it


class LevelNormaliser(keras.layers.Layer):
    """Divide a spectrum by the running RMS of its frames, so that the level does not matter.

    p[t] = α p[t−1] + (1 − α) (mean_k |Y[t,k]|²)^q,  n[t] = α n[t−1] + 1 − α,
    Y'[t] = Y[t] / √((p[t] / n[t])^(1/q) + ε), with α = exp(−1 / frames of the time constant).

    n corrects for the start at zero. All frames of a block at once: p = L · power + αᵗ⁺¹ p₀ with
    the lower triangular matrix L[t,s] = (1 − α) αᵗ⁻ˢ.

    Args:
        frames: time constant in frames.
        first: the lowest bin k that counts.
        exponent: q. Below 1, a short loud sound moves the level less.
    """

    def __init__(self, frames: float, first: int = 0, exponent: float = 1.0, **kwargs: Any):
        # Powers need more range than half precision has.
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.decay = float(np.exp(-1 / frames))
        self.first, self.exponent = first, exponent

    def call(self, spectrum: Any, state: Any) -> tuple[Any, Any]:
        """Return the normalised spectrum and the state [batch, 2] of (p, n)."""
        counted = spectrum[:, :, self.first :] if self.first else spectrum
        powers = ops.mean(features.power(counted), axis=-1)  # [batch, frames]
        if self.exponent != 1:
            powers = ops.power(powers + LEVEL_FLOOR, self.exponent)
        level, state = _running_mean(powers, ops.ones_like(powers), state, self.decay)
        if self.exponent != 1:
            level = ops.power(level, 1 / self.exponent)
        scale = ops.rsqrt(level + LEVEL_FLOOR)
        return spectrum * scale[..., None, None], state


def _running_mean(values: Any, weights: Any, state: Any, decay: float) -> tuple[Any, Any]:
    """Return p / n of values and weights [batch, frames], and the last (p, n) [batch, 2].

    p[t] = α p[t−1] + (1 − α) w[t] x[t],  n[t] = α n[t−1] + (1 − α) w[t].
    """
    if values.shape[1] == 1:  # an exported step: the same numbers by fewer operations
        both = ops.concatenate([weights * values, weights], axis=1)
        running = (1 - decay) * both + decay * state
        return running[:, :1] / running[:, 1:], running
    both = ops.stack([weights * values, weights], axis=-1)  # [batch, frames, 2]
    steps = ops.arange(ops.shape(values)[1], dtype="float32")
    distance = steps[:, None] - steps[None, :]
    matrix = ops.where(distance >= 0, (1 - decay) * decay ** ops.maximum(distance, 0.0), 0.0)
    running = ops.matmul(matrix, both)
    running += (decay ** (steps + 1))[None, :, None] * state[:, None, :]
    return running[..., 0] / running[..., 1], running[:, -1]


class OffsetRemover(keras.layers.Layer):
    """A gain per low bin that removes a DC offset, and nothing else, of a spectrum.

    d[t] is the running mean of Re Y[t,0], W the transform of the analysis window: an offset is
    d[t] W[k] / W[0] in every frame. Frames count in inverse proportion to the power above the low
    bins, so that loud low sounds do not pass for an offset.

    G[t,k] = (Y[t,k] − d[t] W[k] / W[0]) Y*[t,k] / (|Y[t,k]|² + ε), its magnitude at most 1

    The limit matters where another channel gets the same gain: Y[t,k] may be near zero in this one.

    Args:
        frames: time constant in frames.
        window: W[k] / W[0] of the bins that count, complex [bins].
    """

    def __init__(self, frames: float, window: np.ndarray, **kwargs: Any):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.decay = float(np.exp(-1 / frames))
        self.window = np.stack([window.real, window.imag], axis=-1).astype(np.float32)

    def call(self, spectrum: Any, state: Any) -> tuple[Any, Any]:
        """Return complex gains [batch, frames, bins, 2] and the state [batch, 2] of (p, n)."""
        count = len(self.window)
        low, others = spectrum[:, :, :count], spectrum[:, :, count:]
        weights = 1 / (ops.mean(features.power(others), axis=-1) + OFFSET_POWER)
        offset, state = _running_mean(low[:, :, 0, 0], weights, state, self.decay)
        left = low - offset[..., None, None] * self.window
        power = ops.sum(ops.square(low), axis=-1, keepdims=True)
        gain = times_conjugate(left, low) / (power + OFFSET_FLOOR)
        size = ops.sqrt(ops.sum(ops.square(gain), axis=-1, keepdims=True) + OFFSET_FLOOR)
        return gain / ops.maximum(size, 1.0), state


def times_conjugate(a: Any, b: Any) -> Any:
    """Complex product a b* of two tensors [..., 2], for few bins.

    In few operations, which are what an exported step pays for where tensors are small.
    """
    turned = ops.matmul(b, np.array([[0, 1], [-1, 0]], np.float32))  # i b
    parts = [ops.sum(a * x, axis=-1, keepdims=True) for x in (b, turned)]
    return ops.concatenate(parts, axis=-1)


def level_frames(config: Config) -> float:
    """Return the time constant of level and offset in frames."""
    return LEVEL_SECONDS * config.data.sample_rate / config.hop_length


class States:
    """The states of a network while it is built: an input and an output for each stateful layer.

    Without causality every stateful layer starts at zero and its last state is dropped.
    """

    def __init__(self, causal: bool):
        self.causal = causal
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def through(self, layer: Any, x: Any, *shapes: Any) -> Any:
        """Return y of ``layer(x, *states) -> (y, *states)``.

        Args:
            shapes: one shape per state, without the batch; numbers are the shape of the only one.
        """
        shapes = (shapes,) if isinstance(shapes[0], int) else shapes
        if self.causal:
            states = [
                keras.Input(shape, name=f"{layer.name}_state{n if n > 1 else ''}")
                for n, shape in enumerate(shapes, 1)
            ]
            self.inputs += states
        else:
            states = [Zeros(shape)(x) for shape in shapes]
        y, *states = layer(x, *states)
        if self.causal:
            self.outputs += states
        return y


class Zeros(keras.layers.Layer):
    """Zeros of a shape, one for each row of a batch."""

    def __init__(self, shape: tuple, **kwargs: Any):
        super().__init__(**kwargs)
        self.shape = shape

    def call(self, x: Any) -> Any:
        """Return zeros [batch, *shape]."""
        return ops.zeros((ops.shape(x)[0], *self.shape))

    def compute_output_spec(self, x: Any) -> Any:
        """Return the shape, which Keras cannot find where the batch is open."""
        return keras.KerasTensor((x.shape[0], *self.shape), dtype="float32")


class LayerNorm(keras.layers.LayerNormalization):
    """Layer normalisation in the operations that ONNX Runtime takes for one.

    y = (x − μ) / √(σ² + ε) · γ + β with mean μ and variance σ² of the last axis. Ba et al. 2016
    (arXiv 1607.06450).
    """

    def call(self, x: Any) -> Any:
        """Return [..., channels]."""
        x = ops.cast(x, "float32")
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        y = centred / ops.sqrt(variance + self.epsilon)
        y = y if self.gamma is None else y * self.gamma
        y = y if self.beta is None else y + self.beta
        return ops.cast(y, self.compute_dtype)


class Delay(keras.layers.Layer):
    """A delay by frames; the state is the last ones [batch, frames, ...].

    Args:
        frames: of the delay, at least 1.
    """

    def __init__(self, frames: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.frames = frames

    def call(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return as many frames as x has, those of the state first, and the rest."""
        both = ops.concatenate([state, x], axis=1)
        return both[:, : -self.frames], both[:, -self.frames :]


class DeltaPhase(keras.layers.Layer):
    """Phase steps along time; the state is the frame before [batch, bins, 2]."""

    def __init__(self, hop_length: int, n_fft: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.hop_length, self.n_fft = hop_length, n_fft

    def call(self, spectrum: Any, state: Any) -> tuple[Any, Any]:
        """Return cosine and sine [batch, frames, bins, 2], and the last frame."""
        return features.delta_phase_time(spectrum, state, self.hop_length, self.n_fft)


class CausalConv2D(keras.layers.Layer):
    """Convolution over [time, frequency] without later frames; the size stays the same.

    The state holds the last (kernel − 1) · dilation frames. Without a state the kernel is
    centred in time instead.

    Args:
        filters: output channels.
        kernel: (frames, bins).
        dilation: in time.
        stride: in frequency; the number of bins has to be a multiple of it.
    """

    def __init__(
        self,
        filters: int,
        kernel: tuple[int, int],
        dilation: int = 1,
        stride: int = 1,
        activation: str | None = "relu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, kernel
        self.dilation, self.stride = dilation, stride
        self.activation = keras.activations.get(activation)
        self.context = (kernel[0] - 1) * dilation

    def build(self, x_shape: tuple, state_shape: tuple | None = None) -> None:
        """Create the kernel and the bias."""
        shape = (*self.kernel_size, x_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any, state: Any = None) -> Any:
        """Return y [batch, frames, bins / stride, filters], or (y, state) where there is a state.

        The state is [batch, context, bins, channels].
        """
        bins, before = self.kernel_size[1] - self.stride, self.context // 2
        time = (0, 0) if state is not None else (before, self.context - before)
        if state is not None:
            x = ops.concatenate([state, x], axis=1)
            state = x[:, -self.context :]
        x = ops.pad(x, ((0, 0), time, (bins // 2, bins - bins // 2), (0, 0)))
        y = ops.conv(
            x,
            self.kernel,
            strides=(1, self.stride),
            padding="valid",
            dilation_rate=(self.dilation, 1),
        )
        y = self.activation(y + self.bias)
        return y if state is None else (y, state)


def _missing(frames: Any, multiple: int) -> Any:
    # ONNX's remainder of a negative number is negative, unlike TensorFlow's
    return (multiple - frames % multiple) % multiple


class PadTo(keras.layers.Layer):
    """Zero-pad frames and bins at the end to multiples of a number."""

    def __init__(self, multiple: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x: Any) -> Any:
        """Return [batch, more frames, more bins, channels]."""
        frames, bins = _missing(ops.shape(x)[1], self.multiple), -x.shape[2] % self.multiple
        return ops.pad(x, ((0, 0), (0, frames), (0, bins), (0, 0)))

    def compute_output_spec(self, x: Any) -> Any:
        """Return the shape, which Keras cannot find where the number of frames is open."""
        bins = x.shape[2] + -x.shape[2] % self.multiple
        return keras.KerasTensor((x.shape[0], None, bins, x.shape[3]), dtype=x.dtype)


class CutTo(keras.layers.Layer):
    """Cut frames and bins to those of another tensor."""

    def call(self, x: Any, like: Any) -> Any:
        """Return [batch, frames of like, bins of like, channels]."""
        # one after the other: TensorFlow forgets the number of bins beside an open end
        return x[:, :, : like.shape[2]][:, : ops.shape(like)[1]]

    def compute_output_spec(self, x: Any, like: Any) -> Any:
        """Return the shape, which Keras cannot find where the number of frames is open."""
        return keras.KerasTensor((*like.shape[:3], x.shape[3]), dtype=x.dtype)


class Windows(keras.layers.Layer):
    """Cut clips into windows [windows, frames, bins, channels], the last one filled with zeros.

    Bins are cut off or filled with zeros. :class:`Joined` goes back.
    """

    def __init__(self, frames: int, bins: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.frames, self.bins = frames, bins

    def call(self, x: Any) -> Any:
        """Take [batch, any frames, any bins, channels]."""
        x = x[:, :, : self.bins]
        more = _missing(ops.shape(x)[1], self.frames)
        x = ops.pad(x, ((0, 0), (0, more), (0, self.bins - x.shape[2]), (0, 0)))
        return ops.reshape(x, (-1, self.frames, self.bins, x.shape[3]))

    def compute_output_spec(self, x: Any) -> Any:
        """Return the shape, which Keras cannot find where the number of frames is open."""
        return keras.KerasTensor((None, self.frames, self.bins, x.shape[3]), dtype=x.dtype)


class Joined(keras.layers.Layer):
    """Join windows to clips with the frames and bins of another tensor; missing bins repeat."""

    def call(self, x: Any, like: Any) -> Any:
        """Return [batch of like, frames of like, bins of like, channels]."""
        bins, shape = like.shape[2], ops.shape(like)
        missing = max(0, bins - x.shape[2])
        x = ops.reshape(x, (shape[0], -1, x.shape[2], x.shape[3]))
        x = x[:, :, :bins][:, : shape[1]]  # one after the other, as above
        return ops.concatenate([x, ops.repeat(x[:, :, -1:], missing, axis=2)], 2) if missing else x

    def compute_output_spec(self, x: Any, like: Any) -> Any:
        """Return the shape, which Keras cannot find where the number of frames is open."""
        return keras.KerasTensor((*like.shape[:3], x.shape[3]), dtype=x.dtype)
