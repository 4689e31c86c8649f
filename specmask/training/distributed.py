"""Training on several devices or machines by tf.distribute.

``mirrored`` takes all GPUs of this machine (without one, its logical CPUs). ``multi_worker`` takes
the machines that the environment variable TF_CONFIG lists; each runs the same command on the
same data set, and they share the folder of the checkpoints.
"""

import os
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from specmask.config.schema import Config
from specmask.config.training import Train
from specmask.errors import UserError
from specmask.files import parse_json

MOST_PARTS = 4  # of a batch, by default

# Raised by TensorFlow in a worker whose peer is gone.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Cluster:
    """The devices that train together, and this process's place among the workers."""

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    @property
    def chief(self) -> bool:
        """Whether this process writes checkpoints, logs and messages."""
        return self.worker == 0

    @property
    def replicas(self) -> int:
        """Number of devices over all workers."""
        return self.strategy.num_replicas_in_sync

    def broadcast(self, value: float) -> float:
        """Return the chief's value on every worker; all have to call it."""
        if self.workers == 1:
            return value
        mine = tf.constant(float(value) if self.chief else 0.0, tf.float64)
        total = _sum(self.strategy, mine)
        return float(total) / len(self.strategy.extended.worker_devices)


def parts(train: Train) -> int:
    """Return the number of parts of a batch, the same on every machine without GPU.

    With a strategy the rows of each replica stay together.
    """
    if train.parts:
        return train.parts
    shared = train.strategy != "default" or tf.config.list_physical_devices("GPU")
    if shared or not train.deterministic:
        return 1
    rows = train.batch_size // train.accumulation
    return max(count for count in range(1, MOST_PARTS + 1) if rows % count == 0)


def limit_threads(train: Train) -> None:
    """Give every operation one thread if the batch is cut into parts.

    Threads that share an operation add in an order that changes from call to call. Prints a note
    if it is too late, because TensorFlow has already computed something in this process.
    """
    threading = tf.config.threading
    if parts(train) == 1 or threading.get_intra_op_parallelism_threads() == 1:
        return
    try:
        threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        print(
            "note: TensorFlow already runs several threads per operation in this process: "
            "results may differ by rounding"
        )


def cluster(config: Config) -> Cluster:
    """Return the cluster of ``[train] strategy``; nothing may have been computed before.

    Raises:
        UserError: if TF_CONFIG is missing or wrong, or the batch cannot be shared.
    """
    name, train = config.train.strategy, config.train
    if name == "multi_worker":
        worker, workers = _place()
        made = Cluster(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)
    elif name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        made = Cluster(tf.distribute.MirroredStrategy([d.name for d in devices]))
    else:
        made = Cluster(tf.distribute.get_strategy())
    pieces = made.replicas * train.accumulation
    if train.batch_size % pieces:
        raise UserError(
            f"[train] batch_size = {train.batch_size} cannot be shared by {made.replicas} replicas "
            f"times accumulation = {train.accumulation}; make it a multiple of {pieces}"
        )
    return made


def _place() -> tuple[int, int]:
    """Return this worker's number and the number of workers."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = parse_json(text)
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
        # The identity is on the replica's device, which all_reduce has to know.
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    return strategy.experimental_local_results(strategy.run(reduced, args=(value,)))[0]
