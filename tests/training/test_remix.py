"""Draws of new mixtures: what they depend on, their levels, and what must never be mixed."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import FRAMES, PROJECT_INI, cache_index
from hypothesis import given
from hypothesis import strategies as st

from specmask.config import ini as configuration
from specmask.data import seeding
from specmask.errors import UserError
from specmask.training.remix import Remix


@pytest.fixture(scope="module")
def ini(tmp_path_factory):
    path = tmp_path_factory.mktemp("remix") / "config.ini"
    path.write_text(PROJECT_INI, encoding="utf-8")
    return path


def remix(ini, made, *options: str) -> Remix:
    return Remix(configuration.load(ini, options), made)


def draw(remix: Remix, item: int, frames: int, epoch: int, place: int, kind="draw"):
    """Return the only row of a drawing."""
    drawn = getattr(remix, kind)(np.array([item]), frames, epoch, [place])
    return SimpleNamespace(**{name: array[0] for name, array in vars(drawn).items()})


def same(a, b) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


def reference(remix: Remix, item: int, frames: int, epoch: int, place: int):
    """One example, number by number: runs that older versions began have to draw the same bits."""
    train, hz = remix.train, remix.bins_hz
    rng = seeding.generator(train.seed, epoch, place)

    def start(of: int) -> int:
        return int(rng.integers(max(1, remix.frames[of] - frames + 1)))

    def curve_db() -> np.ndarray:
        if not train.remix_tilt_db:
            return np.zeros(1)
        curve = remix.cosines @ (rng.uniform(-1, 1, 4) / np.arange(1, 5))
        return curve * rng.uniform(0, train.remix_tilt_db) / np.abs(curve).max()

    first, count = start(item), train.remix_noises
    gain_db = rng.uniform(-train.remix_gain_db, train.remix_gain_db)
    clean_db = gain_db + curve_db()
    if remix.keeps_its_noise[item] or not remix.lendable:
        noises, starts = np.full(count, item), np.full(count, first)
        noise_db = np.stack([clean_db, *[np.full(len(clean_db), -np.inf)] * (count - 1)])
    else:
        noises = np.array(remix.lendable)[rng.integers(len(remix.lendable), size=count)]
        starts = np.array([start(int(n)) for n in noises])
        shares_db = np.full(count, -np.inf)
        used = int(rng.integers(1, count + 1))
        shares_db[:used] = 10 * np.log10(rng.dirichlet(np.ones(used)))
        level_db = gain_db + remix.clean_level_db[item] - rng.uniform(*remix.snr_db)
        level_db = level_db - remix.noise_level_db[noises] + shares_db
        noise_db = level_db[:, None] + np.stack([curve_db() for _ in noises])
    if train.remix_band_probability:
        limited = rng.random() < train.remix_band_probability
        low = rng.uniform(0, 300)
        lowest, highest = train.remix_band_hz
        high = lowest * (highest / lowest) ** rng.random()
        band_db = limited * -80 * np.clip(np.maximum(low - hz, hz - high) / 200, 0, 1)
        clean_db, noise_db = clean_db + band_db, noise_db + band_db
    if train.remix_rumble_probability:
        raised = rng.random() < train.remix_rumble_probability
        corner = 50 * 4.0 ** rng.random()
        rise = raised * rng.uniform(0, train.remix_rumble_db)
        rise *= bool(remix.lendable) and not remix.keeps_its_noise[item]  # what is kept stays so
        noise_db = noise_db + rise * np.clip(2 - hz / corner, 0, 1)
    gains = ((10 ** (db / 20)).astype(np.float32) for db in (clean_db, noise_db))
    return item, first, noises, starts, *gains


@pytest.mark.parametrize("silent", ["none", "some", "clean", "noise"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("train.remix_noises=5", "train.remix_gain_db=3"),
        ("train.remix_tilt_db=9", "train.remix_band_probability=0.5"),
        ("train.remix_noises=16", "train.remix_rumble_probability=0.5"),
        (
            "train.remix_tilt_db=6", "train.remix_noises=2", "train.remix_snr_db=-6, 18",
            "train.remix_band_probability=0.5", "train.remix_rumble_probability=0.5",
        ),
    ],
)  # fmt: skip
def test_rows_drawn_together_are_bit_for_bit_those_drawn_one_by_one(ini, options, silent):
    rng, count = np.random.default_rng(0), 40
    made = cache_index(count, frames=rng.integers(5, 60, count))
    made["clean_level_db"], made["noise_level_db"] = rng.normal(-27, 5, (2, count))
    if silent == "some":
        made["additive"][::3] = False
        made["noise_level_db"][1::5] = made["clean_level_db"][2::5] = -np.inf
    elif silent != "none":
        made[f"{silent}_level_db"] = -np.inf
    drawn = remix(ini, made, "train.remix_band_hz=2000, 3500", *options)
    items = rng.integers(0, count, 64)
    got = vars(drawn.draw(items, 30, 3, range(100, 164))).values()
    wanted = [reference(drawn, int(item), 30, 3, 100 + k) for k, item in enumerate(items)]
    for array, rows in zip(got, zip(*wanted, strict=True), strict=True):
        stacked = np.stack(rows)
        assert array.dtype == stacked.dtype and array.shape == stacked.shape
        assert array.tobytes() == stacked.tobytes()


def test_a_draw_depends_on_seed_epoch_and_place_alone(ini):
    options = "train.remix_tilt_db=6", "train.remix_noises=3"
    first, second = (remix(ini, cache_index(), *options) for _ in range(2))
    draw(first, 3, FRAMES, 0, 0)
    assert same(draw(first, 5, 30, 2, 7), draw(second, 5, 30, 2, 7))
    other = remix(ini, cache_index(), "train.seed=1", *options)
    for changed in (draw(second, 5, 30, 2, 8), draw(second, 5, 30, 3, 7), draw(other, 5, 30, 2, 7)):
        assert not same(draw(second, 5, 30, 2, 7), changed)


@given(place=st.integers(0, 10**9), noises=st.integers(1, 4))
def test_the_snr_is_within_its_range_and_the_level_within_its_limits(ini, place, noises):
    options = "train.remix_snr_db=-3, 5", "train.remix_gain_db=4", f"train.remix_noises={noises}"
    drawn = draw(remix(ini, cache_index(), *options), 0, FRAMES, 0, place)
    clean_db = 20 * np.log10(drawn.clean_gain[0])
    powers = np.square(drawn.noise_gains[:, 0]) * 10 ** (-30 / 10)
    assert -4 <= clean_db <= 4
    assert -3.001 <= clean_db - 25 - 10 * np.log10(powers.sum()) <= 5.001
    assert drawn.noises.shape == drawn.noise_starts.shape == (noises,)


def test_the_number_of_noises_varies(ini):
    made = remix(ini, cache_index(), "train.remix_noises=3")
    counts = {(draw(made, 0, FRAMES, 0, k).noise_gains > 0).sum() for k in range(60)}
    assert counts == {1, 2, 3}


def test_crops_of_speech_and_noise_are_independent(ini):
    made = remix(ini, cache_index())
    draws = [draw(made, 0, 10, 0, k) for k in range(300)]
    starts = np.array([(d.starts, d.noise_starts[0]) for d in draws])
    assert set(starts[:, 0]) == set(starts[:, 1]) == set(range(31))
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.2
    plain = [draw(made, 0, 10, 0, k, kind="plain") for k in range(50)]
    assert all(d.starts == d.noise_starts[0] and d.noises[0] == 0 for d in plain)
    assert len({d.starts for d in plain}) > 10


def test_pairs_that_are_no_sum_keep_their_noise_and_never_lend_it(ini):
    made = remix(ini, cache_index(additive=[True, False] * 6), "train.remix_tilt_db=9")
    for place in range(100):
        kept = draw(made, 1, 30, 0, place)
        assert kept.noises.tolist() == [1] and kept.noise_starts[0] == kept.starts
        np.testing.assert_array_equal(kept.clean_gain, kept.noise_gains[0])
        assert not (draw(made, 0, 30, 0, place).noises % 2).any()


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
            row = draw(drawn, item, FRAMES, 0, place)
            assert np.isfinite(row.clean_gain).all() and np.isfinite(row.noise_gains).all()
            if silent == "noise":  # clean speech stays clean, and silence is not lent
                assert (row.noises[0] == 0) == (item == 0)
            if silent == "clean" and item == 0:  # noise alone is as loud as with speech
                level = 10 * np.log10(np.square(row.noise_gains[:, 0]).sum()) - 30
                assert -25 - 10 - 9.01 < level < -25 + 10 + 6.01


def test_a_band_limits_speech_and_noise_alike(ini):
    edges = "train.remix_band_hz=2000, 3000"
    options = "train.remix_band_probability=0.5", edges, "train.remix_noises=2"
    made, hz = remix(ini, cache_index(), *options), np.linspace(0, 4000, 129)
    draws = [draw(made, 0, FRAMES, 0, k) for k in range(300)]
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
        a, b = (draw(d, 0, 20, 0, place) for d in (plain, raised))
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
    curves = np.array([20 * np.log10(draw(made, 0, FRAMES, 0, k).clean_gain) for k in range(200)])
    assert curves.shape == (200, 129)
    peaks = np.abs(curves).max(axis=1)
    assert peaks.max() <= 6 and peaks.max() > 5 and peaks.min() < 1
    assert np.abs(np.diff(curves)).max() < 6 * 0.15
