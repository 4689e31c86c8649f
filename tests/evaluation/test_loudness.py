"""Loudness against the recommendation's own values."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from specmask.evaluation.metrics.checks import MetricError
from specmask.evaluation.metrics.loudness import k_weighting, loudness


def sine(level_db: float, seconds: float, rate: int = 48000, hertz: float = 1000) -> np.ndarray:
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * np.arange(seconds * rate) / rate)


def test_filters_are_those_of_the_recommendation():
    """Tables 1 and 2 of ITU-R BS.1770 at 48 kHz."""
    (shelf, shelf_poles), (high_pass, poles) = k_weighting(48000)
    assert_allclose(shelf, [1.53512485958697, -2.69169618940638, 1.19839281085285], atol=1e-8)
    assert_allclose(shelf_poles, [1, -1.69065929318241, 0.73248077421585], atol=1e-8)
    assert high_pass == [1, -2, 1]
    assert_allclose(poles, [1, -1.99004745483398, 0.99007225036621], atol=1e-8)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_sine_at_full_scale_has_minus_3(rate):
    """ITU-R BS.1770: a sine of 997 Hz at 0 dBFS in one channel reads -3.01 LKFS."""
    assert_allclose(loudness(sine(0, 3, rate, 997), rate), -3.01, atol=0.05)


def test_the_relative_gate():
    """EBU Tech 3341, case 3: -36, -23, -36 dBFS read as -23 in two channels, so -26 in one."""
    x = np.concatenate([sine(-36, 10), sine(-23, 60), sine(-36, 10)])
    assert_allclose(loudness(x, 48000), -23 - 10 * np.log10(2), atol=0.1)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.zeros(48000), "below -70 LUFS"),
        (np.ones(100), "too short for loudness"),
        (np.full(48000, np.nan), "NaN"),
    ],
)
def test_loudness_that_is_not_defined(x, reason):
    with pytest.raises(MetricError, match=reason):
        loudness(x, 48000)
