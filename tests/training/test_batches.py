"""Batches: the same for one worker and for several, and what they hold."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import FRAMES, PROJECT_INI, cache_index

from specmask.config import ini as configuration
from specmask.data import stft_cache
from specmask.errors import UserError
from specmask.training import batches
from specmask.training.batches import Batches, mixture

BINS = 129


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function that makes batches of 12 random files for given options."""
    ini = tmp_path_factory.mktemp("batches") / "config.ini"
    ini.write_text(PROJECT_INI, encoding="utf-8")
    rng = np.random.default_rng(0)
    spectra = [rng.standard_normal((12 * FRAMES, BINS, 2)).astype(np.float16) for _ in range(2)]

    def build(*options: str, made: np.ndarray | None = None, **place: int) -> Batches:
        data = stft_cache.Cache(cache_index() if made is None else made, [spectra[0]], [spectra[1]])
        return Batches(configuration.load(ini, options), data, **place)

    return build


REMIX = "train.remix=yes", "train.remix_tilt_db=6", "train.remix_noises=2", "train.crop_seconds=0.2"


@pytest.mark.parametrize("options", [("train.remix=no",), REMIX], ids=["plain", "remix"])
def test_workers_read_the_rows_of_one_batch(make, options):
    whole = make(*options)
    halves = [make(*options, worker=k, workers=2) for k in range(2)]
    order = whole.order(1)
    wanted = whole.batch(order, 1, 2)
    got = [half.batch(order, 1, 2) for half in halves]
    for array, *parts in zip(wanted, *got, strict=True):
        np.testing.assert_array_equal(array, np.concatenate(parts))


@pytest.mark.parametrize("options", [("train.remix=no",), REMIX], ids=["plain", "remix"])
def test_an_epoch_resumes_at_any_step(make, options):
    made = make(*options)
    whole = list(made.epoch(3))
    assert len(whole) == 3
    for late, wanted in zip(made.epoch(3, start=1), whole[1:], strict=True):
        for a, b in zip(late, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (made.batch(made.order(4), 4, 0)[0] != whole[0][0].numpy()).any()


def test_a_plain_batch_holds_the_files(make):
    made = make("train.remix=no")
    order = made.order(0)
    assert sorted(order) == list(range(12))
    clean, noise = mixture(*next(made.epoch(0)))
    data = made.training
    for kind, got in (("clean", clean), ("noise", noise)):
        np.testing.assert_array_equal(got, data.gather(kind, order[:4]).astype("f"))


def test_gains_are_applied_to_bins_and_noises_add_up():
    rng = np.random.default_rng(1)
    clean, noise = rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, 5, 3, 4, 2))
    clean_gain, noise_gain = rng.random((2, 4)), rng.random((2, 5, 1))
    got = mixture(*(x.astype("f") for x in (clean, noise, clean_gain, noise_gain)))
    np.testing.assert_allclose(got[0], clean * clean_gain[:, None, :, None], rtol=1e-5)
    np.testing.assert_allclose(
        got[1], sum(noise[:, k] * noise_gain[:, k, :, None, None] for k in range(5)), rtol=1e-4
    )


def test_short_speech_is_followed_by_silence_and_short_noise_goes_round(make):
    made = cache_index()
    made["frames"][:6] = 7
    batches = make("train.remix=yes", "train.remix_gain_db=0", made=made)
    for step in range(3):
        order = batches.order(0)
        clean, noise, *_ = batches.batch(order, 0, step)
        items = batches.items(order, step)
        assert clean.shape == (4, FRAMES, BINS, 2) and noise.shape == (
            4,
            1,
            FRAMES,
            BINS,
            2,
        )
        for row, item in enumerate(items):
            assert clean[row, 7:].any() == (item >= 6)
            place = [step * 4 + row]
            drawn = batches.remix.draw(np.array([item]), FRAMES, 0, place).noises[0, 0]
            if drawn < 6 and drawn != item:
                np.testing.assert_array_equal(noise[row, 0, :7], noise[row, 0, 7:14])


def test_batches_that_are_kept_stay_as_they_are(make):
    """The memory of a batch is used again, but not while somebody holds it."""
    made = make("train.remix=no")
    order = made.order(0)
    kept = [made.batch(order, 0, step)[0] for step in range(3)]
    copies = [x.copy() for x in kept]
    for _ in range(3):
        list(made.epoch(1))
    for x, wanted in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(x, wanted)


def test_a_batch_larger_than_the_data_is_refused(make):
    with pytest.raises(UserError, match="batch_size = 13 is more than the 12 training files"):
        make("train.batch_size=13")


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_short_and_long_epochs_cut_the_same_order(make, steps):
    whole, cut = make(), make(f"train.epoch_steps={steps}")
    wanted = np.concatenate([whole.order(k) for k in range(5)])
    got = np.concatenate([cut.order(k) for k in range(15 // steps)])
    assert len(cut.order(0)) == 4 * steps == 4 * len(list(cut.epoch(0)))
    np.testing.assert_array_equal(got, wanted[: len(got)])


@pytest.mark.parametrize("shift", [0, 2, 16])
def test_arrays_become_tensors_whatever_their_alignment(shift):
    """TensorFlow ends the process over memory that is not aligned."""
    memory = np.zeros(10_000, np.uint8)
    start = -memory.ctypes.data % 64 + shift
    array = memory[start : start + 6400].view(np.float16)
    array[:] = 1
    tensor = batches._tensor(array)
    assert float(tf.reduce_sum(tensor + tensor)) == 6400
    array[:] = 2
    assert (tensor.numpy() == (1 if shift else 2)).all()  # aligned memory is not copied
