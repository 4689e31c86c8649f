"""The training step against its definition, and whole trainings of a few steps."""

import errno
import signal
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import PROJECT_INI, call_script, make_project, run_script

from specmask import files, models
from specmask.audio.stft import Stft, forward, to_pairs
from specmask.config import ini as configuration
from specmask.data import stft_cache
from specmask.data.mixtures import manifest
from specmask.errors import UserError
from specmask.files import held
from specmask.training import checkpoint, distributed, runs
from specmask.training.clock import Clock


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """Return a function that makes a trainer of 8 random clips for given options."""
    from specmask.training.batches import Batches
    from specmask.training.trainer import Trainer

    folder = tmp_path_factory.mktemp("trainer")
    (folder / "config.ini").write_text(PROJECT_INI, encoding="utf-8")

    def build(*options: str) -> Trainer:
        cfg = configuration.load(folder / "config.ini", ["train.remix=no", *options])
        keras.utils.set_random_seed(0)
        index = np.zeros(8, stft_cache.INDEX)
        index["frames"], index["offset"] = 53, 53 * np.arange(8)
        rng = np.random.default_rng(0)
        clean, noise = (
            rng.standard_normal((8 * 53, cfg.bins, 2)).astype(np.float16) for _ in range(2)
        )
        data = stft_cache.Cache(index, [clean], [noise])
        return Trainer(cfg, folder, Batches(cfg, data), data)

    return build


