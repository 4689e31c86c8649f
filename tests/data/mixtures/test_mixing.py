"""Gains, sums and limits of mixtures, measured back."""

import math

import numpy as np
import pytest
from helpers import RATE, hiss, speechlike, tone
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.audio import levels as levels_module
from specmask.audio.levels import (
    active_level_db,
    active_snr_db,
    snr_db,
)
from specmask.data.mixtures import mixing


def measured_snr_db(clean: np.ndarray, noise: np.ndarray) -> float:
    """The SNR of two int16 arrays, with sums of whole numbers."""
    energy = [sum(int(v) ** 2 for v in x) for x in (clean, noise)]
    return 10 * math.log10(energy[0] / energy[1])


def mix(clean: np.ndarray, noise: np.ndarray, snr: float, level_db: float) -> mixing.Mixture:
    """Mix as data_prep does without effects."""
    gains = mixing.level_gains(clean, clean, noise, snr, level_db, RATE)
    return mixing.apply_gains(clean, noise, *mixing.fitting_gains(clean, clean, noise, *gains))


@pytest.mark.parametrize("reference", ["whole", "active"])
@pytest.mark.parametrize("snr", [-5, 10])
def test_snr_in_both_references(reference, snr):
    """Half of the clip is a pause: over the whole clip the speech is 3 dB softer."""
    rng = np.random.default_rng(0)
    clean = np.concatenate([speechlike(rng, 3), np.zeros(3 * RATE, np.float32)])
    noise = hiss(rng, 6)
    gains = mixing.level_gains(clean, clean, noise, snr, -30, RATE, reference)
    m = mixing.apply_gains(clean, noise, *gains)
    found = {
        "whole": snr_db(m.clean, m.noise),
        "active": active_snr_db(m.clean, m.noise, RATE),
    }
    assert found[reference] == pytest.approx(snr, abs=0.01)
    assert found["active"] - found["whole"] == pytest.approx(2.7, abs=0.4)
    assert active_level_db(m.clean / 32768, RATE) == pytest.approx(-30, abs=0.05)


def test_gains_of_silence_are_finite():
    rng = np.random.default_rng(0)
    speech, zeros = speechlike(rng, 1), np.zeros(RATE)
    for clean, noise in ((speech, zeros), (zeros, speech), (zeros, zeros)):
        gains = mixing.level_gains(clean, clean, noise, 0, -25, RATE)
        m = mixing.apply_gains(clean, noise, *mixing.fitting_gains(clean, clean, noise, *gains))
        assert np.isfinite(gains).all()
        assert_array_equal(m.noisy, m.clean + m.noise)
    assert active_snr_db(speech, zeros, RATE) == math.inf
    assert active_snr_db(zeros, speech, RATE) == -math.inf


# ---------------------------------------------------------------- more than a sum


@pytest.mark.parametrize("factor", [1, 40, -40])
def test_noise_is_defined_as_the_difference(factor):
    """Whatever a channel does, all three fit into 16 bits and are scaled together."""
    rng = np.random.default_rng(0)
    clean, noise = speechlike(rng, 1), hiss(rng, 1)
    m = mixing.apply_channel(clean, clean, noise, 1.0, 2.0, lambda x: factor * x)
    parts = [x.astype(int) for x in (m.clean, m.noise, m.noisy)]
    assert_array_equal(parts[2], parts[0] + parts[1])
    assert not m.additive
    peak = max(np.abs(x).max() for x in parts)
    assert peak <= 0.99 * 32768 + 1
    assert (m.scale < 1) == (abs(factor) > 1) == (peak > 0.98 * 32768)
    assert np.abs(m.clean - 32768 * m.scale * clean).max() < 0.51
    assert np.abs(m.noisy - 32768 * m.scale * factor * (clean + 2.0 * noise)).max() < 0.51


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
@example(snr=0.0, level=-15.0, seed=180, gains=(0.0, 0.0), samples=400)  # an offset of 2 %
def test_mixtures_measured_back(snr, level, seed, gains, samples):
    rng = np.random.default_rng(seed)
    clean = speechlike(rng, 0.5)[-samples:] * np.float32(10 ** (gains[0] / 20))
    noise = hiss(rng, 0.5)[-samples:] * np.float32(10 ** (gains[1] / 20))
    if not clean.any():
        return
    m = mix(clean, noise, snr, level)
    assert m.clean.dtype == m.noise.dtype == m.noisy.dtype == np.int16
    assert_array_equal(m.noisy.astype(int), m.clean.astype(int) + m.noise.astype(int))
    peak = max(int(np.abs(x.astype(int)).max()) for x in (m.clean, m.noise, m.noisy))
    limited = peak >= 0.98 * 32768
    assert peak <= 0.99 * 32768 + 1  # the sum of two rounded numbers may be one step above
    rounding = 1 / 12 / levels_module.power(np.minimum(m.clean, m.noise, dtype=float))
    tolerance = max(0.05, 30 * rounding)  # only very quiet parts of loud mixtures
    shares = [np.mean(x) ** 2 / np.mean(np.square(x, dtype=float)) for x in (m.clean, m.noise)]
    tolerance -= 10 * math.log10(1 - max(shares))  # the SNR is that of the parts without offset
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < tolerance
    reached = active_level_db(m.clean / 32768, RATE)
    assert reached <= level + 0.2 if limited else abs(reached - level) < 0.2
    assert_array_equal(m.noisy, mixing.apply_gains(clean, noise, m.clean_gain, m.noise_gain).noisy)
    assert m.clean_gain == float(repr(m.clean_gain))


@pytest.mark.parametrize("snr", [-30, 0, 30])
def test_all_three_are_limited_together(snr):
    rng = np.random.default_rng(0)
    clean, noise = speechlike(rng, 1), hiss(rng, 1)
    clean[1000] = 20  # a click far above full scale
    noise[1000] = 3
    m = mix(clean, noise, snr, -5)
    peaks = [np.abs(x.astype(int)).max() for x in (m.clean, m.noise, m.noisy)]
    assert max(peaks) == pytest.approx(0.99 * 32768, abs=1)
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < 0.05
    assert_array_equal(m.noisy - m.clean - m.noise, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_parts_may_be_louder_than_their_sum(sign):
    """When speech and noise cancel, it is the parts that must not be clipped."""
    clean = tone(100, 0.5)
    m = mix(clean, sign * clean, 0, -5)
    assert_array_equal(m.noisy, m.clean + m.noise)
    assert max(np.abs(m.clean).max(), np.abs(m.noise).max()) <= 0.99 * 32768 + 1
    assert_array_equal(m.noise, sign * m.clean)
