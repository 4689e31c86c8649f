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
        return Trainer(cfg, folder, data, data)

    return build


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_give_the_gradient_of_the_batch(trainer, parts):
    def gradients(*options: str) -> list[np.ndarray]:
        run = trainer(*options)
        clean, noise, *_ = run.batch(np.arange(4), 0, 0)
        loss, values = run._gradients(clean.astype("f"), (clean + noise).astype("f"))
        return [np.asarray(x) for x in (loss, *values)]

    whole = gradients()
    assert max(np.abs(g).max() for g in whole[1:]) > 1e-4
    for a, b in zip(whole, gradients(f"train.accumulation={parts}"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(a).max() + 1e-8)


def test_remix_of_files_that_are_not_just_speech_and_noise(trainer):
    """Speech alone, noise alone and more than a sum keep their noise; the first is never lent."""
    run = trainer(
        "train.remix=yes", "data.snr_lower=3", "data.snr_upper=3", "data.total_snrlevels=1"
    )
    index = run.training.index
    index["additive"], index["snr_db"] = True, 0
    index["clean_level_db"], index["noise_level_db"] = -25, -30
    index["snr_db"][1], index["noise_level_db"][1] = np.inf, -np.inf
    index["snr_db"][2], index["clean_level_db"][2] = -np.inf, -np.inf
    index["additive"][[3, 4]] = False
    own = [bytes(run.training.gather("noise", np.array([k]))) for k in range(8)]
    lent = {k: set() for k in range(8)}
    for epoch in range(60):
        order = np.random.default_rng(epoch).permutation(8)
        for step, items in enumerate((order[:4], order[4:])):
            _, noise, clean_gain, noise_gain = run.batch(order, epoch, step)
            assert np.isfinite([clean_gain, noise_gain]).all()
            for item, x, a, b in zip(items, noise, clean_gain, noise_gain, strict=True):
                lent[item].add(own.index(bytes(x)))
                # to 3 dB from clean at -25 and noise at -30 dBFS, or left as it is
                change = 0 if item in (1, 2, 3, 4) else 2
                assert 20 * np.log10(b / a) == pytest.approx(change, abs=1e-4)
    assert [lent[k] for k in (1, 2, 3, 4)] == [{1}, {2}, {3}, {4}]
    assert all(lent[k] <= {0, 2, 5, 6, 7} and len(lent[k]) > 1 for k in (0, 5, 6, 7))


def test_remix_with_nothing_to_lend(trainer):
    run = trainer("train.remix=yes")
    run.training.index["additive"] = False
    _, noise, clean_gain, noise_gain = run.batch(np.arange(8), 0, 1)
    assert (noise == run.training.gather("noise", np.arange(4, 8))).all()
    assert (clean_gain == noise_gain).all() and np.isfinite(clean_gain).all()


def test_training_on_speech_alone_noise_alone_and_clipped_files(tmp_path):
    """No step and no score of the chain becomes NaN where a signal is missing."""
    ini = project.make(tmp_path)
    options = [
        "augment.clean_only_probability=0.3", "augment.noise_only_probability=0.3",
        "augment.clip_probability=0.3", "train.epochs=2",
    ]  # fmt: skip
    arguments = ["--config", ini, *(part for o in options for part in ("--set", o))]
    for script in ("data_prep.py", "stft.py", "train.py", "enhance.py", "evaluate.py"):
        done = project.call(script, *arguments, cwd=tmp_path)
        assert done.returncode == 0, (script, done.stderr)
        assert "not finite" not in done.stdout
    history = (tmp_path / "cp/run/history.csv").read_text().splitlines()
    assert len(history) == 3
    assert "nan" not in ",".join(row.split(",")[3] + row.split(",")[4] for row in history[1:])
    names = [p.name for p in (tmp_path / "data/NoisySpeech_training").iterdir()]
    assert any("_inf_" in n for n in names) and any("_-inf_" in n for n in names)


def test_parts_that_do_not_divide_the_batch_are_refused(trainer):
    from specmask.errors import UserError

    with pytest.raises(UserError, match="accumulation = 3 does not divide batch_size = 4"):
        trainer("train.accumulation=3")