@pytest.mark.parametrize("options", [
    ["train.accumulation=2"], ["train.accumulation=4"], ["train.parts=2"],
    ["train.parts=2", "train.accumulation=2"],
])  # fmt: skip
def test_parts_of_a_batch_give_the_gradient_of_the_batch(trainer, options):
    def gradients(*options: str) -> list[np.ndarray]:
        run = trainer(*options)
        clean, noise, *_ = run.batches.batch(np.arange(4), 0, 0)
        return [np.asarray(x) for x in run.step._parts(clean.astype("f"), noise[:, 0].astype("f"))]

    whole = gradients()
    assert max(np.abs(g).max() for g in whole[1:]) > 1e-4
    for a, b in zip(whole, gradients(*options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(a).max() + 1e-8)


def test_parts_do_not_depend_on_the_machine(trainer):
    """Up to 4 that divide the rows of a replica; 1 where results may differ."""
    for options, count in (
        (["train.batch_size=8"], 4),
        (["train.batch_size=6"], 3),
        (["train.batch_size=7"], 1),
        (["train.batch_size=8", "train.accumulation=4"], 2),
        (["train.batch_size=8", "train.parts=8"], 8),
        (["train.deterministic=no"], 1),
    ):
        assert trainer(*options).step.parts == count, options
    mirrored = trainer("train.batch_size=8", "train.strategy=mirrored").config.train
    assert distributed.parts(mirrored) == 1
    with pytest.raises(UserError, match="parts = 2 does not go with strategy = mirrored"):
        trainer("train.parts=2", "train.strategy=mirrored")


def test_threads_cannot_be_limited_once_tensorflow_runs(trainer, capsys, monkeypatch):
    def refuse(threads: int) -> None:
        raise RuntimeError("TensorFlow already runs")

    # as it is in a process of its own; here another test may have limited the threads
    threading = tf.config.threading
    monkeypatch.setattr(threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.setattr(threading, "set_intra_op_parallelism_threads", refuse)
    distributed.limit_threads(trainer("train.parts=1").config.train)
    assert capsys.readouterr().out == ""
    distributed.limit_threads(trainer("train.parts=2").config.train)
    assert "results may differ by rounding" in capsys.readouterr().out


@pytest.mark.slow
def test_a_training_in_parts_is_the_same_twice(tmp_path):
    """Two processes, one of them stopped on the way, end with the same weights."""
    ini = make_project(tmp_path)
    common = ["--config", ini, "--set", "model.network=crn", "--set", "model.attention_heads=2"]
    for script in ("data_prep.py", "stft.py"):
        assert call_script(script, *common, cwd=tmp_path).returncode == 0
    digests = []
    for name, ends in (("a", (4,)), ("b", (2, 4))):
        for epochs in ends:
            own = ["--set", f"train.run_name={name}", "--set", f"train.epochs={epochs}"]
            own += ["--set", "train.schedule=constant"]
            done = run_script("train.py", *common, *own, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        digests.append(files.digest(tmp_path / "cp" / name / "best.npz"))
    assert digests[0] == digests[1]


def test_training_on_speech_alone_noise_alone_and_clipped_files(tmp_path):
    """No step and no score of the chain becomes NaN where a signal is missing."""
    ini = make_project(tmp_path)
    options = [
        "augment.clean_only_probability=0.3", "augment.noise_only_probability=0.3",
        "augment.clip_probability=0.3", "train.epochs=2",
    ]  # fmt: skip
    arguments = ["--config", ini, *(part for o in options for part in ("--set", o))]
    for script in ("data_prep.py", "stft.py", "train.py", "enhance.py", "evaluate.py"):
        done = call_script(script, *arguments, cwd=tmp_path)
        assert done.returncode == 0, (script, done.stderr)
        assert "not finite" not in done.stdout
    history = (tmp_path / "cp/run/history.csv").read_text().splitlines()
    assert len(history) == 3
    assert "nan" not in ",".join(row.split(",")[3] + row.split(",")[4] for row in history[1:])
    names = [p.name for p in (tmp_path / "data/NoisySpeech_training").iterdir()]
    assert any("_inf_" in n for n in names) and any("_-inf_" in n for n in names)


def test_parts_that_do_not_divide_the_batch_are_refused(trainer):
    with pytest.raises(UserError, match="accumulation = 3 does not divide batch_size = 4"):
        trainer("train.accumulation=3")


# ---------------------------------------------------------------- whole trainings, in this process


class Run:
    """Trainings of one data set, made from random spectra, in one process."""

    def __init__(self, folder: Path, *options: str):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.ini").write_text(PROJECT_INI, encoding="utf-8")
        self.options = [
            "model.network=band_lstm",
            *options,
            "train.listen_files=1",
            "train.metric_files=1",
        ]
        self.training, self.validation = noisy_tones(12, 0), noisy_tones(4, 1)

    def train(self, *options: str, fresh: bool = False, stop_at: int = 0):
        """Train to the end, or until SIGTERM comes in a step; return the trainer and outcome."""
        from specmask.training import trainer as training
        from specmask.training.trainer import Trainer

        cfg = configuration.load(self.folder / "config.ini", [*self.options, *options])
        made = []

        class Watched(Trainer):
            def __init__(self, *args):
                super().__init__(*args)
                made.append(self)

            def _record(self, result, batch):
                super()._record(result, batch)
                if self.progress.total_steps == stop_at:
                    signal.raise_signal(signal.SIGTERM)

        caches = {"training": self.training, "validation": self.validation}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stft_cache, "load", lambda _, split: caches[split])
            patch.setattr(training, "Trainer", Watched)
            outcome = training.train(cfg, fresh=fresh)
        return made[0], outcome


def noisy_tones(count: int, seed: int) -> stft_cache.Cache:
    """A cache of tones at random pitches and of hiss, at about 0 dB SNR."""
    stft = Stft("hann", 200, 80, 256)
    rng = np.random.default_rng(seed)
    t = np.arange(4000) / 8000
    clean = 0.1 * np.sin(2 * np.pi * rng.uniform(200, 900, (count, 1)) * t).astype(np.float32)
    noise = 0.07 * rng.standard_normal((count, 4000)).astype(np.float32)
    spectra = [to_pairs(forward(x, stft)).astype(np.float16) for x in (clean, noise)]
    frames = spectra[0].shape[1]
    index = np.zeros(count, stft_cache.INDEX)
    index["frames"], index["offset"], index["samples"] = frames, frames * np.arange(count), 4000
    index["clean_level_db"], index["noise_level_db"], index["additive"] = -23, -23, True
    index["snr_db"] = [0, 5] * (count // 2)
    return stft_cache.Cache(index, *([s.reshape(-1, *s.shape[2:])] for s in spectra))


def arrays(outcome) -> dict[str, np.ndarray]:
    return checkpoint.read(runs.newest_first(outcome.folder)[0])[0]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    """Put a network that is quickly compiled in the place of another: two layers and dropout."""

    def build(c, x, channels, states):
        x = keras.layers.Dense(c.model.recurrent_units, "relu", name="wide")(x)
        x = keras.layers.Dropout(0.3, name="dropout")(x)
        return keras.layers.Dense(channels, name="mask")(x)

    network = SimpleNamespace(build=build, causal=lambda c: False)
    monkeypatch.setitem(models.NETWORKS, "band_lstm", network)


def test_a_run_with_dropout_resumes_bit_by_bit(tmp_path):
    """Stopped in the middle of the second epoch, with crops, several noises and equalisers."""
    options = (
        "train.epochs=3", "train.crop_seconds=0.3",
        "train.remix_noises=2", "train.remix_tilt_db=6", "train.optimizer=adamw",
    )  # fmt: skip
    _, whole = Run(tmp_path / "whole", *options).train()
    broken = Run(tmp_path / "broken", *options)
    _, stopped = broken.train(stop_at=5)
    assert (stopped.exit_code, stopped.progress.epoch, stopped.progress.step) == (143, 1, 2)
    _, resumed = broken.train()
    assert resumed.exit_code == 0
    wanted = arrays(whole)
    assert "model/dropout/seed_generator_state" in wanted
    assert any(name.startswith("average/") for name in wanted)
    assert same(wanted, arrays(resumed))
    for name in ("history.csv", "best.npz"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes()
    _, other = Run(tmp_path / "other", *options).train("train.seed=3")
    assert not same(wanted, arrays(other))


def test_a_run_with_numbered_checkpoints_resumes_bit_by_bit(tmp_path):
    """As older versions wrote them: by number, and the seeds of dropout twice."""
    options = "train.epochs=2", "train.optimizer=muon", "train.precision=mixed_float16"
    _, whole = Run(tmp_path / "whole", *options).train()
    broken = Run(tmp_path / "broken", *options)
    trainer, stopped = broken.train(stop_at=4)
    groups = {name: list(vs.values()) for name, vs in trainer.step.groups().items()}
    groups["seeds"] = [v for k, v in trainer.network.variables.items() if "seed" in k]
    assert all(groups.values()) and len(groups) == 5
    numbered = {f"{g}/{k:04d}": np.asarray(v) for g, vs in groups.items() for k, v in enumerate(vs)}
    path = runs.newest_first(stopped.folder)[0]
    np.savez(path, state=np.load(path)["state"], **numbered)
    _, resumed = broken.train()
    assert same(arrays(whole), arrays(resumed))


def test_a_run_from_before_parts_keeps_the_whole_batch_together(tmp_path, capsys):
    """Its saved options do not name it; it resumes bit by bit, and a new run gets the default."""
    options = "train.epochs=2", "train.deterministic=yes"
    _, whole = Run(tmp_path / "whole", *options).train("train.parts=1")
    broken = Run(tmp_path / "broken", *options)
    _, stopped = broken.train("train.parts=1", stop_at=4)
    path = stopped.folder / "config.ini"
    path.write_text(path.read_text().replace("parts = 1\n", ""))
    capsys.readouterr()
    trainer, resumed = broken.train()
    assert trainer.step.parts == 1 and same(arrays(whole), arrays(resumed))
    assert "note: [train] parts" not in capsys.readouterr().out
    trainer, _ = broken.train(fresh=True)
    assert trainer.step.parts == 4


def test_a_run_keeps_the_defaults_of_its_start(tmp_path, capsys):
    """An INI that leaves network and optimizer out resumes a run that was started with others."""
    run = Run(tmp_path, "train.epochs=2")
    _, stopped = run.train(stop_at=4)
    ini = tmp_path / "config.ini"
    for line in ("network = conv_lstm", "optimizer = adam", "learning_rate = 2e-3"):
        ini.write_text(ini.read_text().replace(f"{line}\n", ""))
    run.options.remove("model.network=band_lstm")
    with pytest.raises(UserError, match=r"\[model\] network was band_lstm, is unet"):
        run.train("model.network=unet")
    capsys.readouterr()
    trainer, outcome = run.train()
    assert outcome.folder == stopped.folder and outcome.progress.total_steps == 6
    assert (trainer.config.train.optimizer, trainer.config.train.learning_rate) == ("adam", 2e-3)
    assert " was " not in capsys.readouterr().out
    trainer, _ = run.train(fresh=True)
    assert trainer.config.model.network == "crn"


def test_the_mean_of_the_weights_is_validated_and_exported(tmp_path):
    run = Run(tmp_path, "train.epochs=2")
    trainer, outcome = run.train()
    state = arrays(outcome)
    best, info = checkpoint.read(outcome.folder / "best.npz")
    assert info["epoch"] == outcome.progress.best_epoch == 2
    means = trainer.step.average.means
    for name, variable in trainer.network.variables.items():
        np.testing.assert_array_equal(state[f"model/{name}"], np.asarray(variable))
        wanted = means[name].numpy() if variable.trainable else np.asarray(variable)
        np.testing.assert_array_equal(best[f"model/{name}"], wanted)
        if variable.trainable:
            assert (best[f"model/{name}"] != state[f"model/{name}"]).any()
    loss = outcome.progress.history[-1]["validation_loss"]
    checkpoint.load(outcome.folder / "best.npz", {"model": trainer.network.variables})
    np.testing.assert_allclose(trainer.validation.run(score=False)[0], loss, rtol=1e-5)


def test_early_stop_and_plateau(tmp_path):
    """At a rate of almost zero nothing gets better than in the first epoch."""
    options = (
        "train.epochs=9", "train.ema=0", "train.learning_rate=1e-12", "train.patience=3",
        "train.schedule=plateau", "train.plateau_epochs=2", "train.plateau_factor=0.1",
        "train.warmup_steps=0",
    )  # fmt: skip
    run = Run(tmp_path, *options)
    _, outcome = run.train()
    p = outcome.progress
    assert (p.epoch, p.best_epoch, p.stale, p.reductions) == (4, 1, 3, 1)
    assert [r["learning_rate"] for r in p.history] == pytest.approx([1e-12] * 3 + [1e-13])
    _, again = run.train()  # it stays stopped
    assert again.progress.epoch == 4


def test_another_data_set_restarts_the_epoch_and_chooses_the_best_weights_anew(
    tmp_path, capsys, monkeypatch
):
    """Stopped late in an epoch, resumed on fewer files than it had seen by then."""
    monkeypatch.setattr(manifest, "count_note", lambda *_: "")  # these have no manifest
    run = Run(tmp_path, "train.epochs=3", "train.batch_size=2")
    _, outcome = run.train(stop_at=11)
    assert (outcome.progress.epoch, outcome.progress.step) == (1, 5)
    best = outcome.progress.best_loss
    run.training = noisy_tones(4, 0)
    harder = run.validation = noisy_tones(4, 2)
    harder.noise[0][:] *= 30
    harder.index["noise_level_db"] += 30
    capsys.readouterr()
    _, outcome = run.train()
    assert "note: another data set than before: the running epoch" in capsys.readouterr().out
    p = outcome.progress
    assert (p.epoch, p.total_steps) == (3, 11 + 2 * 2) and best < p.best_loss < float("inf")
    run.train("train.epochs=4")
    assert "another data set" not in capsys.readouterr().out  # said once


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_exports_single_precision(tmp_path, precision):
    trainer, outcome = Run(
        tmp_path, f"train.precision={precision}", "train.epochs=2", "model.network=conv_lstm"
    ).train()
    first, last = outcome.progress.history
    assert last["validation_loss"] < first["validation_loss"]
    kinds = {layer.compute_dtype for layer in trainer.network.model.layers}
    assert precision.removeprefix("mixed_") in kinds
    saved = checkpoint.read(outcome.folder / "best.npz")[0]
    assert {a.dtype for a in saved.values()} == {np.dtype("float32")}


def test_no_validation_files(tmp_path, capsys):
    _, outcome = Run(tmp_path, "data.total_validation_files=0", "train.epochs=2").train()
    assert "lowest training loss chooses" in capsys.readouterr().out
    assert outcome.progress.best_loss == min(r["training_loss"] for r in outcome.progress.history)
    assert "si_sdr" not in (outcome.folder / "history.csv").read_text()


def test_an_epoch_whose_steps_were_all_skipped_is_not_the_best(trainer):
    run = trainer()
    run.validation = None
    run.progress.step = run.progress.skipped = run.batches.steps
    run._end_epoch(Clock(0))
    assert np.isnan(run.progress.history[0]["training_loss"])
    assert run.progress.best_loss == np.inf and not (run.folder / "best.npz").exists()


def test_noisy_files_are_shown_before_clean_ones(tmp_path):
    from specmask.training.validation import Validation

    (tmp_path / "config.ini").write_text(PROJECT_INI, encoding="utf-8")
    options = "model.network=band_lstm", "train.metric_files=4", "train.listen_files=3"
    cfg = configuration.load(tmp_path / "config.ini", options)
    files = noisy_tones(6, 0)
    files.index["snr_db"] = [np.inf, 0, -np.inf, 5, 10, 15]  # the last two are not scored
    validation = Validation(cfg, models.build(cfg), files)
    *_, scores = validation.run()
    _, _, shown = scores.collect()
    assert [s.name for s in shown] == ["1, inf dB", "2, 0 dB", "4, 5 dB"]


def test_nan_in_the_cache(tmp_path, capsys):
    """One bad file: its steps are skipped with a warning. Only bad files: the run stops."""
    run = Run(tmp_path, "train.epochs=2", "train.remix=no", "train.max_skipped=2")
    frames = run.training.index["frames"][0]
    run.training.clean[0][3 * frames] = np.nan
    run.validation.noise[0][:frames] = np.inf
    _, outcome = run.train()
    p = outcome.progress
    assert [r["skipped"] for r in p.history] == [1, 1] and np.isfinite(p.best_loss)
    out = capsys.readouterr().out
    assert out.count("its gradient is not finite") == 2
    assert "validation file 1 left out" in out
    run.training.clean[0][:] = np.nan
    with pytest.raises(UserError, match=r"2 steps in a row .* NaN .* stft\.py") as error:
        run.train(fresh=True)
    path = tmp_path / "cp" / "run-2" / "bad_batch.npz"
    assert str(path) in str(error.value)
    saved = np.load(path)
    assert np.isnan(saved["clean"]).all() and len(saved["files"]) == 4


def test_progress_inside_an_epoch_without_a_terminal(tmp_path, capsys, monkeypatch):
    run = Run(tmp_path, "train.epochs=1")
    monkeypatch.setattr("specmask.training.trainer.LINE_SECONDS", 0)
    run.train()
    out = capsys.readouterr().out
    assert "\ntraining: epoch 1/1 step 1/" in out and "\r" not in out


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    run = Run(tmp_path, "train.epochs=2")
    _, whole = Run(tmp_path / "whole", "train.epochs=2").train()
    savez, calls = np.savez, []

    def fail(path, **kept):
        calls.append(path)
        if len(calls) == 4:  # best and newest of the first epoch, best of the second, newest
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        savez(path, **kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="No space left"):
            run.train()
    folder = tmp_path / "cp" / "run"
    assert [p.name for p in runs.newest_first(folder)] == ["ckpt-00000003.npz"]
    assert not list(folder.glob(".specmask-*"))
    (folder / ".specmask-left.npz").write_bytes(b"half")  # by a kill
    _, outcome = run.train()
    assert same(arrays(whole), arrays(outcome))
    assert not list(folder.glob(".specmask-*"))


def test_one_at_a_time(tmp_path):
    """A second training would take away the checkpoint that the first is writing."""
    folder = tmp_path / "cp" / "run"
    with held(folder), pytest.raises(UserError, match="another run"):
        Run(tmp_path, "train.epochs=1").train()
    assert not (folder / "config.ini").exists()
    assert Run(tmp_path, "train.epochs=1").train()[1].exit_code == 0


def test_changes_are_reported_with_what_they_imply(tmp_path, capsys):
    run = Run(tmp_path, "train.epochs=1")
    run.train()
    capsys.readouterr()
    _, outcome = run.train("train.epochs=2", "train.loss=mse:1", "train.learning_rate=1e-4")
    out = capsys.readouterr().out
    assert "[train] epochs was 1, is 2: the schedule is stretched" in out
    assert "[train] loss was compressed:1, si_sdr:0.001, is mse:1: losses before and after" in out
    assert "[train] learning_rate was 0.002, is 0.0001: from the next step on" in out
    assert outcome.progress.best_epoch == 2  # selected again
    run.train("train.epochs=2", "train.loss=mse:1", "train.learning_rate=1e-4")
    assert "note: [" not in capsys.readouterr().out  # said once
    with pytest.raises(UserError) as error:
        run.train("train.ema=0", "model.recurrent_units=7")
    assert "recurrent_units was 6, is 7: it would be another network" in str(error.value)
    assert "ema was 0.999, is 0: the running mean was made with it" in str(error.value)
    assert "--fresh" in str(error.value)


def test_a_new_run_does_not_take_the_logs_of_another(tmp_path):
    """Nor does a run that was killed before its first checkpoint lose its own."""
    run = Run(tmp_path, "train.epochs=1")
    run.train()
    logs = {p: p.read_bytes() for p in (tmp_path / "logs").rglob("events*")}
    with pytest.raises(UserError, match=r"logs/run: holds the logs .* run_name or log_path"):
        run.train(f"train.checkpoint_path={tmp_path / 'other'}")
    assert {p: p.read_bytes() for p in (tmp_path / "logs").rglob("events*")} == logs
    assert logs and not (tmp_path / "other" / "run").exists()
    for path in runs.newest_first(tmp_path / "cp" / "run"):
        path.unlink()
    _, outcome = run.train()
    assert outcome.progress.epoch == 1


def test_epochs_may_be_cut_and_cut_again(tmp_path, capsys):
    run = Run(tmp_path, "train.epoch_steps=2", "train.epochs=2")
    _, outcome = run.train(stop_at=3)
    assert (outcome.progress.epoch, outcome.progress.step) == (1, 1)
    _, outcome = run.train("train.epoch_steps=1", "train.epochs=4")
    p = outcome.progress
    assert [r["step"] for r in p.history] == [2, 4, 5, 6] and p.epoch == 4
    assert "[train] epoch_steps was 2, is 1: the running epoch starts" in capsys.readouterr().out


def test_fine_tuning(tmp_path, capsys):
    run = Run(tmp_path, "train.epochs=1")
    _, first = run.train()
    source = f"train.initial_weights={first.folder}"
    run.train("train.run_name=tuned", source, "train.frozen_layers=w*")
    assert f"initial weights from {first.folder / 'best.npz'}" in capsys.readouterr().out
    given = checkpoint.read(first.folder / "best.npz")[0]
    trainer, tuned = run.train("train.run_name=tuned", source,
                               "train.frozen_layers=w*")  # fmt: skip
    for name in trainer.network.variables:
        equal = np.array_equal(arrays(tuned)[f"model/{name}"], given[f"model/{name}"])
        assert equal == name.startswith("wide"), name
    capsys.readouterr()
    trainer, _ = run.train("train.run_name=wider", source, "model.recurrent_units=7")
    assert trainer.config.model.recurrent_units == 6
    assert "note: options of the initial weights: [model] recurrent_units = 6" in (
        out := capsys.readouterr().out
    )
    assert "this run is finished" not in out
    run.train("train.run_name=wider", source, "model.recurrent_units=7")  # resumes as it began
    assert "finished; to train on, raise [train] epochs" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"they are for 8000 Hz, .* sample_rate = 16000"):
        run.train("train.run_name=other", source, "data.sample_rate=16000", "stft.n_fft=512")
    exported = first.folder / "step.onnx"
    exported.write_bytes(b"")
    with pytest.raises(UserError, match="exports cannot be trained"):
        run.train("train.run_name=other", f"train.initial_weights={exported}")
    alone = tmp_path / "alone" / "best.npz"
    alone.parent.mkdir()
    alone.write_bytes((first.folder / "best.npz").read_bytes())
    with pytest.raises(UserError, match=r"shape .* put their INI file beside them, as best\.ini"):
        run.train("train.run_name=other", f"train.initial_weights={alone}",
                  "model.recurrent_units=7")  # fmt: skip
    with pytest.raises(UserError, match=r"initial_weights = .*found no weights"):
        run.train("train.run_name=other", f"train.initial_weights={tmp_path / 'none'}")
    assert not (tmp_path / "cp" / "other").exists()
    (tmp_path / "cp" / "broken").mkdir()
    (tmp_path / "cp" / "broken" / "config.ini").write_text("[what]", encoding="utf-8")
    lines = runs.table(tmp_path / "cp")
    assert "broken" in lines[0] and "unknown section" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["run", "run", "tuned", "wider"]
    assert "train.frozen_layers=w*" in lines[3]
    assert "train.epochs" not in lines[3]  # the same in both
    assert f"{first.progress.best_loss:.5f}" in lines[2]
