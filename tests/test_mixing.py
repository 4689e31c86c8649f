"""Levels and SNRs against values derived by hand, and mixtures measured back."""

import math

import numpy as np
import pytest
from conftest import RATE, hiss, speechlike, tone
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask import mixing

SINE_DB = 10 * math.log10(0.5)  # a sine of amplitude 1


def measured_snr_db(clean: np.ndarray, noise: np.ndarray) -> float:
    """The SNR of two int16 arrays, with sums of whole numbers."""
    energy = [sum(int(v) ** 2 for v in x) for x in (clean, noise)]
    return 10 * math.log10(energy[0] / energy[1])


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize("amplitude", [1, 0.5, 1e-3])
def test_level_of_a_sine(amplitude):
    x = tone(100, 1, amplitude=amplitude)
    expected = SINE_DB + 20 * math.log10(amplitude)
    assert_allclose(mixing.level_db(x), expected, atol=1e-4)
    assert_allclose(mixing.active_level_db(x, RATE), expected, atol=1e-4)


def test_full_scale_is_zero_db():
    assert mixing.level_db(np.ones(10)) == 0
    assert mixing.power(np.array([3.0, -4.0])) == 12.5


def test_pauses_do_not_lower_the_active_level():
    x = np.concatenate([tone(100, 1), np.zeros(RATE, np.float32)])
    assert_allclose(mixing.level_db(x), SINE_DB - 10 * math.log10(8), atol=1e-3)
    assert_allclose(mixing.active_level_db(x, RATE), SINE_DB - 20 * math.log10(2), atol=1e-3)


@pytest.mark.parametrize(("below_db", "counts"), [(30, True), (40, False)])
def test_frames_count_within_35_db_of_the_loudest(below_db, counts):
    quiet = tone(100, 1) * 10 ** (-below_db / 20)
    level = mixing.active_level_db(np.concatenate([tone(100, 1), quiet]), RATE)
    only_loud = SINE_DB - 20 * math.log10(2)
    both = only_loud + 10 * math.log10((1 + 10 ** (-below_db / 10)) / 2)
    assert_allclose(level, both if counts else only_loud, atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 100, 333, 4321])
def test_active_level_of_short_and_odd_lengths(rate, samples):
    x = np.ones(samples, np.float32)
    frames = -(-samples // round(0.02 * rate))
    expected = 10 * math.log10(samples / (frames * round(0.02 * rate)))  # the last one is padded
    assert_allclose(mixing.active_level_db(x, rate), expected, atol=1e-9)


def test_silence():
    zeros = np.zeros(1000, np.float32)
    assert mixing.level_db(zeros) == mixing.active_level_db(zeros, RATE) == -math.inf
    assert mixing.snr_db(np.ones(10), np.zeros(10)) == math.inf
    assert mixing.snr_db(np.zeros(10), np.ones(10)) == -math.inf


def test_snr_by_hand():
    assert_allclose(mixing.snr_db(np.array([10.0, 0]), np.array([0, 1.0])), 20)
    assert_allclose(mixing.snr_db(np.array([1.0, 1]), np.array([2.0, 0])), -10 * math.log10(2))
    loud = np.full(100_000, 30_000, np.int16)  # squares beyond the range of int16
    assert_allclose(mixing.snr_db(loud, np.full(100_000, 3000, np.int16)), 20)


# ---------------------------------------------------------------- the grid


def test_grid_of_the_reference_project():
    assert mixing.snr_grid(-6, 9, 16) == list(range(-6, 10))


@given(
    lower=st.floats(-100, 100), span=st.floats(0, 100), levels=st.integers(2, 200)
)  # fmt: skip
def test_grid_includes_both_ends_in_even_steps(lower, span, levels):
    grid = mixing.snr_grid(lower, lower + span, levels)
    assert len(grid) == levels
    assert_allclose([grid[0], grid[-1]], [lower, lower + span], atol=0.00501)
    assert_allclose(np.diff(grid), span / (levels - 1), atol=0.0101)
    for value in grid:  # what stands in a name is the value that was asked for
        assert float(f"{value:.2f}") == value
        assert f"{value:.2f}" != "-0.00"


# ---------------------------------------------------------------- mixtures


@given(
    snr=st.floats(-30, 40),
    level=st.floats(-35, -15),
    seed=st.integers(0, 1000),
    gains=st.tuples(st.floats(-50, 10), st.floats(-50, 10)),
    samples=st.integers(400, 8000),
)
def test_mixtures_measured_back(snr, level, seed, gains, samples):
    rng = np.random.default_rng(seed)
    clean = speechlike(rng, 0.5)[-samples:] * np.float32(10 ** (gains[0] / 20))
    noise = hiss(rng, 0.5)[-samples:] * np.float32(10 ** (gains[1] / 20))
    if not clean.any():
        return
    m = mixing.mix(clean, noise, snr, level, RATE)
    assert m.clean.dtype == m.noise.dtype == m.noisy.dtype == np.int16
    assert_array_equal(m.noisy.astype(int), m.clean.astype(int) + m.noise.astype(int))
    peak = max(int(np.abs(x.astype(int)).max()) for x in (m.clean, m.noise, m.noisy))
    limited = peak >= 0.98 * 32768
    assert peak <= 0.99 * 32768 + 1  # the sum of two rounded numbers may be one step above
    rounding = 1 / 12 / mixing.power(np.minimum(m.clean, m.noise, dtype=float))
    tolerance = max(0.05, 30 * rounding)  # only very quiet parts of loud mixtures
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < tolerance
    reached = mixing.active_level_db(m.clean / 32768, RATE)
    assert reached <= level + 0.2 if limited else abs(reached - level) < 0.2
    assert_array_equal(m.noisy, mixing.apply_gains(clean, noise, m.clean_gain, m.noise_gain).noisy)
    assert m.clean_gain == float(repr(m.clean_gain))


@pytest.mark.parametrize("snr", range(-6, 10))
def test_default_grid_measured_back(snr):
    rng = np.random.default_rng(snr + 6)
    m = mixing.mix(speechlike(rng, 3), hiss(rng, 3), snr, -25, RATE)
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < 0.005
    assert abs(mixing.active_level_db(m.clean / 32768, RATE) + 25) < 0.01


@pytest.mark.parametrize("snr", [-30, 0, 30])
def test_all_three_are_limited_together(snr):
    rng = np.random.default_rng(0)
    clean, noise = speechlike(rng, 1), hiss(rng, 1)
    clean[1000] = 20  # a click far above full scale
    noise[1000] = 3
    m = mixing.mix(clean, noise, snr, -5, RATE)
    peaks = [np.abs(x.astype(int)).max() for x in (m.clean, m.noise, m.noisy)]
    assert max(peaks) == pytest.approx(0.99 * 32768, abs=1)
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < 0.05
    assert_array_equal(m.noisy - m.clean - m.noise, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_parts_may_be_louder_than_their_sum(sign):
    """When speech and noise cancel, it is the parts that must not be clipped."""
    clean = tone(100, 0.5)
    m = mixing.mix(clean, sign * clean, 0, -5, RATE)
    assert_array_equal(m.noisy, m.clean + m.noise)
    assert max(np.abs(m.clean).max(), np.abs(m.noise).max()) <= 0.99 * 32768 + 1
    assert_array_equal(m.noise, sign * m.clean)


def test_rounding():
    x = np.array([0, 1 / 32768, -1 / 32768, 0.4 / 32768, 0.6 / 32768, 0.99, -0.99])
    assert mixing.to_int16(x).tolist() == [0, 1, -1, 0, 1, 32440, -32440]
