"""The training loop: steps, validation, checkpoints, TensorBoard.

A step depends on (seed, epoch, step) and the weights alone, so a run that was stopped or killed
resumes as if it had never stopped, bit for bit, on any number of cores.
"""

import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from specmask import models
from specmask.config.initial import with_initial_network
from specmask.config.schema import Config
from specmask.config.types import OTHER_DATA
from specmask.data import stft_cache
from specmask.data.mixtures import manifest
from specmask.errors import UserError
from specmask.files import held
from specmask.models import complexity
from specmask.progress import LINE_SECONDS
from specmask.training import advice, checkpoint, distributed, memory, optim, runs, state
from specmask.training.batches import Batches, save_batch
from specmask.training.clock import Clock
from specmask.training.distributed import Cluster
from specmask.training.interrupts import stop_requests
from specmask.training.state import Progress
from specmask.training.step import StepResult, TrainingStep
from specmask.training.tensorboard import Board, Profiler, check_logs
from specmask.training.validation import Validation
from specmask.training.validation_metrics import PendingScores

BAD_BATCH = "bad_batch.npz"


@dataclass(frozen=True)
class Outcome:
    """The end of a call of :func:`train`.

    Attributes:
        folder: of the run.
        progress: of the run.
        exit_code: 0, 130 (Ctrl-C) or 143 (SIGTERM).
    """

    folder: Path
    progress: Progress
    exit_code: int


def train(config: Config, fresh: bool = False, profile: bool = False) -> Outcome:
    """Train a run to its last epoch, from its newest checkpoint where there is one.

    Args:
        config: the configuration.
        fresh: start a new run beside the others.
        profile: write a trace of a few steps to the logs.

    Raises:
        UserError: if the caches are missing or stale, the run was started with another network,
            another process is training it, or a new run would get the logs of another.
    """
    existing = runs.run_folders(config.train.checkpoint_path, config.train.run_name)
    resumed = existing[-1] if existing and not fresh else None
    config, network_changes = with_initial_network(config, resumed)
    training = stft_cache.load(config, "training")
    validation = (
        stft_cache.load(config, "validation") if config.data.total_validation_files else None
    )
    config = runs.keep_defaults(config, resumed)
    distributed.limit_threads(config.train)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    cluster = distributed.cluster(config)
    batches = Batches(config, training, cluster.worker, cluster.workers)
    folder, changes = runs.choose(config, fresh, cluster.broadcast)
    # A second training would remove the checkpoint that the first is writing.
    with held(folder) if cluster.chief else contextlib.nullcontext():
        if cluster.chief and changes is None:
            check_logs(config.train.log_path / folder.name)
        keras.utils.set_random_seed(config.train.seed)
        trainer = Trainer(config, folder, batches, validation, cluster)
        needed = memory.estimate(config, trainer.step, batches)
        memory.check(config, needed, trainer.step.parts, memory.machine_bytes())
        trainer.start(changes)
        if network_changes:
            changed = ", ".join(network_changes)
            trainer.say(f"note: options of the initial weights: {changed}")
        network = complexity.description(trainer.network.model, config)
        size = f", about {needed / 1e9:.1f} GB of memory" if needed else ""
        trainer.say(f"run {folder.name}: {network}{size}")
        trainer.say(
            f"{len(training)} training and "
            f"{len(validation or ())} validation files, {batches.steps} steps per epoch"
        )
        for split, cache in (("training", training), ("validation", validation)):
            if cache and (note := manifest.count_note(config, split, len(cache))):
                trainer.say(f"warning: {note}, then stft.py its spectra")
        if note := advice.long_warmup(config.train, batches.steps):
            trainer.say(note)
        if validation is None:
            trainer.say(
                "note: no validation files: the lowest training loss chooses the best weights"
            )
        return trainer.run(profile)


