"""One training step, compiled: forward, backward, update, on one device or on several.

With several replicas each computes the gradient of its rows, divided by the size of the global
batch; ``apply_gradients`` adds them up, so the update is that of one device with the whole batch.

On one device the batch is cut into ``[train] parts``, computed side by side with one thread per
operation. Threads that share an operation add in an order that changes from call to call; here
every operation has one thread, and the parts are added in a fixed order: the same bits on any
number of cores.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from specmask.config.schema import Config
from specmask.models import Network
from specmask.training import checkpoint, distributed
from specmask.training.batches import mixture
from specmask.training.clock import Clock
from specmask.training.losses import Objective
from specmask.training.optim import Average, LossScale


@dataclass(frozen=True)
class StepResult:
    """Figures of a step over the global batch.

    Attributes:
        loss: weighted sum of the terms.
        terms: mean of every loss term, by name.
        gradient_norm: before clipping.
        finite: whether loss and gradient were finite; otherwise the weights are as before.
        stop: whether some worker was asked to stop.
    """

    loss: float
    terms: dict[str, float]
    gradient_norm: float
    finite: bool
    stop: bool

    def scalars(self, rate: float, clock: Clock) -> dict[str, float]:
        """Return TensorBoard's scalars of the step, with its learning rate and the speed."""
        terms = self.terms if len(self.terms) > 1 else {}
        return {
            "loss": self.loss,
            **{f"loss_parts/{name}": value for name, value in terms.items()},
            "learning_rate": rate,
            "gradient_norm": self.gradient_norm,
            "speed/examples_a_second": clock.examples_per_second,
            "speed/waiting_share": clock.waiting_share,
        }


