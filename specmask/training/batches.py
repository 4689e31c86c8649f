"""Batches of an epoch, read ahead from the cache by threads.

A batch is a function of (seed, epoch, step) alone. With several workers each reads its own rows
of the same global batch.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.data import seeding
from specmask.data.stft_cache import ALIGNMENT, Cache
from specmask.errors import UserError
from specmask.files import replacing
from specmask.training.remix import Remix

READERS = 2  # threads
AHEAD = 2  # batches that wait for the trainer


class Batches:
    """The batches of a training.

    Args:
        config: batch size, remix, crops, seed.
        training: the cache of the training files.
        worker: number of this process among the workers.
        workers: number of processes that train together.

    Raises:
        UserError: if a batch is larger than the data.
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
        self.frames = self.crop or int(training.index["frames"].max())  # of the longest batch

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[tf.Tensor, ...]]:
        """Yield the batches of an epoch from a step on, as tensors; see :meth:`batch`."""
        order = self.order(number)
        steps = iter(range(start, self.steps))
        pool = ThreadPoolExecutor(READERS)
        batches: deque[Future[tuple[np.ndarray, ...]]] = deque()
        try:
            while True:
                for step in itertools.islice(steps, READERS + AHEAD - len(batches)):
                    batches.append(pool.submit(self.batch, order, number, step))
                if not batches:
                    return
                yield tuple(map(_tensor, batches.popleft().result()))
        finally:
            pool.shutdown(cancel_futures=True)

    def specs(self) -> tuple[tf.TensorSpec, ...]:
        """Return shapes and dtypes of the longest batch."""
        clean, noise, *gains = self.batch(self.order(0), 0, 0)
        spectra = ((x.dtype, (*x.shape[:-3], self.frames, *x.shape[-2:])) for x in (clean, noise))
        return (
            *(tf.TensorSpec(shape, dtype) for dtype, shape in spectra),
            *(tf.TensorSpec(x.shape, x.dtype) for x in gains),
        )

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
        place = step * self.size + first
        d = draw(everything[first:][: self.rows], frames, epoch, range(place, place + self.rows))
        clean = self.training.crops("clean", d.items, d.starts, frames)
        noise = self.training.crops(
            "noise",
            d.noises.ravel(),
            d.noise_starts.ravel(),
            frames,
            wrap=(d.noises != d.items[:, None]).ravel(),
        )
        noise = noise.reshape(*d.noises.shape, *noise.shape[1:])
        return clean, noise, d.clean_gain, d.noise_gains


def _tensor(array: np.ndarray) -> tf.Tensor:
    """Return an array as a tensor, without a copy where its memory is aligned as those of tensors.

    tf.data would take about as long to hand a batch over as reading it takes.
    """
    if array.ctypes.data % ALIGNMENT:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


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
