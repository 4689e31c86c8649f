"""Training on several devices or machines by tf.distribute.

``mirrored`` takes all GPUs of this machine (without one, its logical CPUs). ``multi_worker`` takes
the machines that the environment variable TF_CONFIG lists; each runs the same command on the
same data set, and they share the folder of the checkpoints.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from specmask.config.schema import Config
from specmask.errors import UserError

# What TensorFlow raises in a worker whose peer has gone.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Team:
    """The devices that train together, and this process's place among them."""

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    @property
    def chief(self) -> bool:
        """Tell whether this process writes checkpoints, logs and messages."""
        return self.worker == 0

    @property
    def replicas(self) -> int:
        """Number of devices over all workers."""
        return self.strategy.num_replicas_in_sync

    def agreed(self, value: float) -> float:
        """Return the chief's value on every worker; all have to call it."""
        if self.workers == 1:
            return value
        mine = tf.constant(float(value) if self.chief else 0.0, tf.float64)
        total = _sum(self.strategy, mine)
        return float(total) / len(self.strategy.extended.worker_devices)


def form(config: Config) -> Team:
    """Return the team of ``[train] strategy``; nothing may have been computed before.

    Raises:
        UserError: if TF_CONFIG is missing or wrong, or the batch cannot be shared.
    """
    name = config.train.strategy
    if name == "multi_worker":
        worker, workers = _place()
        team = Team(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)
    elif name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        team = Team(tf.distribute.MirroredStrategy([d.name for d in devices]))
    else:
        team = Team(tf.distribute.get_strategy())
    pieces = team.replicas * config.train.accumulation
    if config.train.batch_size % pieces:
        raise UserError(
            f"[train] batch_size = {config.train.batch_size} cannot be shared by {team.replicas} "
            f"replicas times accumulation = {config.train.accumulation}; make it a multiple of "
            f"{pieces}"
        )
    return team


def _place() -> tuple[int, int]:
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text)
        workers = found["cluster"]["worker"]
        index = int(found["task"]["index"])
        if found["task"]["type"] != "worker" or not 0 <= index < len(workers):
            raise ValueError("task is not one of the workers")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"[train] strategy = multi_worker: the environment variable TF_CONFIG is "
            f"{text or 'not set'} ({error}); expected "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    return index, len(workers)


@tf.function
def _sum(strategy: tf.distribute.Strategy, value: Any) -> Any:
    def reduced(value: Any) -> Any:
        context = tf.distribute.get_replica_context()
        # The identity lies on the replica's device, which all_reduce has to know.
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    return strategy.experimental_local_results(strategy.run(reduced, args=(value,)))[0]
