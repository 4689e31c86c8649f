"""Batches of an epoch, read ahead from the cache by threads of tf.data.

A batch is a function of (seed, epoch, step) alone. With several workers each reads its own rows
of the same global batch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.data import seeding
from specmask.data.stft_cache import Cache
from specmask.errors import UserError
from specmask.files import replacing
from specmask.training import distributed
from specmask.training.remix import Remix

AHEAD = 2  # batches that wait for the trainer


class Batches:
    """The batches of a training.

    Args:
        config: batch size, remix, crops, seed.
        training: the cache of the training files.
        worker: number of this process among the workers.
        workers: number of processes that train together.

    Raises:
        UserError: if a batch is larger than the data, or cannot be shared among the workers.
    """

    def __init__(self, config: Config, training: Cache, worker: int = 0, workers: int = 1):
        self.config, self.training, self.worker = config, training, worker
        size = config.train.batch_size
        if size > len(training):
            raise UserError(
                f"[train] batch_size = {size} is more than the {len(training)} training files; "
                "lower it or raise [data] total_training_files"
            )
        self.size, self.rows = size, size // workers
        self.steps = config.train.epoch_steps or len(training) // size
        self.remix = Remix(config, training.index)
        stft = Stft.from_config(config)
        seconds = config.train.crop_seconds
        self.crop = stft.frames(round(seconds * config.data.sample_rate)) if seconds else 0

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple]:
        """Yield the batches of an epoch from a step on; see :meth:`batch`."""
        order = self.order(number)
        bins = self.config.bins
        shapes = ((None, None, bins, 2), (None, None, None, bins, 2), (None, None), (None,) * 3)
        kinds = tf.float16, tf.float16, tf.float32, tf.float32

        def make(step: np.ndarray) -> tuple:
            return self.batch(order, number, int(step))

        def read(step: Any) -> tuple:
            # Not stateful: in its deterministic mode tf.data reads with one thread otherwise.
            batch = tf.numpy_function(make, [step], kinds, stateful=False)
            return tuple(tf.ensure_shape(x, s) for x, s in zip(batch, shapes, strict=True))

        steps = tf.data.Dataset.range(start, self.steps)
        return iter(steps.map(read, num_parallel_calls=distributed.READERS).prefetch(AHEAD))

    def order(self, epoch: int) -> np.ndarray:
        """Return the training files of an epoch; none repeats before all were used."""
        size, a_pass = self.steps * self.size, len(self.training) // self.size * self.size
        passes = range(epoch * size // a_pass, -(-(epoch + 1) * size // a_pass))
        orders = [
            seeding.generator(self.config.train.seed, k).permutation(len(self.training))[:a_pass]
            for k in passes
        ]
        return np.concatenate(orders)[epoch * size - passes[0] * a_pass :][:size]

    def items(self, order: np.ndarray, step: int) -> np.ndarray:
        """Return the training files of a global batch."""
        return order[step * self.size : (step + 1) * self.size]

    def batch(self, order: np.ndarray, epoch: int, step: int) -> tuple[np.ndarray, ...]:
        """Return this worker's rows of a step.

        Returns:
            clean float16 [rows, frames, bins, 2], noise float16 [rows, noises, frames, bins, 2],
            gains of clean float32 [rows, gains] and of noise [rows, noises, gains]; gains are 1,
            for all bins, or one per bin.
        """
        everything = self.items(order, step)
        frames = self.crop or int(self.training.index["frames"][everything].max())
        first = self.worker * self.rows
        draw = self.remix.draw if self.config.train.remix else self.remix.plain
        draws = [
            draw(int(everything[row]), frames, epoch, step * self.size + row)
            for row in range(first, first + self.rows)
        ]
        items, starts = np.array([d.item for d in draws]), np.array([d.start for d in draws])
        clean = self.training.crops("clean", items, starts, frames)
        noises = np.stack([d.noises for d in draws])
        noise = self.training.crops(
            "noise",
            noises.ravel(),
            np.stack([d.noise_starts for d in draws]).ravel(),
            frames,
            wrap=(noises != items[:, None]).ravel(),
        )
        return (
            clean,
            noise.reshape(*noises.shape, *noise.shape[1:]),
            np.stack([d.clean_gain for d in draws]),
            np.stack([d.noise_gains for d in draws]),
        )


def mixture(clean: Any, noise: Any, clean_gain: Any, noise_gain: Any) -> tuple[Any, Any]:
    """Return clean and noise spectra float32 [rows, frames, bins, 2] of a batch, gains applied."""
    clean = tf.cast(clean, tf.float32) * clean_gain[:, None, :, None]
    noise = tf.cast(noise, tf.float32) * noise_gain[:, :, None, :, None]
    return clean, tf.reduce_sum(noise, axis=1)


def save_batch(path: Path, batch: tuple, files: np.ndarray, step: int) -> None:
    """Write a batch to a .npz file, with the indices of its files and the number of the step."""
    names = ("clean", "noise", "clean_gain", "noise_gain")
    arrays: dict[str, Any] = dict(zip(names, map(np.asarray, batch), strict=True))
    with replacing(path) as temporary:
        np.savez(temporary, files=files, step=step, **arrays)
