"""Training steps of the shipped networks give the same bits on any number of cores, under load."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT, script_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux"),
]

# A few steps on random spectra; prints a digest of everything that they have changed.
STEPS = """
import hashlib, os, sys
from pathlib import Path

cores, threads, ini, seconds, *options = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
os.cpu_count = lambda: int(threads)

from specmask.cli import console
console.import_tensorflow()
import keras
import numpy as np
import tensorflow as tf

from specmask.audio.stft import Stft
from specmask.config import ini as configuration
from specmask.data import stft_cache
from specmask.training import distributed
from specmask.training.batches import Batches
from specmask.training.trainer import Trainer

config = configuration.load(Path(ini), options)
distributed.limit_threads(config.train)
tf.config.experimental.enable_op_determinism()
keras.utils.set_random_seed(0)
frames = Stft.from_config(config).frames(round(float(seconds) * config.data.sample_rate))
count = 2 * config.train.batch_size
index = np.zeros(count, stft_cache.INDEX)
index["frames"], index["offset"], index["additive"] = frames, frames * np.arange(count), True
rng = np.random.default_rng(0)
clean, noise = (
    0.1 * rng.standard_normal((count * frames, config.bins, 2)).astype(np.float16) for _ in "cn"
)
cache = stft_cache.Cache(index, [clean], [noise])
batches = Batches(config, cache)
trainer = Trainer(config, Path(), batches, cache)
for batch in batches.epoch(0):
    result = trainer.step(batch, rate=1e-3)
    assert result.finite
digest = hashlib.blake2b(digest_size=12)
for variables in trainer.step.groups().values():
    for variable in variables.values():
        digest.update(np.ascontiguousarray(variable))
digest.update(np.float64(trainer.validation.run(score=False)[0]))
print(trainer.step.parts, digest.hexdigest())
"""
LOAD = "while True: pass"
NETWORKS = {
    "config.ini": ("config.ini", 3),
    "default": ("recipes/default.ini", 2),
    "conv_lstm": ("recipes/bench.ini", 3),
    "band_lstm": ("config.ini", 0.5, "model.network=band_lstm"),
    "unet": ("config.ini", 1, "model.network=unet", "model.dropout=0.1"),
    "autoencoder": ("config.ini", 1, "model.network=autoencoder", "model.window_frames=64"),
    "blstm": ("recipes/bench.ini", 1, "model.bidirectional=yes"),
}


def digest(network: str, cores: int, threads: int) -> str:
    """Return parts and digest of two steps on so many cores and threads of TensorFlow."""
    words = [str(x) for x in (cores, threads, *NETWORKS[network])]
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *words, "train.metric_files=1", "train.epoch_steps=0"],
        capture_output=True, text=True, cwd=ROOT, env=script_environment(), timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("network", NETWORKS)
def test_steps_are_the_same_on_any_number_of_cores_and_under_load(network):
    one = digest(network, cores=1, threads=1)
    assert int(one.split()[0]) > 1  # parts
    load = [subprocess.Popen([sys.executable, "-c", LOAD]) for _ in range(2)]
    try:
        busy = digest(network, cores=2, threads=2)
    finally:
        for process in load:
            process.kill()
            process.wait()
    assert busy == one
    assert digest(network, cores=2, threads=16) == one
