"""Streams: alignment and length; blocks equal the whole, together equals alone."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import error_db, make_run, white_noise
from hypothesis import given, settings
from hypothesis import strategies as st

import specmask
from specmask.audio import stft
from specmask.enhancement import enhancer, streaming
from specmask.enhancement.postprocess import Knobs


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("windowed"), "model.bidirectional=yes")
    return enhancer.load(run)


def whole(model, x: np.ndarray) -> np.ndarray:
    """The slow reference: one spectrum, one call, one inverse."""
    noisy = stft.to_pairs(stft.forward(x[None], model.stft))
    enhanced = model.runtime.network.estimate(noisy)[0].numpy()
    return stft.inverse(stft.to_complex(enhanced), len(x), model.stft)[0]


def in_blocks(model, x: np.ndarray, sizes: list[int], rate: int = 8000) -> np.ndarray:
    channels = 1 if x.ndim == 1 else x.shape[1]
    streamer, parts, at = specmask.Streamer(model, channels, rate), [], 0
    for size in sizes:
        parts.append(streamer.feed(x[at : at + size]))
        at += size
    return np.concatenate([*parts, streamer.flush()])


# ---------------------------------------------------------------- blocks


@given(st.lists(st.integers(0, 700), min_size=1, max_size=30), st.integers(0, 99))
@settings(max_examples=25)
def test_stream_of_any_blocks_equals_the_whole(causal, sizes, seed):
    x = white_noise(sum(sizes), seed)
    y = in_blocks(causal, x, sizes)
    assert y.shape == x.shape
    if len(x):
        np.testing.assert_allclose(y, whole(causal, x), atol=1e-5)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.sampled_from([4000, 44100]))
@settings(max_examples=15)
def test_stream_of_any_blocks_equals_the_whole_at_other_rates(causal, sizes, rate):
    x = white_noise(2 * sum(sizes)).reshape(-1, 2)
    y = in_blocks(causal, x, sizes, rate)
    assert y.shape == x.shape
    if len(x):
        np.testing.assert_allclose(y, specmask.enhance(x, rate, causal), atol=2e-5)


def test_stream_lags_by_its_latency(causal):
    streamer = specmask.Streamer(causal)
    for _ in range(50):
        streamer.feed(white_noise(80))
    assert causal.latency_seconds == pytest.approx(0.025)
    assert streamer.lag < round(causal.latency_seconds * causal.rate)


def test_a_streamer_may_be_used_again(causal):
    streamer = specmask.Streamer(causal)
    x = white_noise(1000)
    first = np.concatenate([streamer.feed(x), streamer.flush()])
    again = np.concatenate([streamer.feed(x), streamer.flush()])
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 2)])
def test_feed_and_flush_return_the_dimensions_of_the_blocks(causal, shape):
    x = white_noise(1000).reshape(shape)
    streamer = specmask.Streamer(causal, channels=2 if shape == (-1, 2) else 1)
    parts = [streamer.feed(x[:600]), streamer.feed(x[600:]), streamer.flush()]
    assert np.concatenate(parts).shape == x.shape


def test_calls_of_many_frames_are_split(causal, monkeypatch):
    x = white_noise(9000)
    wanted = specmask.enhance(x, 8000, causal)
    monkeypatch.setattr(streaming, "FRAMES_PER_CALL", 7)
    np.testing.assert_allclose(specmask.enhance(x, 8000, causal), wanted, atol=1e-6)


def test_recordings_in_company_are_enhanced_as_if_alone(causal):
    recordings = [
        (white_noise(3000 * channels, channels).reshape(-1, channels), rate)
        for channels, rate in ((1, 8000), (2, 8000), (1, 16000), (3, 4000))
    ] + [(white_noise(1)[:, None], 8000)]
    for (x, rate), y in zip(
        recordings, streaming.enhance_together(recordings, causal), strict=True
    ):
        np.testing.assert_allclose(y, specmask.enhance(x, rate, causal), atol=1e-6)


# ---------------------------------------------------------------- length, alignment, level


@given(st.integers(1, 100_000))
@settings(max_examples=15)
def test_identity_mask_gives_the_input_back(identity, samples):
    x = white_noise(samples)
    y = specmask.enhance(x, 8000, identity)
    assert y.shape == x.shape
    assert error_db(y, x) < -120


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 11025, 4000, 48000])
@pytest.mark.parametrize("channels", [None, 1, 2, 8])
def test_identity_mask_gives_the_input_back_at_every_rate(identity, rate, channels):
    """White noise: the band above the model's own is kept too, at the same gain."""
    shape = (rate // 4,) if channels is None else (rate // 4, channels)
    x = white_noise(int(np.prod(shape))).reshape(shape)
    y = specmask.enhance(x, rate, identity)
    assert y.shape == shape
    assert error_db(y, x) < -120


@pytest.mark.parametrize("x", [np.full(4000, 0.5), np.sign(np.sin(np.arange(4000) / 9))])
def test_constant_and_clipping_input(identity, x):
    x = x.astype(np.float32)
    assert error_db(specmask.enhance(x, 8000, identity), x) < -120


def test_silence_stays_silent(causal):
    for rate in (8000, 16000):
        assert not specmask.enhance(np.zeros((5000, 2), np.float32), rate, causal).any()


@pytest.mark.parametrize("rate", [8000, 12000])
def test_a_sample_that_is_not_finite_damages_a_window(causal, rate):
    x = white_noise(rate)
    damaged = x.copy()
    damaged[rate // 2] = np.nan
    streamer = specmask.Streamer(causal, rate=rate)
    y = np.concatenate([streamer.feed(damaged), streamer.flush()])
    zeroed = np.where(np.isfinite(damaged), damaged, 0)
    np.testing.assert_allclose(y, specmask.enhance(zeroed, rate, causal), atol=1e-5)
    assert streamer.replaced == 1


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(9, np.int16), 8000, "found int16; divide"),
        (np.zeros((2, 4000)), 8000, "transpose"),
        (np.zeros((2, 3, 4)), 8000, r"\[samples, channels\]"),
        (np.float64(0), 8000, r"\[samples, channels\]"),
        (["a"], 8000, "expected floats"),
        (np.zeros(9), 8000.5, "rate = 8000.5: expected a whole number"),
        (np.zeros(9), 0, "rate = 0"),
        (np.zeros(9), None, "rate = None"),
        (np.zeros(9), "high", "rate = 'high'"),
    ],
)
def test_arrays_and_rates_that_are_wrong_are_refused(causal, samples, rate, message):
    with pytest.raises(ValueError, match=message):
        specmask.enhance(samples, rate, causal)


