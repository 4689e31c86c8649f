"""Random generators that depend on a seed and a key alone."""

import numpy as np


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the counter-based random generator of (seed, key)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
