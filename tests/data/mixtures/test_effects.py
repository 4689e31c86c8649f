"""Every augmentation measured back: by tones, impulses, counted samples and cross-correlation."""

import math

import numpy as np
import pytest
import scipy.signal
from helpers import RATE, error_db, speechlike, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.config import types
from specmask.data.mixtures import effects


def frequency(x: np.ndarray, rate: int = RATE) -> float:
    """The frequency in Hz of the strongest tone, between the bins by a parabola."""
    spectrum = np.log(np.abs(np.fft.rfft(x * np.hanning(len(x)))) + 1e-12)
    k = int(np.argmax(spectrum[1:-1])) + 1
    a, b, c = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * rate / len(x)


def lag(x: np.ndarray, y: np.ndarray) -> int:
    """By how many samples y comes later than x."""
    return int(np.argmax(scipy.signal.correlate(y, x, method="fft"))) - (len(x) - 1)


def gain_db(function, hertz: float, rate: int = RATE) -> float:
    """The gain of a tone in the middle of a second."""
    x = tone(hertz, 1, rate)
    middle = slice(rate // 4, 3 * rate // 4)
    return 10 * math.log10(np.sum(function(x)[middle] ** 2) / np.sum(x[middle] ** 2))


# ---------------------------------------------------------------- speed and pitch


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0713, 2.0])
def test_speed_moves_a_tone_and_the_duration(factor):
    x = tone(440, 2)
    y = effects.speed(x, RATE, factor)
    assert abs(len(y) - len(x) / factor) <= 1
    assert frequency(y) == pytest.approx(440 * factor, rel=2e-5)
    expected = tone(440 * factor, len(y) / RATE)[: len(y)]
    assert error_db(y[800:-800], expected[800:-800]) < -80


@pytest.mark.parametrize("semitones", [-5, -1, 0.5, 2, 7])
def test_pitch_moves_a_tone_and_not_the_duration(semitones):
    x = tone(440, 2)
    y = effects.pitch(x, RATE, semitones)
    assert len(y) == len(x)
    assert frequency(y) == pytest.approx(440 * 2 ** (semitones / 12), rel=5e-4)
    assert np.std(y) == pytest.approx(np.std(x), rel=0.01)


@pytest.mark.parametrize("semitones", [-3, 3])
def test_pitch_leaves_everything_in_its_place(semitones):
    x = np.zeros(2 * RATE, np.float32)
    x[12000:20000] = tone(200, 0.5)
    y = np.abs(effects.pitch(x, RATE, semitones))
    sounding = np.flatnonzero(y > 0.05)
    assert abs(sounding[0] - 12000) < 0.03 * RATE and abs(sounding[-1] - 20000) < 0.03 * RATE


@pytest.mark.parametrize("ratio", [0.7, 1, 1.5])
def test_stretch_repeats_or_leaves_out_whole_periods(ratio):
    """A periodic signal stays what it is: its parts are joined in phase."""
    period = 80
    x = np.tile(np.random.default_rng(0).standard_normal(period), 400).astype(np.float32)
    y = effects.stretch(x, RATE, round(ratio * len(x)))
    inner = y[2000:-2000]
    assert error_db(inner[period:], inner[:-period]) < -60


# ---------------------------------------------------------------- filters


def prototype(kind: str, s: complex, a: float, q: float) -> complex:
    """The analogue filter that the biquads are made of, at s / ω0."""
    r = math.sqrt(a) / q
    if kind == "peak":
        return (s * s + s * a / q + 1) / (s * s + s / (a * q) + 1)
    if kind == "low":
        return a * (s * s + r * s + a) / (a * s * s + r * s + 1)
    return a * (a * s * s + r * s + 1) / (s * s + r * s + a)


