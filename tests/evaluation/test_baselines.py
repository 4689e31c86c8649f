"""The Wiener filter against its equations, and against noise that it must recognise."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from specmask.audio import io as audio_io
from specmask.audio.stft import forward, inverse
from specmask.evaluation import baselines
from specmask.evaluation.metrics import distortion

RATE = 16000
BENCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench"


def vowels(seconds: float, seed: int = 0) -> np.ndarray:
    """Harmonic sounds of changing pitch with pauses: 0.4 s of sound, 0.2 s of silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    syllable = (t / 0.6).astype(int)
    pitch = rng.uniform(90, 220, syllable.max() + 1)[syllable]
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    inside = np.clip(np.sin(np.pi * np.minimum(t % 0.6 / 0.4, 1)), 0, 1)
    return (0.05 * voice * inside).astype(np.float32)


def white(seconds: float, level: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def slow_noise_powers(powers, noise):
    """Equations (8), (18), (22) to (24) of Gerkmann and Hendriks, number by number."""
    ratio = 10**1.5
    mean = [0.5] * powers.shape[1]
    noise = list(noise)
    rows = []
    for power in powers:
        for k, y2 in enumerate(power):
            odds = (1 + ratio) * math.exp(-y2 / noise[k] * ratio / (1 + ratio))
            presence = 1 / (1 + odds)
            mean[k] = 0.9 * mean[k] + 0.1 * presence
            if mean[k] > 0.99:
                presence = min(presence, 0.99)
            expected = (1 - presence) * y2 + presence * noise[k]
            noise[k] = 0.8 * noise[k] + 0.2 * expected
        rows.append(list(noise))
    return np.array(rows)


def test_noise_powers_against_the_equations():
    stft = baselines.analysis(RATE)
    assert stft.hop_length == 0.016 * RATE  # the hop of the paper: its constants hold as they are
    powers = np.random.default_rng(0).exponential(size=(150, 3))
    powers[60:] *= [1, 30, 1000]  # the last jump is one that only (24) gets over
    first = baselines._first_noise_power(powers, stft, RATE)
    found = np.array(list(baselines.noise_powers(powers, stft, RATE)))
    assert_allclose(found, slow_noise_powers(powers, first), rtol=1e-10)


def test_gain_follows_the_decision_directed_rule():
    stft = baselines.analysis(RATE)
    noisy = vowels(0.5) + white(0.5, 0.01)
    powers = np.abs(forward(noisy, stft)).astype(np.float64) ** 2
    noise = np.array(list(baselines.noise_powers(powers, stft, RATE)))
    gains, speech = np.zeros(powers.shape), np.zeros(stft.bins)
    for frame in range(len(powers)):
        posterior = powers[frame] / noise[frame]
        weight = 0.98**2  # from a hop of 8 ms to one of 16 ms
        prior = weight * speech / noise[frame] + (1 - weight) * np.fmax(posterior - 1, 0)
        gains[frame] = np.fmax(prior / (1 + prior), 10 ** (-25 / 20))
        speech = gains[frame] ** 2 * powers[frame]
    expected = inverse((forward(noisy, stft) * gains).astype(np.complex64), len(noisy), stft)
    assert_allclose(baselines.wiener(noisy, RATE), expected, atol=1e-5)


def fixed_point_db() -> float:
    """Where the mean of (22) for Gaussian noise is the σ² that it started from, in dB.

    With u = |Y|² / E|N|², distributed as exp(−u), the r that solves
    r = ∫ ((1 − P(u / r)) u + P(u / r) r) exp(−u) du; it is found by iteration.
    """
    u = np.linspace(0, 60, 60001)
    weight = np.exp(-u) / np.sum(np.exp(-u))
    r, xi = 1.0, 10**1.5
    for _ in range(200):
        presence = 1 / (1 + (1 + xi) * np.exp(-u / r * xi / (1 + xi)))
        r = np.sum(weight * ((1 - presence) * u + presence * r))
    return 10 * np.log10(r)


def tracked_db(level: np.ndarray, rate: int) -> np.ndarray:
    """Noise power tracked in white noise of this RMS level, mean over bins, in dB [frames]."""
    stft = baselines.analysis(rate)
    noise = level * np.random.default_rng(2).standard_normal(len(level))
    powers = np.abs(forward(noise.astype(np.float32), stft)).astype(np.float64) ** 2
    found = np.array(list(baselines.noise_powers(powers, stft, rate)))
    window_energy = np.sum(np.square(stft.window, dtype=np.float64))
    return 10 * np.log10(np.mean(found, axis=1) / window_energy)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_white_noise_is_measured_with_the_bias_of_the_equations(rate):
    assert_allclose(fixed_point_db(), -0.90, atol=0.01)
    assert abs(tracked_db(np.ones(4 * rate), rate)[3]) < 1  # right from the start
    # the estimate fluctuates, and falls more easily than it rises: a little below
    found = np.mean(tracked_db(np.ones(4 * rate), rate)[50:])
    assert fixed_point_db() - 0.5 < found < fixed_point_db() + 0.1


@pytest.mark.parametrize(("jump_db", "seconds"), [(10, 1), (40, 2.5)])
def test_noise_that_becomes_louder_is_followed(jump_db, seconds):
    level = np.where(np.arange(8 * RATE) < 4 * RATE, 1, 10 ** (jump_db / 20))
    found = tracked_db(level, RATE)
    per_second = len(found) / 8
    before = np.mean(found[round(per_second) : round(3.9 * per_second)])
    start = round((4 + seconds) * per_second)
    assert abs(np.mean(found[start : start + 50]) - before - jump_db) < 0.7


@given(
    length=st.integers(1, 6000),
    rate=st.sampled_from([8000, 16000, 22050]),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_length_type_and_no_gain_above_one(length, rate, seed):
    noisy = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    enhanced = baselines.wiener(noisy, rate)
    assert enhanced.shape == (length,) and enhanced.dtype == np.float32
    assert np.isfinite(enhanced).all()
    assert np.sum(enhanced.astype(float) ** 2) <= 1.0001 * np.sum(noisy.astype(float) ** 2)


def test_level_does_not_matter():
    noisy = vowels(1) + white(1, 0.02)
    enhanced = baselines.wiener(noisy, RATE)
    for gain in (1e-4, 30):
        assert_allclose(baselines.wiener(gain * noisy, RATE) / gain, enhanced, atol=1e-5)


def test_silence_stays_silent_and_does_not_spoil_what_follows():
    assert not baselines.wiener(np.zeros(RATE, np.float32), RATE).any()
    clean = np.r_[np.zeros(2 * RATE, np.float32), vowels(2)]
    noisy = clean + np.r_[np.zeros(2 * RATE, np.float32), white(2, 0.01)]
    enhanced = baselines.wiener(noisy, RATE)
    assert not enhanced[:RATE].any()
    assert distortion.si_sdr(clean, enhanced) > distortion.si_sdr(clean, noisy) - 1


def test_speech_in_white_noise_gets_better_and_stays_in_place():
    clean = vowels(4)
    noisy = clean + white(4, 0.03)
    enhanced = baselines.wiener(noisy, RATE)
    assert distortion.si_sdr_improvement(clean, noisy, enhanced) > 6
    lags = range(-20, 21)
    match = [np.sum(enhanced[100:-100] * np.roll(clean, lag)[100:-100]) for lag in lags]
    assert lags[int(np.argmax(match))] == 0


def test_clean_speech_is_left_alone():
    clean = vowels(3)
    assert distortion.si_sdr(clean, baselines.wiener(clean, RATE)) > 20


# ---------------------------------------------------------------- spectral subtraction


@pytest.mark.parametrize("level", [1e-5, 0.01])
def test_spectral_subtraction_by_its_rules(level):
    stft = baselines.analysis(RATE)
    noisy = vowels(0.5) + white(0.5, level)
    spectrum = forward(noisy, stft)
    powers = np.abs(spectrum).astype(np.float64) ** 2
    noise = np.array(list(baselines.noise_powers(powers, stft, RATE)))
    gains = np.zeros(powers.shape)
    for frame, (y2, n2) in enumerate(zip(powers, noise, strict=True)):
        snr = 10 * math.log10(sum(y2) / sum(n2))
        over = 4.75 if snr < -5 else 1 if snr > 20 else 4 - 0.15 * snr
        for k in range(stft.bins):
            wanted = max(y2[k] - over * n2[k], 0.01 * n2[k])
            gains[frame, k] = math.sqrt(min(wanted / y2[k], 1))
    expected = inverse((spectrum * gains).astype(np.complex64), len(noisy), stft)
    assert_allclose(baselines.spectral_subtraction(noisy, RATE), expected, atol=1e-5)


def test_spectral_subtraction_on_speech_and_silence():
    clean = vowels(4)
    noisy = clean + white(4, 0.03)
    enhanced = baselines.spectral_subtraction(noisy, RATE)
    assert enhanced.shape == noisy.shape and enhanced.dtype == np.float32
    assert distortion.si_sdr_improvement(clean, noisy, enhanced) > 5
    assert not baselines.spectral_subtraction(np.zeros(RATE, np.float32), RATE).any()


@pytest.mark.skipif(not BENCH.is_dir(), reason=f"needs real recordings in {BENCH}")
def test_real_speech_gets_better():
    gains = []
    for path in sorted((BENCH / "noisy").iterdir())[::5]:
        clean, rate = audio_io.read(BENCH / "clean" / path.name)
        noisy = audio_io.read(path)[0]
        enhanced = baselines.wiener(noisy[:, 0], rate)
        gains.append(distortion.si_sdr_improvement(clean[:, 0], noisy[:, 0], enhanced))
    assert np.mean(gains) > 1.5  # 2.3 dB over all of them