def test_rates_may_be_floats_and_arrays_empty(causal):
    x = white_noise(900)
    np.testing.assert_array_equal(
        specmask.enhance(x, 44100.0, causal), specmask.enhance(x, 44100, causal)
    )
    for shape in ((0,), (0, 2)):
        assert specmask.enhance(np.zeros(shape), 8000, causal).shape == shape
    assert specmask.Streamer(causal, rate=16000.0).feed(np.zeros(0)).shape == (0,)


def test_blocks_of_other_channels_are_refused(causal):
    with pytest.raises(ValueError, match=r"expected \[samples, 2\], found \[9\]"):
        specmask.Streamer(causal, channels=2).feed(np.zeros(9))
    with pytest.raises(ValueError, match="channels = 0"):
        specmask.Streamer(causal, channels=0)


def test_knobs_may_be_a_dictionary(causal):
    assert replace(causal, knobs={"mix": 0.5}).knobs == Knobs(mix=0.5)
    streamer = specmask.Streamer(causal)
    streamer.knobs = {"post_gain_db": 3}
    assert streamer.knobs == Knobs(post_gain_db=3)
    with pytest.raises(ValueError, match="found mixx"):
        replace(causal, knobs={"mixx": 0.5})
    with pytest.raises(ValueError, match="mix = 2: expected a number from 0 to 1"):
        Knobs(mix=2)
    with pytest.raises(ValueError, match="expected one of linked, separate, mid"):
        replace(causal, channels="left")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_arrays_that_are_not_finite_are_refused(causal, bad):
    with pytest.raises(ValueError, match="finite"):
        specmask.enhance(np.array([0.0, bad]), 8000, causal)


# ---------------------------------------------------------------- band, channels, knobs


def high_share_db(y: np.ndarray, rate: int, edge: float) -> float:
    power = np.abs(np.fft.rfft(y * np.hanning(len(y)))) ** 2
    above = np.fft.rfftfreq(len(y), 1 / rate) > edge
    return float(10 * np.log10(power[above].sum() / power.sum()))


def test_high_band_is_dropped_or_follows_the_masks_top(identity):
    rate, x = 24000, white_noise(24000)
    dropped = specmask.enhance(x, rate, replace(identity, highband="drop"))
    assert high_share_db(dropped, rate, 4100) < -80
    quiet = replace(identity, knobs=Knobs(post_gain_db=-20))
    inside = slice(500, -500)  # the gain passes a resampler, which needs some ms at the ends
    assert error_db(10 * specmask.enhance(x, rate, quiet)[inside], x[inside]) < -100