@given(
    kind=st.sampled_from(["low", "peak", "high"]),
    hertz=st.floats(50, 6000),
    boost=st.floats(-15, 15),
    q=st.floats(0.4, 2),
)
@settings(max_examples=40)
def test_equaliser_against_its_analogue_prototype(kind, hertz, boost, q):
    impulse = np.zeros(1 << 15)
    impulse[0] = 1
    measured = np.fft.rfft(effects.equalise(impulse, RATE, [(kind, hertz, boost, q)]))
    for k in (30, 500, 2000, 6000, 16000):
        warped = 1j * math.tan(math.pi * k / 2**15) / math.tan(math.pi * hertz / RATE)
        expected = prototype(kind, warped, 10 ** (boost / 40), q)
        assert abs(measured[k]) == pytest.approx(abs(expected), rel=1e-3)


def test_filters_of_an_equaliser_add_up():
    filters = [("low", 100, 6, 0.7), ("peak", 1000, -4, 1), ("high", 3000, 3, 0.7)]
    for hertz in (40, 1000, 7000):
        one = sum(gain_db(lambda x, f=f: effects.equalise(x, RATE, [f]), hertz) for f in filters)
        assert gain_db(lambda x: effects.equalise(x, RATE, filters), hertz) == pytest.approx(
            one, abs=0.01
        )
    at_peak = gain_db(lambda x: effects.equalise(x, RATE, [("peak", 1000, -4, 1)]), 1000)
    assert at_peak == pytest.approx(-4, abs=1e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_band_by_tones(rate):
    def telephone(x: np.ndarray) -> np.ndarray:
        return effects.band_limit(x, rate, 300, 3400)

    for hertz in (400, 1000, 2000, 3300):
        assert abs(gain_db(telephone, hertz, rate)) < 0.1
        x = tone(hertz, 1, rate)
        middle = slice(rate // 4, 3 * rate // 4)
        assert error_db(telephone(x)[middle], x[middle]) < -38  # not delayed
    for hertz in (300, 3400):
        assert gain_db(telephone, hertz, rate) == pytest.approx(-6, abs=0.1)
    for hertz in (100, 200, 3500, 3900):
        assert gain_db(telephone, hertz, rate) < -40


@pytest.mark.parametrize(("low", "high", "kept", "lost"), [
    (0, 3400, [50, 3000], [3600]), (300, 8000, [400, 7900], [200]), (19, 7900, [5, 7990], []),
])  # fmt: skip
def test_edges_out_of_reach_are_left_out(low, high, kept, lost):
    for hertz in kept:
        assert abs(gain_db(lambda x: effects.band_limit(x, RATE, low, high), hertz)) < 0.1
    for hertz in lost:
        assert gain_db(lambda x: effects.band_limit(x, RATE, low, high), hertz) < -40


def test_convolution_against_sums():
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal(300), rng.standard_normal(40)
    assert_allclose(effects.convolve(x, h), np.convolve(x, h), atol=1e-12)


# ---------------------------------------------------------------- clipping and codecs


@pytest.mark.parametrize("share", [1 / 16000, 0.001, 0.02, 0.3])
def test_share_of_clipped_samples(share):
    x = speechlike(np.random.default_rng(0), 1)
    y = effects.clip(x, share)
    limit = np.abs(y).max()
    assert np.sum(np.abs(x) >= limit) == round(share * RATE)
    inside = np.abs(x) < limit
    assert_array_equal(y[inside], x[inside])
    assert_array_equal(y[~inside], np.sign(x[~inside]) * limit)


def test_silence_cannot_be_clipped():
    x = np.zeros(1000)
    x[3] = 1
    assert_array_equal(effects.clip(x, 0.1), x)


@pytest.mark.parametrize("name", effects.CODECS)
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 48000])
@pytest.mark.parametrize("quality", [0.05, 0.5, 1])
def test_codecs_do_not_delay(name, rate, quality):
    x = speechlike(np.random.default_rng(1), 1.2345, rate)
    y = effects.codec(x, rate, name, quality)
    assert len(y) == len(x)
    assert abs(lag(x, y)) <= (rate == 48000 and quality < 0.1)  # 21 µs: Opus inside at a lower rate
    assert_array_equal(effects.codec(x, rate, name, quality), y)
    error = error_db(y, x)
    assert error < (-6 if quality >= 0.5 else 6)
    assert error > -60  # it was lossy


