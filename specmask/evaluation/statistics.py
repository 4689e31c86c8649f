"""Confidence intervals and paired tests.

Conventions:
    Values are scores of files, float ``[files]``, or ``[trainings, files]`` where a network was
    trained several times. Files and trainings are taken as independent.
    Resampling is seeded: the same values give the same interval on every run.

References:
    [1] Efron, Tibshirani: An introduction to the bootstrap, chapters 13 and 16. 1993.
    [2] Wilcoxon: Individual comparisons by ranking methods. Biometrics Bulletin 1(6), 1945.
    [3] Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of
        Statistics 6(2), 1979.
    [4] Owen: The pigeonhole bootstrap. Annals of Applied Statistics 1(2), 2007.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0
VALUES_PER_BLOCK = 1_000_000


@dataclass(frozen=True)
class Difference:
    """Difference between two systems on the same files.

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


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean at 95 %, 1000 resamples, §13.3 of [1].

    With several trainings, trainings and files are both resampled, each independently of the
    other [4]: the interval holds for another training on other files. With few (n) trainings it is
    too narrow: their share of the variance is estimated at (n - 1) / n of its size.

    Args:
        values: finite, [files] or [trainings, files].

    Returns:
        ends of the interval; NaN for fewer than two files.

    >>> interval([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    x = np.ascontiguousarray(np.atleast_2d(np.asarray(values, np.float64)))
    count, files = x.shape
    if files < 2:
        return math.nan, math.nan
    of_files, of_trainings = np.random.default_rng(SEED), np.random.default_rng(SEED + 1)
    means: list[float] = []
    block = max(1, VALUES_PER_BLOCK // x.size)
    while len(means) < RESAMPLES:
        size = min(block, RESAMPLES - len(means))
        columns = of_files.integers(files, size=(size, 1, files))
        rows = of_trainings.integers(count, size=(size, count, 1))
        means.extend(x[rows, columns].mean(axis=(1, 2)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def compare(ours: Sequence[float] | np.ndarray, theirs: Sequence[float] | np.ndarray) -> Difference:
    """Compare two systems on the same files: mean difference, its interval, signed-rank test [2].

    With several trainings the interval is over both; the test is on the means over trainings.

    Args:
        ours, theirs: [files] or [trainings, files], NaN where a file has no score; only files
            that have a score in all of them count.
    """
    both = np.atleast_2d(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    both = both[:, np.isfinite(both).all(axis=0)]
    if not both.size:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    by_file = both.mean(axis=0)
    if np.any(by_file):
        from scipy.stats import wilcoxon  # takes 0.5 s to import

        p = float(wilcoxon(by_file).pvalue)
    else:
        p = 1.0
    return Difference(float(both.mean()), *interval(both), p, len(by_file))


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's procedure [3]; NaN stays NaN.

    >>> holm([0.04, 0.01])
    [0.04, 0.02]
    """
    order = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    corrected, largest = list(ps), 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[i] = largest
    return corrected
