"""Levels and SNRs against values derived by hand, and P.56 against the recommendation."""

import math

import numpy as np
import pytest
from helpers import RATE, hiss, speechlike, tone
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from specmask.audio import levels as levels_module
from specmask.audio.levels import (
    active_level_db,
    level_db,
    p56_level_db,
    snr_db,
    to_int16,
)

SINE_DB = 10 * math.log10(0.5)  # a sine of amplitude 1


@pytest.mark.parametrize("amplitude", [1, 0.5, 1e-3])
def test_level_of_a_sine(amplitude):
    x = tone(100, 1, amplitude=amplitude)
    expected = SINE_DB + 20 * math.log10(amplitude)
    assert_allclose(level_db(x), expected, atol=1e-4)
    assert_allclose(active_level_db(x, RATE), expected, atol=1e-4)


def alternating(amplitude: float, samples: int) -> np.ndarray:
    """A square wave of one sample per half period."""
    x = np.full(samples, amplitude)
    x[::2] *= -1
    return x


def test_full_scale_is_zero_db():
    assert level_db(alternating(1, 10)) == 0
    assert levels_module.power(np.array([3.0, -3.0, 4.0, -4.0])) == 12.5


def test_pauses_do_not_lower_the_active_level():
    x = np.concatenate([tone(100, 1), np.zeros(RATE, np.float32)])
    assert_allclose(level_db(x), SINE_DB - 10 * math.log10(8), atol=1e-3)
    assert_allclose(active_level_db(x, RATE), SINE_DB - 20 * math.log10(2), atol=1e-3)


@pytest.mark.parametrize(("below_db", "counts"), [(30, True), (40, False)])
def test_frames_count_within_35_db_of_the_loudest(below_db, counts):
    quiet = tone(100, 1) * 10 ** (-below_db / 20)
    level = active_level_db(np.concatenate([tone(100, 1), quiet]), RATE)
    only_loud = SINE_DB - 20 * math.log10(2)
    both = only_loud + 10 * math.log10((1 + 10 ** (-below_db / 10)) / 2)
    assert_allclose(level, both if counts else only_loud, atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [2, 100, 333, 4321])
