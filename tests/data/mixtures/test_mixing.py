"""Levels and SNRs against values derived by hand, and mixtures measured back."""

import math

import numpy as np
import pytest
from helpers import RATE, hiss, speechlike, tone
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.audio import levels as levels_module
from specmask.audio.levels import (
    active_level_db,
    active_snr_db,
    level_db,
    p56_level_db,
    snr_db,
    to_int16,
)
from specmask.data.mixtures import mixing

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
    rounding = 1 / 12 / levels_module.power(np.minimum(m.clean, m.noise, dtype=float))
    tolerance = max(0.05, 30 * rounding)  # only very quiet parts of loud mixtures
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < tolerance
    reached = active_level_db(m.clean / 32768, RATE)
    assert reached <= level + 0.2 if limited else abs(reached - level) < 0.2
    assert_array_equal(m.noisy, mixing.apply_gains(clean, noise, m.clean_gain, m.noise_gain).noisy)
    assert m.clean_gain == float(repr(m.clean_gain))


@pytest.mark.parametrize("snr", range(-6, 10))
def test_default_grid_measured_back(snr):
    rng = np.random.default_rng(snr + 6)
    m = mixing.mix(speechlike(rng, 3), hiss(rng, 3), snr, -25, RATE)
    assert abs(measured_snr_db(m.clean, m.noise) - snr) < 0.005
    assert abs(active_level_db(m.clean / 32768, RATE) + 25) < 0.01


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
    assert to_int16(x).tolist() == [0, 1, -1, 0, 1, 32440, -32440]
