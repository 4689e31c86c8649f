"""The PESQ loss against the metric, and where the metric has no value."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from helpers import RATE, speechlike

from specmask.config import ini
from specmask.errors import UserError
from specmask.training.pesq import pesq

SECONDS = 3


def lqo(raw: float) -> float:
    """Return MOS-LQO of a raw score, P.862.2 equation 1."""
    return 0.999 + 4 / (1 + np.exp(-1.3669 * raw + 3.8224))


def loss(clean: np.ndarray, enhanced: np.ndarray) -> float:
    return float(pesq(np.float32(clean)[None], np.float32(enhanced)[None])[0])


def degraded(kind: str, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(len(clean)) * np.std(clean)
    if kind == "softer":
        return 0.1 * clean
    if kind == "low-passed":
        return scipy.signal.lfilter(*scipy.signal.butter(4, 0.3), clean + 0.03 * noise)
    if kind == "with gaps":
        gains = rng.uniform(0.1, 1, len(clean) // 1600 + 1).repeat(1600)[: len(clean)]
        return clean * gains
    if kind == "clipped":
        return np.clip(clean, -0.3 * np.abs(clean).max(), 0.3 * np.abs(clean).max())
    return clean + float(kind) * noise


@pytest.mark.parametrize(
    "kind", ["0.01", "0.1", "0.5", "2", "softer", "low-passed", "with gaps", "clipped"]
)
def test_it_is_what_the_metric_takes_away(kind):
    metric = pytest.importorskip("pesq")
    rng = np.random.default_rng(3)
    clean = speechlike(rng, SECONDS)
    enhanced = degraded(kind, clean, rng)
    wanted = metric.pesq(RATE, np.float32(clean), np.float32(enhanced), "wb")
    assert lqo(4.5 - loss(clean, enhanced)) == pytest.approx(wanted, abs=0.15)


def test_equal_signals_lose_nothing():
    clean = speechlike(np.random.default_rng(1), SECONDS)
    assert loss(clean, clean) < 2e-3  # the floor of two norms


@pytest.mark.parametrize("samples", [1600, 8000])
@pytest.mark.parametrize("clean_level", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("enhanced_level", [0.0, 1e-4, 0.1])
def test_value_and_gradient_are_finite(samples, clean_level, enhanced_level):
    rng = np.random.default_rng(2)
    clean = np.float32(clean_level * rng.standard_normal((2, samples)))
    enhanced = tf.Variable(np.float32(enhanced_level * rng.standard_normal((2, samples))))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(pesq(clean, enhanced))
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, enhanced)).all()
    if not clean_level:
        assert value == 0


def test_another_rate_is_refused():
    with pytest.raises(UserError, match=r"pesq.*sample_rate = 8000.*16000 Hz"):
        ini.load(None, ["train.loss=compressed:1, pesq:0.01", "data.sample_rate=8000"])
