"""Arrays in memory: a recording enhanced in one call."""

from pathlib import Path

import numpy as np

from specmask.enhancement import enhancer, streaming
from specmask.enhancement.enhancer import Enhancer


def enhance(samples: np.ndarray, rate: int, model: Enhancer | Path | str) -> np.ndarray:
    """Enhance a recording.

    >>> noisy = 0.1 * np.random.default_rng(0).standard_normal((16000, 2))
    >>> enhance(noisy, 16000, "pretrained/default.onnx").shape
    (16000, 2)

    Args:
        samples: float [samples] or [samples, channels], full scale 1.
        rate: its sampling rate in Hz; resampled to the model's rate and back where they differ.
        model: what :func:`specmask.load` returns, or a path for it.

    Returns:
        float32 of the same shape, aligned to the sample.

    Raises:
        ValueError: if samples are not finite or not of one of these shapes.
    """
    model = model if isinstance(model, Enhancer) else enhancer.load(model)
    x = np.asarray(samples, np.float32)
    if x.ndim not in (1, 2):
        raise ValueError(f"expected [samples] or [samples, channels], found {list(x.shape)}")
    if not np.isfinite(x).all():
        raise ValueError("expected finite samples, found NaN or infinite ones")
    if not x.size:
        return x
    recording = x.reshape(len(x), -1), rate
    return streaming.enhance_together([recording], model)[0].reshape(x.shape)
