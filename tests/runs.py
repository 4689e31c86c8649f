"""Runs with weights that nobody trained, for tests of what comes after training."""

from pathlib import Path

import keras
import numpy as np
import project

from specmask import models
from specmask.config import ini, schema
from specmask.training import checkpoint

CAUSAL = [name for name, network in models.NETWORKS.items() if network.causal(schema.Config())]


def make(folder: Path, *options: str, identity: bool = False) -> Path:
    """Write a run with random weights, or with weights whose mask is one everywhere."""
    cfg = ini.load(project.make(folder), list(options))
    keras.utils.set_random_seed(0)
    network = models.build(cfg)
    if identity:
        # raw + 1 = r with bound · tanh(r / bound) = 1
        bound = cfg.model.mask_bound
        *_, kernel, bias = network.model.trainable_variables
        kernel.assign(np.zeros(kernel.shape))
        real = np.full(cfg.bins, bound * np.arctanh(1 / bound) - 1)
        bias.assign(np.concatenate([real, np.zeros(cfg.bins)]))
    run = folder / "cp" / "run"
    run.mkdir(parents=True)
    (run / "config.ini").write_text(ini.render(cfg), encoding="utf-8")
    checkpoint.save(run / "best.npz", {"model": network.model.variables}, {})
    return run


def signal(samples: int, seed: int = 0) -> np.ndarray:
    """White noise, float32, RMS 0.1."""
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
