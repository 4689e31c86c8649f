"""Draws of new mixtures: what they depend on, their levels, and what must never be mixed."""

import numpy as np
import pytest
from helpers import FRAMES, PROJECT_INI, cache_index
from hypothesis import given
from hypothesis import strategies as st

from specmask.config import ini as configuration
from specmask.errors import UserError
from specmask.training.remix import Remix


@pytest.fixture(scope="module")
def ini(tmp_path_factory):
    path = tmp_path_factory.mktemp("remix") / "config.ini"
    path.write_text(PROJECT_INI, encoding="utf-8")
    return path


def remix(ini, made, *options: str) -> Remix:
    return Remix(configuration.load(ini, options), made)


def same(a, b) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


def test_a_draw_depends_on_seed_epoch_and_place_alone(ini):
    options = "train.remix_tilt_db=6", "train.remix_noises=3"
    first, second = (remix(ini, cache_index(), *options) for _ in range(2))
    first.draw(3, FRAMES, 0, 0)
    assert same(first.draw(5, 30, 2, 7), second.draw(5, 30, 2, 7))
    other = remix(ini, cache_index(), "train.seed=1", *options)
    for changed in (second.draw(5, 30, 2, 8), second.draw(5, 30, 3, 7), other.draw(5, 30, 2, 7)):
        assert not same(second.draw(5, 30, 2, 7), changed)


@given(place=st.integers(0, 10**9), noises=st.integers(1, 4))
def test_the_snr_is_within_its_range_and_the_level_within_its_limits(ini, place, noises):
    options = "train.remix_snr_db=-3, 5", "train.remix_gain_db=4", f"train.remix_noises={noises}"
    draw = remix(ini, cache_index(), *options).draw(0, FRAMES, 0, place)
    clean_db = 20 * np.log10(draw.clean_gain[0])
    powers = np.square(draw.noise_gains[:, 0]) * 10 ** (-30 / 10)
    assert -4 <= clean_db <= 4
    assert -3.001 <= clean_db - 25 - 10 * np.log10(powers.sum()) <= 5.001
    assert draw.noises.shape == draw.noise_starts.shape == (noises,)


def test_the_number_of_noises_varies(ini):
    made = remix(ini, cache_index(), "train.remix_noises=3")
    counts = {(made.draw(0, FRAMES, 0, k).noise_gains > 0).sum() for k in range(60)}
    assert counts == {1, 2, 3}


def test_crops_of_speech_and_noise_are_independent(ini):
    made = remix(ini, cache_index())
    draws = [made.draw(0, 10, 0, k) for k in range(300)]
    starts = np.array([(d.start, d.noise_starts[0]) for d in draws])
    assert set(starts[:, 0]) == set(starts[:, 1]) == set(range(31))
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.2
    plain = [made.plain(0, 10, 0, k) for k in range(50)]
    assert all(d.start == d.noise_starts[0] and d.noises[0] == 0 for d in plain)
    assert len({d.start for d in plain}) > 10


def test_pairs_that_are_no_sum_keep_their_noise_and_never_lend_it(ini):
    made = remix(ini, cache_index(additive=[True, False] * 6), "train.remix_tilt_db=9")
    for place in range(100):
        kept = made.draw(1, 30, 0, place)
        assert kept.noises.tolist() == [1] and kept.noise_starts[0] == kept.start
        np.testing.assert_array_equal(kept.clean_gain, kept.noise_gains[0])
        assert not (made.draw(0, 30, 0, place).noises % 2).any()


@pytest.mark.parametrize("silent", ["clean", "noise", "all noise", "both", "all clean"])
def test_silence_never_gives_nan(ini, silent):
    made = cache_index()
    some = slice(None) if silent.startswith("all") else slice(0, 1)
    for kind in ("clean", "noise"):
        if kind in silent or silent == "both":
            made[f"{kind}_level_db"][some] = -np.inf
    drawn = remix(ini, made, "train.remix_noises=2")
    for item in (0, 5):
        for place in range(20):
            draw = drawn.draw(item, FRAMES, 0, place)
            assert np.isfinite(draw.clean_gain).all() and np.isfinite(draw.noise_gains).all()
            if silent == "noise":  # clean speech stays clean, and silence is not lent
                assert (draw.noises[0] == 0) == (item == 0)
            if silent == "clean" and item == 0:  # noise alone is as loud as with speech
                level = 10 * np.log10(np.square(draw.noise_gains[:, 0]).sum()) - 30
                assert -25 - 10 - 9.01 < level < -25 + 10 + 6.01


def test_a_band_limits_speech_and_noise_alike(ini):
    edges = "train.remix_band_hz=2000, 3000"
    options = "train.remix_band_probability=0.5", edges, "train.remix_noises=2"
    made, hz = remix(ini, cache_index(), *options), np.linspace(0, 4000, 129)
    draws = [made.draw(0, FRAMES, 0, k) for k in range(300)]
    with np.errstate(divide="ignore"):
        speech = np.array([20 * np.log10(d.clean_gain) for d in draws])
        noise = np.array([20 * np.log10(d.noise_gains[0]) for d in draws])
    below = speech - speech.max(axis=1, keepdims=True)
    np.testing.assert_allclose(noise - noise.max(axis=1, keepdims=True), below, atol=1e-4)
    limited = below.min(axis=1) < -1
    assert 0.4 < limited.mean() < 0.6 and not below[~limited].any()
    assert not below[limited][:, (hz > 300) & (hz < 2000)].any()
    assert (below[limited][:, hz >= 3200] < -79).all()
    upper = np.array([hz[row > -1].max() for row in below[limited]])
    assert upper.min() < 2200 and upper.max() > 2800


def test_rumble_raises_low_tones_of_the_noise_alone(ini):
    """Below 50 Hz by one value up to the limit, nothing above 400 Hz, nothing of the speech."""
    rumble = "train.remix_rumble_probability=1", "train.remix_rumble_db=20"
    plain, raised = remix(ini, cache_index()), remix(ini, cache_index(), *rumble)
    hz = np.linspace(0, 4000, raised.bins)
    rises = []
    for place in range(40):
        a, b = (d.draw(0, 20, 0, place) for d in (plain, raised))
        np.testing.assert_array_equal(a.clean_gain, b.clean_gain)
        rise = 20 * np.log10(b.noise_gains / a.noise_gains)
        np.testing.assert_allclose(rise[:, hz > 400], 0, atol=1e-5)
        assert np.ptp(rise[:, hz < 50]) < 1e-4
        assert (np.diff(rise, axis=1) < 1e-5).all()
        rises.append(rise[0, 0])
    assert 0 <= min(rises) < 5 and 15 < max(rises) <= 20.001


def test_a_range_is_needed_for_bands(ini):
    with pytest.raises(UserError, match="remix_band_hz"):
        remix(ini, cache_index(), "train.remix_band_probability=0.5", "train.remix_band_hz=")


def test_the_equaliser_is_smooth_and_limited(ini):
    made = remix(ini, cache_index(), "train.remix_tilt_db=6", "train.remix_gain_db=0")
    curves = np.array([20 * np.log10(made.draw(0, FRAMES, 0, k).clean_gain) for k in range(200)])
    assert curves.shape == (200, 129)
    peaks = np.abs(curves).max(axis=1)
    assert peaks.max() <= 6 and peaks.max() > 5 and peaks.min() < 1
    assert np.abs(np.diff(curves)).max() < 6 * 0.15
