"""Validation after each epoch: losses over all files, metrics over the first ones.

The metrics are computed by other processes: :mod:`specmask.training.validation_metrics`.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from specmask.audio import stft
from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.data.stft_cache import Cache
from specmask.models import Network
from specmask.training.losses import Objective
from specmask.training.validation_metrics import Example, PendingScores


class Validation:
    """Validates a network on a cache.

    Args:
        config: metric_files, listen_files, batch_size, workers.
        network: to be validated.
        files: the cache of the validation files.
        parts: of a batch, computed side by side as those of a training step.
    """

    def __init__(self, config: Config, network: Network, files: Cache, parts: int = 1):
        self.config, self.network, self.files, self.parts = config, network, files, parts
        self.objective, self.stft = Objective(config), Stft.from_config(config)
        self.scored = min(config.train.metric_files, len(files))
        # Clean speech and noise alone show little: they come last.
        plain = ~np.isfinite(files.index["snr_db"][: self.scored])
        shown = np.argsort(plain, kind="stable")[: config.train.listen_files]
        self.shown = frozenset(shown.tolist())
        self._estimate = tf.function(self._terms_and_spectra, reduce_retracing=True)

    def run(self, score: bool = True) -> tuple[float, dict[str, float], PendingScores]:
        """Return the mean loss, the mean of its terms, and the metrics, which are computed later.

        Files whose loss is not finite are left out with a warning.

        Args:
            score: whether to compute metrics at all.
        """
        size, count = self.config.train.batch_size, len(self.files)
        sums, finite_files, scores = np.zeros(len(self.objective.names)), 0, PendingScores()
        for start in range(0, count, size):
            items = np.arange(start, min(start + size, count))
            clean, noise = (self.files.gather(kind, items) for kind in ("clean", "noise"))
            terms, *spectra = self._estimate_parts(clean, noise)
            finite = np.isfinite(terms).all(axis=0)
            sums += terms[:, finite].sum(axis=1)
            finite_files += int(finite.sum())
            if not finite.all():
                left_out = ", ".join(str(item + 1) for item in items[~finite])
                print(f"warning: validation file {left_out} left out: its loss is not finite")
            if score and start < self.scored:
                examples = [
                    self._example(int(items[row]), [s[row] for s in spectra])
                    for row in np.flatnonzero(finite & (items < self.scored))
                ]
                scores.submit(examples, self.config.compute.workers)
        means = sums / finite_files if finite_files else np.full(len(sums), np.nan)
        named = dict(zip(self.objective.names, map(float, means), strict=True))
        return float(self.objective.total(means)), named, scores

    def _estimate_parts(self, clean: np.ndarray, noise: np.ndarray) -> list[np.ndarray]:
        """Return loss terms [terms, batch] and the spectra clean, noisy, enhanced, mask."""
        count = min(self.parts, len(clean))
        with ThreadPoolExecutor(count) as pool:
            cut = (np.array_split(x, count) for x in (clean, noise))
            found = zip(*pool.map(self._estimate, *cut), strict=True)
            terms, *spectra = ([x.numpy() for x in parts] for parts in found)
        return [np.concatenate(terms, axis=1), *(np.concatenate(s) for s in spectra)]

    def _terms_and_spectra(self, clean: Any, noise: Any) -> tuple:
        """Return loss terms [terms, batch] and the spectra clean, noisy, enhanced, mask."""
        clean, noise = tf.cast(clean, tf.float32), tf.cast(noise, tf.float32)
        noisy = clean + noise
        enhanced, mask = self.network.estimate(noisy)
        return self.objective.terms(clean, noise, mask, enhanced), clean, noisy, enhanced, mask

    def _example(self, item: int, spectra: list[np.ndarray]) -> Example:
        *spectra, mask = spectra
        record = self.files.index[item]
        waves = [
            stft.inverse(stft.to_complex(s), int(record["samples"]), self.stft) for s in spectra
        ]
        return Example(
            name=f"{item + 1}, {record['snr_db']:g} dB",
            snr_db=float(record["snr_db"]),
            waves=dict(zip(("clean", "noisy", "enhanced"), waves, strict=True)),
            mask=mask if item in self.shown else None,
            rate=self.config.data.sample_rate,
            bound=self.config.model.mask_bound,
        )