def test_active_level_of_short_and_odd_lengths(rate, samples):
    x = alternating(1, samples)
    frames = -(-samples // round(0.02 * rate))
    expected = 10 * math.log10(samples / (frames * round(0.02 * rate)))  # the last one is padded
    assert_allclose(active_level_db(x, rate), expected, atol=1e-9)


def test_silence():
    zeros = np.zeros(1000, np.float32)
    assert level_db(zeros) == active_level_db(zeros, RATE) == -math.inf
    assert snr_db(alternating(1, 10), np.zeros(10)) == math.inf
    assert snr_db(np.zeros(10), alternating(1, 10)) == -math.inf


def test_snr_by_hand():
    assert_allclose(snr_db(np.array([10.0, -10, 0, 0]), np.array([0, 0, 1.0, -1])), 20)
    loud = alternating(30_000, 100_000).astype(np.int16)  # squares beyond the range of int16
    assert_allclose(snr_db(loud, alternating(3000, 100_000).astype(np.int16)), 20)


@given(
    seed=st.integers(0, 50),
    level=st.floats(-50, -20),
    mean_db=st.floats(-90, -3),
    pause=st.floats(0, 2),
)
def test_an_offset_does_not_change_a_level(seed, level, mean_db, pause):
    """Of speech with pauses, whose frames an offset would fill."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([speechlike(rng, 1), np.zeros(round(pause * RATE))]).astype(np.float64)
    x[:RATE] -= np.mean(x[:RATE])  # pauses stay at zero
    x = (x - np.mean(x)) * 10 ** ((level - level_db(x)) / 20)
    shifted = x + 10 ** (mean_db / 20)
    assert level_db(shifted) == pytest.approx(level_db(x), abs=0.051)
    assert p56_level_db(shifted, RATE) == pytest.approx(p56_level_db(x, RATE), abs=0.051)
    # an offset too small to fill the pauses may still move single frames over the threshold
    tolerance = 0.1 if mean_db > level - 20 else 1
    expected = active_level_db(x, RATE)
    assert active_level_db(shifted, RATE) == pytest.approx(expected, abs=tolerance)
    noise = hiss(rng, 1)
    assert snr_db(shifted, noise) == pytest.approx(snr_db(x, noise), abs=0.1)


def test_a_mean_that_changes_no_level_is_not_removed():
    """Else the levels of all recordings, and the bytes of data sets, would change in a last bit."""
    x = speechlike(np.random.default_rng(0), 1)
    x = x - np.mean(x) + np.float32(0.005) * np.std(x)
    assert levels_module.offset(x) == 0
    assert levels_module.power(x) == levels_module.mean_square(x)
    assert active_level_db(x, RATE) == levels_module._active_level(x, RATE)[0]
    assert p56_level_db(x, RATE) == levels_module._p56_level_db(x, RATE)


# ---------------------------------------------------------------- ITU-T P.56


@pytest.mark.parametrize("amplitude", [1, 0.01])
def test_p56_of_sound_without_pauses_is_its_level(amplitude):
    x = alternating(amplitude, 10 * RATE)
    assert p56_level_db(x, RATE) == pytest.approx(20 * math.log10(amplitude), abs=0.02)
    assert p56_level_db(tone(100, 10), RATE) == pytest.approx(
        SINE_DB - 20 * math.log10(2), abs=0.02
    )


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
@pytest.mark.parametrize("on", [0.3, 1, 3])
@pytest.mark.parametrize("pause", [1, 5])
def test_p56_of_bursts_by_its_definition(rate, on, pause):
    """The envelope of a burst is known, and with it the active time at every threshold."""
    x = np.concatenate([alternating(0.5, round(on * rate)), np.zeros(round(pause * rate))])

    def active(r: float) -> float:
        """Seconds at a threshold r times the amplitude: rise, fall and hangover solved for."""
        rise = bisect(lambda t: 1 - (1 + t / 0.03) * math.exp(-t / 0.03) - r, 0, 2)
        fall = bisect(lambda t: r - (1 + t / 0.03) * math.exp(-t / 0.03), 0, 2)
        return on - rise + fall + 0.2

    r = bisect(lambda r: 15.9 - 10 * math.log10(on / active(r)) + 20 * math.log10(r), 1e-4, 0.9)
    expected = 20 * math.log10(0.5) + 10 * math.log10(on / active(r))
    assert p56_level_db(x, rate) == pytest.approx(expected, abs=0.05)


def test_p56_of_a_decay_by_its_definition():
    """Of sound that falls by 5 dB a second, the margin decides how much is active.

    The envelope of e^(-at) is e^(-at) / (1 - 0.03 a)^2 once it has risen.
    """
    a = 5 * math.log(10) / 20
    x = np.exp(-a * np.arange(20 * RATE) / RATE)
    x[::2] *= -1
    energy = 1 / (2 * a)

    def active(c: float) -> float:
        return -math.log(c * (1 - 0.03 * a) ** 2) / a + 0.2

    c = bisect(lambda c: 15.9 - 10 * math.log10(energy / active(c)) + 20 * math.log10(c), 1e-3, 0.9)
    expected = 10 * math.log10(energy / active(c))
    assert p56_level_db(x, RATE) == pytest.approx(expected, abs=0.05)


def bisect(function, low: float, high: float) -> float:
    """Where an increasing function is zero."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return low


@pytest.mark.parametrize("seed", range(3))
def test_p56_against_the_recommendation_sample_by_sample(seed):
    """Method B as it is written down, with its fifteen thresholds from 2^-15 of full scale."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([speechlike(rng, 1), 1e-4 * hiss(rng, 1), speechlike(rng, 0.5)])
    g, hold = math.exp(-1 / (0.03 * RATE)), math.ceil(0.2 * RATE)
    thresholds = [2.0**-j for j in range(15, 0, -1)]
    counts, left = [0] * 15, [0] * 15
    p = q = 0.0
    for v in map(abs, x.tolist()):
        p = g * p + (1 - g) * v
        q = g * q + (1 - g) * p
        for j, c in enumerate(thresholds):
            if q >= c:
                counts[j], left[j] = counts[j] + 1, hold
            elif left[j]:
                counts[j], left[j] = counts[j] + 1, left[j] - 1
    energy = float(np.sum(x.astype(float) ** 2))
    levels = [10 * math.log10(energy / n) if n else None for n in counts]
    for j in range(1, 15):
        a, b = (levels[k] - 20 * math.log10(thresholds[k]) for k in (j - 1, j))
        if b <= 15.9:
            expected = levels[j] + (levels[j - 1] - levels[j]) * (15.9 - b) / (a - b)
            break
    assert p56_level_db(x, RATE) == pytest.approx(expected, abs=0.1)
    assert level_db(x) < expected - 1


@given(gain_db=st.floats(-80, 20), seed=st.integers(0, 20))
def test_p56_follows_the_level(gain_db, seed):
    x = speechlike(np.random.default_rng(seed), 0.7).astype(np.float64)
    louder = p56_level_db(x * 10 ** (gain_db / 20), RATE)
    assert louder == pytest.approx(p56_level_db(x, RATE) + gain_db, abs=1e-6)


@pytest.mark.parametrize("samples", [2, 15, 16, 17, 1000])
def test_p56_of_short_sounds(samples):
    assert np.isfinite(p56_level_db(alternating(1, samples), RATE))
    assert p56_level_db(np.zeros(samples), RATE) == -math.inf


def test_p56_of_16_bit_samples():
    x = alternating(-32768, 16000).clip(max=32767).astype(np.int16)
    assert p56_level_db(x, RATE) == pytest.approx(20 * math.log10(32768), abs=0.2)


def test_rounding():
    x = np.array([0, 1 / 32768, -1 / 32768, 0.4 / 32768, 0.6 / 32768, 0.99, -0.99])
    assert to_int16(x).tolist() == [0, 1, -1, 0, 1, 32440, -32440]