class Trainer:
    """A network with its optimizer, its data and its progress.

    Args:
        config: the configuration.
        folder: of the run.
        batches: of the training files.
        files: the cache of the validation files, or None.
        cluster: the devices that train together; by default this one.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        batches: Batches,
        files: stft_cache.Cache | None,
        cluster: Cluster | None = None,
    ):
        self.config, self.folder, self.batches = config, folder, batches
        self.cluster = cluster or Cluster(tf.distribute.get_strategy())
        with self.cluster.strategy.scope():
            with optim.precision(config.train.precision):
                self.network = models.build(config)
            optim.freeze(self.network.model, config.train.frozen_layers)
            optimizer = optim.make(config.train, self.network.model.trainable_variables)
            self.step = TrainingStep(config, self.network, optimizer, self.cluster.strategy)
        self.validation = (
            Validation(config, self.network, files, self.step.parts) if files else None
        )
        self.data = batches.training.digest + (files.digest if files else "")
        self.progress = Progress()
        self.scores: PendingScores | None = None  # of the last epoch
        self.board: Board | None = None
        self.stop_signal = 0  # signal number of a request to stop
        self.stopped = False  # the loop has ended because of it
        self.last_line = time.monotonic()  # of the progress where there is no terminal

    def say(self, text: str) -> None:
        """Print a line, on one worker only."""
        if self.cluster.chief:
            print(("\r" if os.isatty(1) else "") + text, flush=True)

    # ------------------------------------------------------------ start or resume

    def start(self, changes: list[runs.Change] | None) -> None:
        """Start a new run (changes is None), or resume from the newest readable checkpoint."""
        if self.cluster.chief:
            runs.remove_temporary_files(self.folder)
        if changes is None or not self._resume():
            self._initialise()
        for change in changes or ():
            self.say(f"note: {change.text}")
        p, cores = self.progress, os.cpu_count() or 0
        other_data = p.data not in ("", self.data)
        if other_data:
            self.say(f"note: another data set than before: {OTHER_DATA.text}")
        effects = [c.effect for c in changes or ()] + [OTHER_DATA] * other_data
        if any(effect.restarts_epoch for effect in effects):
            p.step, p.loss_sum, p.skipped = 0, 0.0, 0
        if any(effect.rescores for effect in effects):
            p.best_loss = float("inf")
        p.data = self.data
        if p.cores not in (0, cores) and self.step.parts == 1:
            self.say(f"note: {cores} cores here, {p.cores} before: results may differ by rounding")
        p.cores = cores
        if changes or other_data:
            self.save()
        if self.cluster.chief and (changes is None or changes):
            runs.write_config(self.folder / "config.ini", self.config)

    def _initialise(self) -> None:
        """Load the initial weights, if there are any."""
        path = self.config.train.initial_weights
        if path != Path():
            file = runs.load_initial_weights(path, self.network.variables)
            self.say(f"initial weights from {file}")
        if self.step.average:
            self.step.average.restart()

    def _resume(self) -> bool:
        """Load the newest readable checkpoint; return whether there is one."""
        candidates = runs.newest_first(self.folder)
        for path in candidates:
            try:
                p = self.progress = state.load(path, self.step.groups())
            except UserError as error:
                if path == candidates[-1]:
                    raise
                self.say(f"warning: {error}; resuming from the one before")
                continue
            if self.cluster.broadcast(p.total_steps) != p.total_steps:
                raise UserError(
                    f"{self.folder}: the workers see different checkpoints; [train] "
                    "checkpoint_path has to be a folder that all of them share"
                )
            self.say(f"resumed from {path.name}: epoch {p.epoch}, step {p.step}")
            return True
        return False

    # ------------------------------------------------------------ the loop

    def run(self, profile: bool = False) -> Outcome:
        """Train to the last epoch, to an early stop or to a signal; save in any case.

        Raises:
            UserError: if too many steps in a row have no finite gradient, or a worker was lost.
        """
        p, logs = self.progress, self.config.train.log_path / self.folder.name
        if self.cluster.chief:
            validated = int(p.history[-1]["step"]) if p.history else 0
            self.board = Board(logs, p.total_steps, validated)
            self.board.describe(self.config)
            state.write_history(self.folder / "history.csv", p.history)
        if p.pending and self.validation:
            # Its scores were lost when the run was killed; the weights are the same.
            self._validate(self.validation)
        if p.finished(self.config.train):
            self.say(advice.finished(self.config.train, p))
        profiler = Profiler(logs if profile and self.cluster.chief else None)
        try:
            with stop_requests(self._request_stop):
                while not p.finished(self.config.train) and not self.stopped:
                    self._epoch(profiler)
        except distributed.LOST:
            if self.cluster.workers == 1:
                raise
            raise UserError(
                "[train] strategy = multi_worker: another worker was lost; start all of them "
                "again, they resume from the last checkpoint"
            ) from None
        finally:
            profiler.stop()
        if p.pending or self.stopped:
            self._finish_row()
            self.save()
        if self.stopped:
            self.say(f"stopped and saved at epoch {p.epoch}, step {p.step}; run again to resume")
            return Outcome(self.folder, p, 128 + (self.stop_signal or signal.SIGTERM))
        if p.stopped_early(self.config.train):
            self.say(f"stopped early: no better loss in the last {p.stale} epochs")
        if warning := advice.weak(advice.improvement_db(p)):
            self.say(warning)
        return Outcome(self.folder, p, exit_code=0)

    def _request_stop(self, number: int) -> None:
        self.stop_signal = number

    def _epoch(self, profiler: Profiler) -> None:
        p, train, steps = self.progress, self.config.train, self.batches.steps
        clock = Clock(steps * train.epochs - p.total_steps)
        saved = time.monotonic()
        batches = self.batches.epoch(p.epoch, p.step)
        while p.step < steps and not self.stopped:
            with clock.waiting():
                batch = next(batches)
            profiler.step()
            rate = self._rate(p.total_steps)
            result = self.step(batch, rate, stop=bool(self.stop_signal))
            p.step, p.total_steps = p.step + 1, p.total_steps + 1
            self._record(result, batch)
            clock.tick(train.batch_size)
            self._show(result, rate, clock)
            if self.scores and self.scores.ready():
                self._finish_row()
            # Several workers stop after the same step: the first in which all know of it.
            self.stopped = result.stop or (self.cluster.workers == 1 and bool(self.stop_signal))
            if time.monotonic() - saved > 60 * train.checkpoint_minutes and p.step < steps:
                self._finish_row()
                p.seconds += clock.lap()
                self.save()
                saved = time.monotonic()
        if p.step == steps:
            self._end_epoch(clock)
        else:
            p.seconds += clock.lap()

    def _rate(self, step: int) -> float:
        train = self.config.train
        total = train.epochs * self.batches.steps
        return optim.learning_rate(train, step, total, self.progress.reductions)

    def _record(self, result: StepResult, batch: tuple) -> None:
        """Count a step; stop the run after too many without a finite gradient."""
        p = self.progress
        if result.finite:
            p.loss_sum, p.skipped_in_a_row = p.loss_sum + result.loss, 0
            return
        p.skipped, p.skipped_in_a_row = p.skipped + 1, p.skipped_in_a_row + 1
        self.say(f"warning: step {p.total_steps} skipped: its gradient is not finite")
        if p.skipped_in_a_row >= self.config.train.max_skipped:
            self._give_up(batch)

    def _give_up(self, batch: tuple) -> None:
        """Save the batch and raise the error about gradients that are not finite."""
        p, path = self.progress, self.folder / BAD_BATCH
        files = self.batches.items(self.batches.order(p.epoch), p.step - 1)
        if self.cluster.chief:
            save_batch(path, batch, files, p.total_steps)
        cached = self.config.stft.cache("training")
        hint = (
            "the batch itself is finite: lower [train] learning_rate"
            if all(np.isfinite(a).all() for a in batch)
            else "the batch contains NaN or infinite values: remove the STFT cache "
            f"{cached} and make it again with python stft.py"
        )
        raise UserError(
            f"{p.skipped_in_a_row} steps in a row had no finite gradient, the last was step "
            f"{p.total_steps}; {hint}; the batch was saved to {path}"
        )

    def _show(self, result: StepResult, rate: float, clock: Clock) -> None:
        """Write a step to TensorBoard and the terminal."""
        p, train = self.progress, self.config.train
        if not self.board:
            return
        line = state.step_line(p, train.epochs, self.batches.steps, result.loss, clock)
        if os.isatty(1):
            print(line, end="", flush=True)
        elif time.monotonic() - self.last_line >= LINE_SECONDS:
            self.last_line = time.monotonic()
            print(f"training: {line.strip()}", flush=True)
        if p.total_steps % train.log_steps == 0:
            self.board.training(result.scalars(rate, clock), p.total_steps)
            clock.reset()

    # ------------------------------------------------------------ the end of an epoch

    def _end_epoch(self, clock: Clock) -> None:
        p = self.progress
        self._finish_row()
        done = self.batches.steps - p.skipped
        loss = p.loss_sum / done if done else math.nan
        row: state.Row = {
            "epoch": p.epoch + 1,
            "step": p.total_steps,
            "learning_rate": self._rate(p.total_steps - 1),
            "training_loss": loss,
            "skipped": p.skipped,
        }
        if self.validation:
            loss, terms = self._validate(self.validation)
            row["validation_loss"] = loss = self.cluster.broadcast(loss)  # all have to agree
            if len(terms) > 1:
                row |= {f"validation_{name}": value for name, value in terms.items()}
        p.seconds += clock.lap()
        p.epoch, p.step, p.loss_sum, p.skipped, p.pending = p.epoch + 1, 0, 0.0, 0, row
        if p.record_loss(loss, self.config.train) and self.cluster.chief:
            with self._averaged_weights():
                checkpoint.save(
                    self.folder / "best.npz",
                    {"model": self.network.variables},
                    {"epoch": p.epoch, "loss": loss},
                )
        if self.scores is None or p.finished(self.config.train):
            self._finish_row()
        self.save()

    def _validate(self, validation: Validation) -> tuple[float, dict[str, float]]:
        """Return the validation loss and its terms, and start computing the scores."""
        with self._averaged_weights():
            loss, terms, self.scores = validation.run(score=self.cluster.chief)
        return loss, terms

    def _averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        return self.step.average.applied() if self.step.average else contextlib.nullcontext()

    def _finish_row(self) -> None:
        """Wait for the scores of the last epoch, if any are pending, and write its row."""
        p = self.progress
        if not p.pending:
            return
        means, by_snr, previews = self.scores.collect() if self.scores else ({}, {}, [])
        row = p.pending | means
        p.pending, self.scores = None, None
        p.history.append(row)
        if self.board:
            self.board.validation(row, by_snr, previews)
            state.write_history(self.folder / "history.csv", p.history)
            self.say(state.epoch_line(row, p, self.config.train.epochs))

    def save(self) -> None:
        """Write a checkpoint of the current step and remove the oldest ones."""
        if not self.cluster.chief:
            return
        if self.board:
            self.board.flush()
        path = runs.checkpoint_path(self.folder, self.progress.total_steps)
        checkpoint.save(path, self.step.groups(), vars(self.progress))
        runs.prune(self.folder, self.config.train.keep_checkpoints)
