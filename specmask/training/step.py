"""One training step, compiled: forward, backward, update, on one device or on several.

With several replicas each computes the gradient of its rows, divided by the size of the global
batch; ``apply_gradients`` adds them up, so the update is that of one device with the whole batch.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from specmask.config.schema import Config
from specmask.models import Network
from specmask.training.batches import mixture
from specmask.training.losses import Estimate, Objective
from specmask.training.optim import Average, LossScale
from specmask.training.state import Clock


@dataclass(frozen=True)
class Result:
    """What a step did: mean loss and parts of the global batch, the gradient's norm, a request.

    ``stop`` is above 0 when a worker was asked to stop.
    """

    loss: float
    parts: dict[str, float]
    gradient_norm: float
    finite: bool
    stop: bool

    def scalars(self, rate: float, clock: Clock) -> dict[str, float]:
        """Return what TensorBoard shows of a step, with its learning rate and the speed."""
        parts = self.parts if len(self.parts) > 1 else {}
        return {
            "loss": self.loss,
            **{f"loss_parts/{name}": value for name, value in parts.items()},
            "learning_rate": rate,
            "gradient_norm": self.gradient_norm,
            "speed/examples_a_second": clock.examples_a_second,
            "speed/waiting_share": clock.waiting_share,
        }


class Step:
    """Does training steps on a network; holds what they change besides the weights."""

    def __init__(
        self,
        config: Config,
        network: Network,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
    ):
        self.config, self.network, self.optimizer = config, network, optimizer
        self.strategy, self.replicas = strategy, strategy.num_replicas_in_sync
        self.objective = Objective(config)
        self.variables = network.model.trainable_variables
        self.average = Average(config.train.ema, self.variables) if config.train.ema else None
        self.scale = LossScale(config.train.precision)
        self._compiled = tf.function(
            self._step, jit_compile=config.train.jit_compile, reduce_retracing=True
        )

    def __call__(self, batch: tuple, rate: float, stop: bool = False) -> Result:
        """Do a step on this worker's rows of a batch.

        See :class:`specmask.training.batches.Batches`.

        A step whose gradient is not finite changes nothing but the loss scale.

        Args:
            batch: clean, noise, gains of clean, gains of noise.
            rate: the learning rate.
            stop: whether this worker was asked to stop.
        """
        self.optimizer.learning_rate.assign(rate)
        *parts, loss, norm, finite, stops = self._compiled(
            self._shared(batch), tf.constant(float(stop))
        ).numpy()
        names = self.objective.names
        return Result(
            float(loss),
            {name: float(v) for name, v in zip(names, parts, strict=True)},
            float(norm),
            bool(finite),
            bool(stops),
        )

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
            "average": self.average.means if self.average else [],
            "seeds": seeds,
            "scale": self.scale.variables,
        }

    def _shared(self, batch: tuple) -> tuple:
        """Give every local replica its rows."""
        if self.replicas == 1:
            return batch
        local = len(self.strategy.extended.worker_devices)
        rows = len(batch[0]) // local

        def of_replica(context: Any, array: Any) -> Any:
            first = (context.replica_id_in_sync_group % local) * rows
            return array[first : first + rows]

        return tuple(
            self.strategy.experimental_distribute_values_from_function(
                lambda context, array=array: of_replica(context, array)
            )
            for array in batch
        )

    def _step(self, batch: tuple, stop: Any) -> Any:
        """Return [parts..., loss, norm, finite, stops] of the step, float32."""
        values, gradients = self.strategy.run(self._gradients, args=(*batch, stop))
        values = self.strategy.experimental_local_results(values)[0]  # the same on every replica
        finite = values[-2] > 0
        if finite:
            self.strategy.run(self._apply, args=(gradients, values[-3]))
            if self.average is not None:
                self.average.update(self.optimizer.iterations)
        self.scale.update(finite)
        return values

    def _gradients(self, clean: Any, noise: Any, clean_gain: Any, noise_gain: Any, stop: Any):
        """Return the figures of the global batch and this replica's share of the gradient."""
        clean, noise = mixture(clean, noise, clean_gain, noise_gain)
        sums, gradients = self._parts(clean, noise)
        gradients = [g / self.scale.scale for g in gradients] if self.scale.used else gradients
        whole = gradients
        if self.replicas > 1:
            context = tf.distribute.get_replica_context()
            # Only for the norm: apply_gradients adds the replicas' gradients up itself.
            whole, sums, stop = context.all_reduce(
                tf.distribute.ReduceOp.SUM, [gradients, sums, tf.identity(stop)]
            )
        norm = tf.linalg.global_norm(whole)
        loss = self.objective.total(sums)
        finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)
        last = [loss, norm, tf.cast(finite, tf.float32), stop]
        return tf.concat([sums, tf.stack(last)], axis=0), gradients

    def _parts(self, clean: Any, noise: Any) -> tuple[Any, list[Any]]:
        """Return the parts of the loss and the gradient, made from pieces of the rows in turn.

        Only one piece's activations are held at a time. Each row counts 1 / global batch, so the
        sums are means over the batch.
        """
        train = self.config.train
        pieces = train.accumulation
        size = train.batch_size // self.replicas // pieces

        def one(clean: Any, noise: Any) -> list[Any]:
            with tf.GradientTape() as tape:
                noisy = clean + noise
                enhanced, mask = self.network.estimate(noisy, training=True)
                estimate = Estimate(clean, noise, noisy, mask, enhanced, self.objective.stft)
                parts = tf.reduce_sum(self.objective.parts(estimate), axis=1) / train.batch_size
                loss = self.objective.total(parts) * self.scale.scale
            return [parts, *tape.gradient(loss, [v.value for v in self.variables])]

        if pieces == 1:
            parts, *gradients = one(clean, noise)
            return parts, gradients

        def add(piece: Any, sums: list[Any]) -> tuple[Any, list[Any]]:
            rows = slice(piece * size, (piece + 1) * size)
            values = one(clean[rows], noise[rows])
            return piece + 1, [a + b for a, b in zip(sums, values, strict=True)]

        zeros = [tf.zeros(len(self.objective.names)), *(tf.zeros(v.shape) for v in self.variables)]
        _, (parts, *gradients) = tf.while_loop(
            lambda piece, sums: piece < pieces, add, (0, zeros), parallel_iterations=1
        )
        return parts, gradients

    def _apply(self, gradients: list[Any], norm: Any) -> None:
        clip = self.config.train.gradient_clip
        if clip:
            # one factor for all, as tf.clip_by_global_norm, without a second copy of all
            factor = tf.minimum(1.0, clip / (norm + 1e-12))
            gradients = [g * factor for g in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