@pytest.mark.parametrize("name", effects.CODECS)
def test_codecs_lose_more_at_a_lower_quality(name):
    x = speechlike(np.random.default_rng(1), 1)
    errors = [error_db(effects.codec(x, RATE, name, q), x) for q in (0.05, 0.95)]
    assert errors[0] > errors[1] + 3


def test_codecs_of_the_configuration():
    assert tuple(effects.CODECS) == types.CODECS


# ---------------------------------------------------------------- coloured noise


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, -0.7])
def test_slope_of_coloured_noise(rate, exponent):
    x = effects.coloured(20 * rate, rate, exponent, 5)
    hertz, density = scipy.signal.welch(x, rate, nperseg=rate // 2)
    used = (hertz >= 60) & (hertz <= 0.45 * rate)
    slope = np.polyfit(np.log2(hertz[used]), 10 * np.log10(density[used]), 1)[0]
    assert slope == pytest.approx(10 * math.log10(2) * exponent, abs=0.15)
    assert np.mean(x**2) == pytest.approx(1)


def test_coloured_noise_is_flat_where_it_cannot_be_heard():
    hertz, density = scipy.signal.welch(
        effects.coloured(60 * RATE, RATE, -2, 1), RATE, nperseg=RATE
    )
    ends = [np.mean(density[(hertz >= a) & (hertz <= a + 4)]) for a in (3, 14)]
    assert 10 * math.log10(ends[0] / ends[1]) == pytest.approx(0, abs=1.5)


def test_coloured_noise_by_its_seed():
    one, same, other = (effects.coloured(1000, RATE, -1, seed) for seed in (1, 1, 2))
    assert_array_equal(one, same)
    assert (one != other).any()


# ---------------------------------------------------------------- any signal


@settings(max_examples=25)
@given(
    samples=st.integers(1, 3000),
    kind=st.sampled_from(["noise", "silence", "click", "square"]),
    seed=st.integers(0, 100),
    rate=st.sampled_from([8000, 16000]),
)
def test_length_and_finite_samples(samples, kind, seed, rate):
    rng = np.random.default_rng(seed)
    x = {
        "noise": rng.standard_normal(samples),
        "silence": np.zeros(samples),
        "click": np.eye(1, samples, samples // 2)[0],
        "square": np.sign(np.sin(np.arange(samples) / 7)),
    }[kind].astype(np.float32)
    results = [
        effects.pitch(x, rate, rng.uniform(-12, 12)),
        effects.equalise(x, rate, [("low", 100, 6, 0.7)]),
        effects.band_limit(x, rate, 300, 3400),
        effects.clip(x, rng.uniform(0.001, 0.5)),
        *(effects.codec(x, rate, name, rng.uniform(0.01, 1)) for name in effects.CODECS),
        effects.coloured(samples, rate, rng.uniform(-4, 4), seed),
    ]
    for y in results:
        assert y.shape == (samples,)
        assert np.isfinite(y).all()
    assert np.isfinite(effects.speed(x, rate, rng.uniform(0.25, 4))).all()


@pytest.mark.parametrize("seed", range(5))
def test_impacts_set_in_at_once_and_decay(seed):
    x = effects.impacts(3 * RATE, RATE, seed)
    assert_array_equal(x, effects.impacts(3 * RATE, RATE, seed))
    assert np.mean(x**2) == pytest.approx(1)
    first = int(np.flatnonzero(x)[0])
    assert first < 3 * RATE // 2
    frames = np.add.reduceat(x**2, np.arange(0, len(x), RATE // 50))
    assert frames.max() > 5 * np.mean(frames)  # no steady noise


@pytest.mark.parametrize("seed", range(8))
def test_switched_noise_rests_and_runs(seed):
    x = effects.switched(np.ones(3 * RATE), RATE, seed)
    assert x.min() == 0 and x.max() == 1
    assert 0.1 < np.mean(x) < 0.9
    assert np.abs(np.diff(x)).max() <= 1 / (0.003 * RATE) + 1e-6