class TrainingStep:
    """Training steps of a network, and the variables that they change besides the weights."""

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
        trained = {name: v for name, v in network.variables.items() if v.trainable}
        self.variables = list(trained.values())
        self.average = Average(config.train.ema, trained) if config.train.ema else None
        self.scale = LossScale(config.train.precision)
        self.parts = distributed.parts(config.train)
        # Without AutoGraph, whose rewriting of the source takes almost half of the tracing.
        traced = {"autograph": False, "reduce_retracing": True}
        xla = {"jit_compile": config.train.jit_compile, **traced}
        if self.parts == 1:
            self._compiled = tf.function(self._step, **xla)
            self._update = self._apply
        else:
            # Functions of their own: XLA would run the parts of one function in turn, and inlined
            # ones are added by AddN, which begins with any input whose buffer is free.
            self._part = tf.function(
                self._accumulated, experimental_attributes={"_noinline": True}, **xla
            )
            self._update = tf.function(self._apply, **xla)
            self._compiled = tf.function(self._step, **traced)

    def __call__(self, batch: tuple, rate: float, stop: bool = False) -> StepResult:
        """Do a step on this worker's rows of a batch.

        A step whose gradient is not finite changes nothing but the loss scale.

        Args:
            batch: clean, noise, gains of clean, gains of noise; see
                :class:`specmask.training.batches.Batches`.
            rate: the learning rate.
            stop: whether this worker was asked to stop.
        """
        self.optimizer.learning_rate.assign(rate)
        *terms, loss, norm, finite, stops = self._compiled(
            self._per_replica(batch), tf.constant(float(stop))
        ).numpy()
        names = self.objective.names
        return StepResult(
            float(loss),
            {name: float(v) for name, v in zip(names, terms, strict=True)},
            float(norm),
            bool(finite),
            bool(stops),
        )

    def graph(self, batch: tuple) -> Any:
        """Return the traced graph for batches of these shapes, which their first step uses."""
        return self._compiled.get_concrete_function(batch, tf.TensorSpec((), tf.float32)).graph

    def groups(self) -> checkpoint.Groups:
        """Return every variable that a step depends on, by group and name."""
        return {
            "model": self.network.variables,
            "optimizer": {v.path: v for v in self.optimizer.variables},
            "average": self.average.means if self.average else {},
            "scale": self.scale.variables,
        }

    def _per_replica(self, batch: tuple) -> tuple:
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
        """Return [terms..., loss, norm, finite, stops] of the step, float32."""
        figures, gradients = self.strategy.run(self._gradients, args=(*batch, stop))
        figures = self.strategy.experimental_local_results(figures)[0]  # equal on every replica
        finite = figures[-2] > 0

        def update() -> None:
            self.strategy.run(self._update, args=(gradients, figures[-3]))
            if self.average is not None:
                self.average.update(self.optimizer.iterations)

        tf.cond(finite, update, lambda: None)
        self.scale.update(finite)
        return figures

    def _gradients(self, clean: Any, noise: Any, clean_gain: Any, noise_gain: Any, stop: Any):
        """Return the figures of the global batch and this replica's share of the gradient."""
        clean, noise = mixture(clean, noise, clean_gain, noise_gain)
        terms, *gradients = self._parts(clean, noise)
        gradients = [g / self.scale.scale for g in gradients] if self.scale.used else gradients
        whole = gradients
        if self.replicas > 1:
            context = tf.distribute.get_replica_context()
            # Only for the norm: apply_gradients adds the replicas' gradients up itself.
            whole, terms, stop = context.all_reduce(
                tf.distribute.ReduceOp.SUM, [gradients, terms, tf.identity(stop)]
            )
        norm = tf.linalg.global_norm(whole)
        loss = self.objective.total(terms)
        finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)
        last = [loss, norm, tf.cast(finite, tf.float32), stop]
        return tf.concat([terms, tf.stack(last)], axis=0), gradients

    def _parts(self, clean: Any, noise: Any) -> list[Any]:
        """Return loss terms and gradients of a replica's rows, cut into parts side by side."""
        if self.parts == 1:
            return self._accumulated(clean, noise)
        size = self.config.train.batch_size // self.replicas // self.parts
        parts = [
            self._part(clean[k * size : (k + 1) * size], noise[k * size : (k + 1) * size])
            for k in range(self.parts)
        ]
        return [sum(values[1:], values[0]) for values in zip(*parts, strict=True)]

    def _accumulated(self, clean: Any, noise: Any) -> list[Any]:
        """Return loss terms and gradients of rows, computed in ``accumulation`` pieces in turn.

        Only one piece's activations are held at a time. Each row counts 1 / global batch, so the
        sums are means over the batch.
        """
        train = self.config.train
        pieces = train.accumulation
        if pieces == 1:
            return self._backward(clean, noise)
        size = train.batch_size // self.replicas // self.parts // pieces

        def add(piece: Any, sums: list[Any]) -> tuple[Any, list[Any]]:
            rows = slice(piece * size, (piece + 1) * size)
            known = size, *clean.shape[1:]  # TensorFlow forgets how many rows there are
            values = self._backward(*(tf.ensure_shape(x[rows], known) for x in (clean, noise)))
            return piece + 1, [a + b for a, b in zip(sums, values, strict=True)]

        zeros = [tf.zeros(len(self.objective.names)), *(tf.zeros(v.shape) for v in self.variables)]
        _, sums = tf.while_loop(
            lambda piece, sums: piece < pieces, add, (0, zeros), parallel_iterations=1
        )
        return sums

    def _backward(self, clean: Any, noise: Any) -> list[Any]:
        """Return loss terms [terms] and gradients of rows computed at once."""
        with tf.GradientTape() as tape:
            enhanced, mask = self.network.estimate(clean + noise, training=True)
            terms = self.objective.terms(clean, noise, mask, enhanced)
            terms = tf.reduce_sum(terms, axis=1) / self.config.train.batch_size
            loss = self.objective.total(terms) * self.scale.scale
        return [terms, *tape.gradient(loss, [v.value for v in self.variables])]

    def _apply(self, gradients: list[Any], norm: Any) -> None:
        clip = self.config.train.gradient_clip
        if clip:
            # Not the optimizer's global_clipnorm: that clips each replica's share before the sum.
            # One factor for all gradients, without a second copy of them.
            factor = tf.minimum(1.0, clip / (norm + 1e-12))
            gradients = [g * factor for g in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
