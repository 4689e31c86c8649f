"""The training loop: GradientTape steps, validation, checkpoints, TensorBoard.

What a step does depends on (seed, epoch, step) and the weights alone, so a run that was stopped
or killed goes on as if nothing had happened, bit for bit on the same machine.
"""

import csv
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from specmask import (
    audio,
    board,
    cache,
    checkpoint,
    cli,
    dataset,
    losses,
    metrics,
    models,
    parallel,
    spectral,
)
from specmask import config as configuration
from specmask.config import Config
from specmask.errors import UserError
from specmask.models import transform
from specmask.spectral import Stft

METRICS = ("si_sdr", "si_sdr_improvement", "sdr", "snr_improvement", "stoi", "pesq")
# What the weights and the order of the data depend on: a run cannot go on with other values.
FIXED_TRAIN_KEYS = ("batch_size", "seed")
FIXED_DATA_KEYS = ("sample_rate",)
FIXED_STFT_KEYS = ("window_type", "window_length", "hop_size", "n_fft")


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then constant or half a cosine down to 1 % at the last step."""

    def __init__(self, peak: float, warmup: int, total: int, shape: str):
        super().__init__()
        self.peak, self.warmup, self.total, self.shape = peak, warmup, total, shape

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        rise = ops.minimum(1.0, (step + 1) / max(1, self.warmup))
        if self.shape == "constant":
            return self.peak * rise
        span = max(1, self.total - self.warmup)
        done = ops.clip((step - self.warmup) / span, 0.0, 1.0)
        return self.peak * rise * (0.01 + 0.99 * 0.5 * (1 + ops.cos(np.pi * done)))


@dataclass
class Progress:
    """Where a run stands; a part of every checkpoint."""

    epoch: int = 0  # epochs that are finished
    step: int = 0  # steps done in the running epoch
    total_steps: int = 0
    loss_sum: float = 0.0
    skipped: int = 0  # steps left out because their gradient was not finite
    best_loss: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`train` did; ``exit_code`` is 0, 130 (Ctrl-C) or 143 (SIGTERM)."""

    folder: Path
    progress: Progress
    exit_code: int


def train(config: Config, fresh: bool = False) -> Outcome:
    """Train a run to its last epoch, going on from its newest checkpoint.

    Raises:
        UserError: if the caches are missing or stale, or the run was started with another network.
    """
    training, validation = cache.load(config, "training"), cache.load(config, "validation")
    size = config.train.batch_size
    if size > len(training):
        raise UserError(
            f"[train] batch_size = {size} is more than the {len(training)} training files; "
            "lower it or raise [data] total_training_files"
        )
    folder = run_folder(config, fresh)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.train.seed)
    trainer = Trainer(config, folder, training, validation)
    trainer.resume()
    print(
        f"run {folder.name}: {config.model.network}, {trainer.network.model.count_params():,} "
        f"parameters, {len(training)} training and {len(validation)} validation files, "
        f"{trainer.steps} steps an epoch"
    )
    return trainer.run()


def run_folder(config: Config, fresh: bool) -> Path:
    """Return the folder of the run to go on with, or of a new one, with its config.ini in it.

    Raises:
        UserError: if the newest run was started with settings that do not fit.
    """
    root, name = config.train.checkpoint_path, config.train.run_name
    existing = checkpoint.runs(root, name)
    if existing and not fresh:
        _compare(existing[-1], config)
        return existing[-1]
    folder = checkpoint.fresh(root, name)
    with audio.replacing(folder / "config.ini") as temporary:
        temporary.write_text(configuration.render(config), encoding="utf-8")
    return folder


def _compare(folder: Path, config: Config) -> None:
    """Refuse a run of another network; say what else differs and takes effect from here."""
    old = configuration.load(folder / "config.ini")
    keys = [("model", k) for k in type(config.model).model_fields]
    keys += [("data", k) for k in FIXED_DATA_KEYS] + [("stft", k) for k in FIXED_STFT_KEYS]
    keys += [("train", k) for k in FIXED_TRAIN_KEYS]

    def differences(names: list[tuple[str, str]]) -> str:
        pairs = [
            (s, k, getattr(getattr(old, s), k), getattr(getattr(config, s), k)) for s, k in names
        ]
        return ", ".join(
            f"[{configuration.spelling(s)}] {configuration.spelling(k)} was {a}, is {b}"
            for s, k, a, b in pairs
            if a != b
        )

    changed = differences(keys)
    if changed:
        raise UserError(
            f"{folder}: this run was started with other settings ({changed}); "
            "set them back, start a new run beside it with --fresh, or change [train] run_name"
        )
    rest = [("train", k) for k in type(config.train).model_fields if k not in FIXED_TRAIN_KEYS]
    changed = differences([n for n in rest if not n[1].endswith("_path")])
    if changed:
        print(f"note: takes effect from here: {changed}")