@pytest.mark.parametrize("target", ["magnitude_mapping", "complex_mapping", "noise_db"])
def test_what_has_no_bound_in_the_band_has_one_above_it(tmp_path, target):
    """A mapping says much where the noisy band is silent; the tone above it must not grow."""
    model = enhancer.load(make_run(tmp_path, f"model.target={target}"))
    model = replace(model, knobs=Knobs(post_gain_db=6))
    rate, t = 24000, np.arange(24000) / 24000
    x = (0.01 * np.sin(2 * np.pi * 6000 * t)).astype(np.float32)
    y = specmask.enhance(x, rate, model)
    assert np.abs(y).max() < 1.1 * 10 ** (6 / 20) * 0.01


def test_linked_channels_keep_the_image_and_separate_do_not(causal):
    x = np.stack([white_noise(4000, 1), 0.3 * white_noise(4000, 1)], axis=1)
    for channels in ("linked", "mid"):
        y = specmask.enhance(x, 8000, replace(causal, channels=channels))
        np.testing.assert_allclose(y[:, 1], 0.3 * y[:, 0], atol=1e-5)
    z = np.stack([white_noise(4000, 1), white_noise(4000, 2)], axis=1)
    apart = specmask.enhance(z, 8000, replace(causal, channels="separate"))
    np.testing.assert_allclose(apart[:, 0], whole(causal, z[:, 0]), atol=1e-5)


def test_mid_is_the_mask_of_the_mean(causal):
    x = np.stack([white_noise(4000, 1), white_noise(4000, 2)], axis=1)
    y = specmask.enhance(x, 8000, replace(causal, channels="mid"))
    np.testing.assert_allclose(y.mean(1), whole(causal, x.mean(1)), atol=1e-5)


def test_a_dead_channel_does_not_change_the_other(causal):
    x = np.stack([white_noise(4000), np.zeros(4000, np.float32)], axis=1)
    y = specmask.enhance(x, 8000, causal)
    np.testing.assert_allclose(y[:, 0], whole(causal, x[:, 0]), atol=1e-5)
    assert not y[:, 1].any()


def test_knobs_on_masks():
    rng = np.random.default_rng(0)
    mask = (rng.standard_normal((2, 5, 9)) + 1j * rng.standard_normal((2, 5, 9))) * 0.2
    mask = mask.astype(np.complex64)
    mask[0, 0, 0] = 0
    assert Knobs().apply(mask) is mask
    limited = Knobs(max_suppression_db=20).apply(mask)
    np.testing.assert_allclose(np.abs(limited), np.maximum(np.abs(mask), 0.1), rtol=1e-5)
    loud = np.abs(mask) > 0
    np.testing.assert_allclose(np.angle(limited[loud]), np.angle(mask[loud]), atol=1e-5)
    np.testing.assert_allclose(Knobs(mix=0.25).apply(mask), 0.25 * mask + 0.75, atol=1e-6)
    np.testing.assert_allclose(Knobs(post_gain_db=20).apply(mask), 10 * mask, rtol=1e-5, atol=1e-8)


def test_dry_and_wet_are_in_phase(causal):
    x = white_noise(8000)
    wet = specmask.enhance(x, 12000, causal)
    half = specmask.enhance(x, 12000, replace(causal, knobs=Knobs(mix=0.5)))
    assert error_db(half, 0.5 * wet + 0.5 * x) < -35  # |M| is not linear above the model's band
    dry = specmask.enhance(x, 12000, replace(causal, knobs=Knobs(mix=0)))
    assert error_db(dry, x) < -120


def test_knobs_of_a_stream_can_be_turned(causal):
    x = white_noise(16000)
    streamer = specmask.Streamer(causal)
    y = [streamer.feed(x[:8000])]
    streamer.knobs = Knobs(mix=0)
    y = np.concatenate([*y, streamer.feed(x[8000:]), streamer.flush()])
    assert error_db(y[8200:], x[8200:]) < -120
    np.testing.assert_allclose(y[:7600], whole(causal, x)[:7600], atol=1e-5)


# ---------------------------------------------------------------- networks that are not causal


def test_short_files_are_one_window(windowed):
    x = white_noise(8000)
    np.testing.assert_allclose(specmask.enhance(x, 8000, windowed), whole(windowed, x), atol=1e-5)


@pytest.mark.parametrize("samples", [24000, 23370])
def test_long_files_are_windows_with_a_cross_fade(windowed, monkeypatch, samples):
    monkeypatch.setattr(streaming, "WINDOW_FRAMES", 60)
    monkeypatch.setattr(streaming, "OVERLAP_FRAMES", 20)
    x = white_noise(samples)
    y = specmask.enhance(x, 8000, windowed)
    assert y.shape == x.shape
    assert error_db(y, whole(windowed, x)) < -17
