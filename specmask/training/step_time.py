"""How long a training step takes."""

import itertools
import statistics
import time
from pathlib import Path

import keras
import tensorflow as tf

from specmask.config.schema import Config
from specmask.data import stft_cache
from specmask.training import distributed
from specmask.training.batches import Batches
from specmask.training.trainer import Trainer

UNCOUNTED = 2  # steps: the first ones compile
LEAST = 5  # steps that are measured,
SECONDS = 20  # for at least so long


def seconds_a_step(config: Config) -> float:
    """Train for a moment and return the median time of a step in seconds; nothing is written.

    It holds reading the batch and the step itself, and neither start-up nor validation.

    Raises:
        UserError: if the cache of the training files is missing or stale.
    """
    training = stft_cache.load(config, "training")
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    team = distributed.form(config)
    batches = Batches(config, training, team.worker, team.workers)
    keras.utils.set_random_seed(config.train.seed)
    trainer = Trainer(config, Path(), batches, None, team)
    stream = itertools.chain.from_iterable(map(batches.epoch, itertools.count()))
    moments: list[float] = []
    while len(moments) <= LEAST or moments[-1] - moments[0] < SECONDS:
        for _ in range(1 if moments else UNCOUNTED):
            trainer.step(next(stream), rate=0.0)
        moments.append(time.monotonic())
    return statistics.median(b - a for a, b in itertools.pairwise(moments))