class Trainer:
    """A network with its optimizer, its data, and where its training stands."""

    def __init__(
        self, config: Config, folder: Path, training: cache.Cache, validation: cache.Cache
    ):
        self.config, self.folder = config, folder
        self.training, self.validation = training, validation
        self.stft = Stft.from_config(config)
        self.network = models.build(config)
        t = config.train
        self.steps = len(training) // t.batch_size
        schedule = Schedule(t.learning_rate, t.warmup_steps, t.epochs * self.steps, t.schedule)
        self.optimizer = keras.optimizers.Adam(schedule)
        self.optimizer.build(self.network.model.trainable_variables)
        self.progress = Progress()
        self.stop_signal = 0
        self.train_step = tf.function(self._train_step, jit_compile=t.jit_compile)
        self.enhance = tf.function(self.network.enhance)

    # ------------------------------------------------------------ checkpoints

    def groups(self) -> dict[str, list[Any]]:
        """Return every variable that a step depends on, by group."""
        seeds = [
            generator.state
            for layer in self.network.model._flatten_layers()
            for generator in getattr(layer, "_seed_generators", [])
        ]
        return {
            "model": self.network.model.variables,
            "optimizer": self.optimizer.variables,
            "seeds": seeds,
        }

    def save(self) -> None:
        """Write a checkpoint of the present step and remove the oldest ones."""
        path = checkpoint.path_of(self.folder, self.progress.total_steps)
        checkpoint.save(path, self.groups(), vars(self.progress))
        checkpoint.prune(self.folder, self.config.train.keep_checkpoints)

    def resume(self) -> None:
        """Go back to the newest checkpoint that can be read."""
        candidates = checkpoint.newest_first(self.folder)
        for path in candidates:
            try:
                state = checkpoint.load(path, self.groups())
            except UserError as error:
                if path == candidates[-1]:
                    raise
                print(f"warning: {error}; going back to the one before")
                continue
            self.progress = Progress(**state)
            print(
                f"resumed from {path.name}: epoch {self.progress.epoch}, step {self.progress.step}"
            )
            return

    # ------------------------------------------------------------ one step

    def _train_step(self, clean: Any, noise: Any, clean_gain: Any, noise_gain: Any) -> Any:
        """Do one step on float16 [batch, frames, bins, 2] and gains [batch]; return the loss.

        A step whose gradient is not finite changes nothing and returns a loss that is not finite.
        """
        clean = tf.cast(clean, tf.float32) * clean_gain[:, None, None, None]
        noisy = clean + tf.cast(noise, tf.float32) * noise_gain[:, None, None, None]
        loss, gradients = self._gradients(clean, noisy)
        norm = tf.linalg.global_norm(gradients)
        if self.config.train.gradient_clip:
            # one factor for all, as tf.clip_by_global_norm, without holding a second copy of all
            factor = tf.minimum(1.0, self.config.train.gradient_clip / (norm + 1e-12))
            gradients = [g * factor for g in gradients]
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        if finite:
            variables = self.network.model.trainable_variables
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return tf.where(finite, loss, np.nan)

    def _gradients(self, clean: Any, noisy: Any) -> tuple[Any, list[Any]]:
        """Return the mean loss of a batch and its gradients, made from parts of it in turn.

        Only one part's activations are held at a time. All parts are of one size, so the mean
        over the parts is the mean over the batch.
        """
        variables = self.network.model.trainable_variables
        parts = self.config.train.accumulation
        size = self.config.train.batch_size // parts

        def one(clean: Any, noisy: Any) -> list[Any]:
            with tf.GradientTape() as tape:
                enhanced = self.network.enhance(noisy, training=True)
                loss = tf.reduce_mean(self.loss(clean, enhanced)) / parts
            return [loss, *tape.gradient(loss, variables)]

        if parts == 1:
            loss, *gradients = one(clean, noisy)
            return loss, gradients

        def add(part: Any, sums: list[Any]) -> tuple[Any, list[Any]]:
            rows = slice(part * size, (part + 1) * size)
            return part + 1, [
                a + b for a, b in zip(sums, one(clean[rows], noisy[rows]), strict=True)
            ]

        zeros = [tf.zeros(()), *(tf.zeros(v.shape) for v in variables)]
        _, (loss, *gradients) = tf.while_loop(
            lambda part, sums: part < parts, add, (0, zeros), parallel_iterations=1
        )
        return loss, gradients

    def loss(self, clean: Any, enhanced: Any) -> Any:
        """Return the loss of each example: the compressed loss and, if weighted, −SI-SDR."""
        c = self.config
        value = losses.compressed(clean, enhanced, c.model.compression, c.train.complex_weight)
        if c.train.si_sdr_weight:
            samples = round(c.data.file_length * c.data.sample_rate)
            waves = [transform.inverse(s, samples, self.stft) for s in (clean, enhanced)]
            value += c.train.si_sdr_weight * losses.negative_si_sdr(*waves)
        return value

    # ------------------------------------------------------------ data

    def batches(self, epoch: int, start: int) -> Iterator[tuple]:
        """Yield the batches of an epoch from a step on, read ahead by a thread of tf.data."""
        order = dataset.generator(self.config.train.seed, epoch).permutation(len(self.training))
        shape = (None, None, self.config.bins, 2)
        kinds = tf.float16, tf.float16, tf.float32, tf.float32

        def read(step: Any) -> tuple:
            batch = tf.numpy_function(lambda s: self.batch(order, epoch, int(s)), [step], kinds)
            for tensor, static in zip(batch, (shape, shape, (None,), (None,)), strict=True):
                tensor.set_shape(static)
            return tuple(batch)

        steps = tf.data.Dataset.range(start, self.steps)
        return iter(steps.map(read).prefetch(2))

    def batch(self, order: np.ndarray, epoch: int, step: int) -> tuple[np.ndarray, ...]:
        """Return (clean, noise, clean gain, noise gain) of a step: a function of (epoch, step).

        With remix the noise comes from other files, at new SNRs within the configured range.
        Files that are more than a sum, and those of clean speech or of noise alone, keep their
        own noise and only change their level.
        """
        size, index = self.config.train.batch_size, self.training.index
        items = order[step * size : (step + 1) * size]
        others, gains = items, np.ones((2, len(items)), np.float32)
        if self.config.train.remix:
            rng = dataset.generator(self.config.train.seed, epoch, step)
            lendable = np.flatnonzero(index["additive"] & np.isfinite(index["noise_level_db"]))
            kept = ~(index["additive"] & np.isfinite(index["snr_db"]))[items]
            if len(lendable):
                others = np.where(kept, items, rng.choice(lendable, len(items)))
            else:
                kept[:] = True
            snr = rng.uniform(self.config.data.snr_lower, self.config.data.snr_upper, len(items))
            limit = self.config.train.remix_gain_db
            gain_db = rng.uniform(-limit, limit, len(items))
            with np.errstate(invalid="ignore"):  # of kept items, levels may be infinite
                level = index["clean_level_db"][items] - index["noise_level_db"][others]
                change = np.where(kept, 0, level - snr)
            gains = 10 ** (np.stack([gain_db, gain_db + change]) / 20)
        clean = self.training.gather("clean", items)
        noise = self.training.gather("noise", others)
        return clean, noise, *gains.astype(np.float32)

    # ------------------------------------------------------------ epochs

    def run(self) -> Outcome:
        """Train to the last epoch or to a signal, saving first in either case."""
        p, epochs = self.progress, self.config.train.epochs
        writer = board.open_writer(self.config.train.log_path / self.folder.name, p.epoch)
        self._write_history()
        with _signals(self):
            while p.epoch < epochs and not self.stop_signal:
                self._epoch(writer)
        if self.stop_signal:
            self.save()
            code = 128 + self.stop_signal
            print(f"stopped and saved at epoch {p.epoch}, step {p.step}; run again to go on")
            return Outcome(self.folder, p, code)
        return Outcome(self.folder, p, cli.EXIT_OK)

    def _epoch(self, writer: Any) -> None:
        p, started = self.progress, time.monotonic()
        saved = started
        for batch in self.batches(p.epoch, p.step):
            loss = float(self.train_step(*batch))
            if np.isfinite(loss):
                p.loss_sum += loss
            else:
                p.skipped += 1
                print(f"warning: step {p.total_steps} skipped: its gradient is not finite")
            p.step, p.total_steps = p.step + 1, p.total_steps + 1
            now = time.monotonic()
            self._show(loss, now - started)
            if self.stop_signal:
                p.seconds += now - started
                return
            if now - saved > 60 * self.config.train.checkpoint_minutes and p.step < self.steps:
                p.seconds, started, saved = p.seconds + now - started, now, now
                self.save()
        row = {
            "epoch": p.epoch + 1,
            "step": p.total_steps,
            "learning_rate": float(self.optimizer.learning_rate),
            "training_loss": p.loss_sum / max(1, self.steps - p.skipped),
            **self.validate(),
        }
        p.seconds += time.monotonic() - started
        p.epoch, p.step, p.loss_sum, p.skipped = p.epoch + 1, 0, 0.0, 0
        p.history.append(row)
        board.write_scalars(writer, {k: v for k, v in row.items() if k != "epoch"}, p.epoch)
        if row["validation_loss"] < p.best_loss:
            p.best_loss, p.best_epoch = row["validation_loss"], p.epoch
            state = {"epoch": p.epoch, "validation_loss": p.best_loss}
            best = {"model": self.network.model.variables}
            checkpoint.save(self.folder / "best.npz", best, state)
        self.save()
        self._write_history()
        self._report(row)

    def validate(self) -> dict[str, float]:
        """Return the validation loss over all files and the metrics over the first ones."""
        size, count = self.config.train.batch_size, len(self.validation)
        scored = min(self.config.train.metric_files, count)
        total, jobs = 0.0, []
        for start in range(0, count, size):
            items = np.arange(start, min(start + size, count))
            clean = tf.cast(self.validation.gather("clean", items), tf.float32)
            noisy = clean + tf.cast(self.validation.gather("noise", items), tf.float32)
            enhanced = self.enhance(noisy)
            total += float(tf.reduce_sum(self.loss(clean, enhanced)))
            if start < scored:
                spectra = [cache.to_complex(s.numpy()) for s in (clean, noisy, enhanced)]
                for k, item in enumerate(items[: scored - start]):
                    samples = int(self.validation.index["samples"][item])
                    waves = [spectral.inverse(s[k], samples, self.stft) for s in spectra]
                    jobs.append((*waves, self.config.data.sample_rate, METRICS))
        results = list(
            parallel.map_chunks(
                metrics.score_values, jobs, self.config.compute.workers, "score", chunk=5
            )
        )
        means = {m: _mean([r[m] for r in results]) for m in METRICS}
        return {"validation_loss": total / count, **means}

    def _write_history(self) -> None:
        rows = self.progress.history
        if not rows:
            return
        path = self.folder / "history.csv"
        with audio.replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _show(self, loss: float, seconds: float) -> None:
        p = self.progress
        if not os.isatty(1):
            return
        left = seconds / max(1, p.step) * (self.steps - p.step)
        print(
            f"\repoch {p.epoch + 1}/{self.config.train.epochs} step {p.step}/{self.steps} "
            f"loss {loss:.5f} ETA {left:.0f} s ",
            end="",
            flush=True,
        )

    def _report(self, row: dict[str, float]) -> None:
        p = self.progress
        mark = " *" if p.best_epoch == p.epoch else ""
        print(
            f"{chr(13) if os.isatty(1) else ''}"
            f"epoch {p.epoch}/{self.config.train.epochs}  loss {row['training_loss']:.5f}  "
            f"validation {row['validation_loss']:.5f}{mark}  SI-SDR {row['si_sdr']:.2f} dB "
            f"({row['si_sdr_improvement']:+.2f})  SDR {row['sdr']:.2f}  SNRi "
            f"{row['snr_improvement']:.2f}  STOI {row['stoi']:.3f}  PESQ {row['pesq']:.2f}  "
            f"{p.seconds / 60:.1f} min",
            flush=True,
        )


def _mean(values: list[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


class _signals:
    """While open, Ctrl-C and SIGTERM only ask a trainer to stop after its step."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def __enter__(self) -> None:
        self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, number: int, frame: Any) -> None:
        self.trainer.stop_signal = number

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
