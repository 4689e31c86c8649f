"""Measured time of a training step."""

import itertools
import statistics
import time
from pathlib import Path

import keras
import tensorflow as tf

from specmask.config.initial import with_initial_network
from specmask.config.schema import Config
from specmask.data import stft_cache
from specmask.training import distributed
from specmask.training.batches import Batches
from specmask.training.trainer import Trainer

WARM_UP = 2  # steps: the first ones compile
LEAST = 5  # measured steps,
SECONDS = 20  # over at least this time


def seconds_per_step(config: Config) -> float:
    """Train for a moment and return the median time of a step in seconds; nothing is written.

    The time includes reading the batch, and excludes start-up and validation.

    Raises:
        UserError: if the cache of the training files is missing or stale.
    """
    config, _ = with_initial_network(config)
    training = stft_cache.load(config, "training")
    distributed.limit_threads(config.train)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    cluster = distributed.cluster(config)
    batches = Batches(config, training, cluster.worker, cluster.workers)
    keras.utils.set_random_seed(config.train.seed)
    trainer = Trainer(config, Path(), batches, None, cluster)
    stream = itertools.chain.from_iterable(map(batches.epoch, itertools.count()))
    moments: list[float] = []
    while len(moments) <= LEAST or moments[-1] - moments[0] < SECONDS:
        for _ in range(1 if moments else WARM_UP):
            trainer.step(next(stream), rate=0.0)
        moments.append(time.monotonic())
    return statistics.median(b - a for a, b in itertools.pairwise(moments))
