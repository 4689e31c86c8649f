"""The training step against its definition."""

import numpy as np
import project
import pytest

from specmask import config


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """Return a function that makes a trainer of 8 random clips for given options."""
    import keras

    from specmask import cache
    from specmask.batches import Batches
    from specmask.trainer import Trainer

    folder = tmp_path_factory.mktemp("trainer")
    (folder / "config.ini").write_text(project.INI, encoding="utf-8")

    def build(*options: str) -> Trainer:
        cfg = config.load(folder / "config.ini", ["train.remix=no", *options])
        keras.utils.set_random_seed(0)
        index = np.zeros(8, cache.INDEX)
        index["frames"], index["offset"] = 53, 53 * np.arange(8)
        rng = np.random.default_rng(0)
        clean, noise = (
            rng.standard_normal((8 * 53, cfg.bins, 2)).astype(np.float16) for _ in range(2)
        )
        data = cache.Cache(index, [clean], [noise])
        return Trainer(cfg, folder, Batches(cfg, data), data)

    return build


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_give_the_gradient_of_the_batch(trainer, parts):
    def gradients(*options: str) -> list[np.ndarray]:
        run = trainer(*options)
        clean, noise, *_ = run.batches.batch(np.arange(4), 0, 0)
        loss, values = run.step._parts(clean.astype("f"), noise[:, 0].astype("f"))
        return [np.asarray(x) for x in (loss, *values)]

    whole = gradients()
    assert max(np.abs(g).max() for g in whole[1:]) > 1e-4
    for a, b in zip(whole, gradients(f"train.accumulation={parts}"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(a).max() + 1e-8)


def test_parts_that_do_not_divide_the_batch_are_refused(trainer):
    from specmask.errors import UserError

    with pytest.raises(UserError, match="accumulation = 3 does not divide batch_size = 4"):
        trainer("train.accumulation=3")
