"""How sure a mean is, and whether two systems differ: bootstrap intervals and paired tests.

Conventions:
    A value is a figure of one file, values are float ``[files]``. Files are taken as independent.
    Draws are seeded: the same values give the same interval on every run.

References:
    [1] Efron, Tibshirani: An introduction to the bootstrap, chapters 13 and 16. 1993.
    [2] Wilcoxon: Individual comparisons by ranking methods. Biometrics Bulletin 1(6), 1945.
    [3] Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of
        Statistics 6(2), 1979.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0
DRAWS_AT_A_TIME = 1_000_000


@dataclass(frozen=True)
class Difference:
    """What one system has over another on the same files.

    Attributes:
        mean: of the differences.
        low, high: ends of its 95 % bootstrap interval.
        p: of the Wilcoxon signed-rank test, two-sided; not yet corrected for many tests.
        files: number of pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    files: int


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean at 95 %, 1000 resamples, §13.3 of [1].

    Args:
        values: finite, [files].

    Returns:
        its ends; NaN for fewer than two values.
    """
    if len(values) < 2:
        return math.nan, math.nan
    return _interval(np.asarray(values, np.float64).tobytes())


@lru_cache(1024)  # tables, the summary and the page ask for the same ones
def _interval(data: bytes) -> tuple[float, float]:
    x = np.frombuffer(data, np.float64)
    rng = np.random.default_rng(SEED)
    means, block = [], max(1, DRAWS_AT_A_TIME // len(x))
    while len(means) < RESAMPLES:
        count = min(block, RESAMPLES - len(means))
        means.extend(x[rng.integers(len(x), size=(count, len(x)))].mean(axis=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Compare two systems on the same files: mean difference, its interval, signed-rank test [2].

    Args:
        ours, theirs: [files], NaN where a file has no figure; only pairs count.
    """
    both = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    both = both[np.isfinite(both)]
    if not len(both):
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    if np.any(both):
        from scipy.stats import wilcoxon  # 0.5 s of imports: only who compares pays

        p = float(wilcoxon(both).pvalue)
    else:
        p = 1.0
    return Difference(float(both.mean()), *interval(both), p, len(both))


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's procedure [3]; NaN stays NaN."""
    order = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    corrected, largest = list(ps), 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[i] = largest
    return corrected
