"""Arrays in memory: a recording enhanced in one call."""

from pathlib import Path

import numpy as np

from specmask.enhancement import enhancer, streaming
from specmask.enhancement.enhancer import Enhancer

MANY_CHANNELS = 32  # with more of them than samples, an array is taken for [channels, samples]


def enhance(
    samples: np.ndarray, rate: float, model: Enhancer | Path | str = "default"
) -> np.ndarray:
    """Enhance a recording.

    >>> noisy = 0.1 * np.random.default_rng(0).standard_normal((16000, 2))
    >>> enhance(noisy, 16000).shape
    (16000, 2)

    Args:
        samples: float [samples] or [samples, channels], full scale 1.
        rate: its sampling rate in Hz; resampled to the model's rate and back where they differ.
        model: what :func:`specmask.load` returns, or a path for it.

    Returns:
        float32 of the same shape, aligned to the sample.

    Raises:
        ValueError: if samples are not finite floats of one of these shapes, or the rate is not a
            whole number of Hz.
    """
    model = model if isinstance(model, Enhancer) else enhancer.load(model)
    x, rate = streaming.as_samples(samples), streaming.as_rate(rate)
    if not np.isfinite(x).all():
        raise ValueError("samples: expected finite ones, found NaN or infinite ones")
    if x.ndim == 2 and x.shape[1] > max(len(x), MANY_CHANNELS):
        raise ValueError(
            f"samples: expected [samples, channels], found {list(x.shape)}; transpose them"
        )
    if not x.size:
        return x
    recording = x.reshape(len(x), -1), rate
    return streaming.enhance_together([recording], model)[0].reshape(x.shape)
