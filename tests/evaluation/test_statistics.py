"""Intervals and tests against theory, scipy, and values counted by hand."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from specmask.evaluation import statistics


def test_interval_of_many_values_is_that_of_the_normal_distribution():
    x = np.random.default_rng(0).normal(5, 2, 400)
    low, high = statistics.interval(x)
    half = 1.96 * x.std() / math.sqrt(len(x))
    assert_allclose([low, high], [x.mean() - half, x.mean() + half], atol=0.03)


def test_interval_against_scipy():
    x = np.random.default_rng(1).exponential(size=50)
    expected = scipy.stats.bootstrap((x,), np.mean, method="percentile", rng=1).confidence_interval
    assert_allclose(statistics.interval(x), [expected.low, expected.high], atol=0.03)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        low, high = statistics.interval(rng.normal(size=40))
        hits += low < 0 < high
    assert 0.90 < hits / 200 < 0.99


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.floats(-10, 10))
@settings(max_examples=30, deadline=None)
def test_interval_moves_with_its_values(values, shift):
    low, high = statistics.interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    moved = statistics.interval([v + shift for v in values])
    assert_allclose(moved, [low + shift, high + shift], atol=1e-6)
    assert statistics.interval(values) == (low, high)


def test_interval_in_blocks(monkeypatch):
    x = np.random.default_rng(3).normal(size=30)
    whole = statistics.interval(x)
    monkeypatch.setattr(statistics, "VALUES_PER_BLOCK", 70)
    assert statistics.interval(x) == whole


@pytest.mark.parametrize("values", [[], [3.0]])
def test_no_interval_of_less_than_two(values):
    assert all(map(math.isnan, statistics.interval(values)))


def test_signed_rank_by_hand():
    # ranks of |d|: 1 2 3 4, one negative of rank 1: W = 1; P(W <= 1) = 2/16, two-sided 4/16
    found = statistics.compare([0, 2, 3, 4], [1, 0, 0, 0])
    assert (found.mean, found.p, found.files) == (2, 0.25, 4)
    assert found.low < 2 < found.high


def test_pairs_without_a_figure_do_not_count():
    found = statistics.compare([1, math.nan, 3], [0, 0, math.nan])
    assert (found.mean, found.files) == (1, 1)
    assert statistics.compare([1, 2], [1, 2]).p == 1
    assert statistics.compare([math.nan], [1]).files == 0


def test_holm_by_hand():
    assert_allclose(statistics.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert_allclose(statistics.holm([0.9, math.nan, 0.8]), [1, math.nan, 1])
    assert statistics.holm([]) == []


def test_interval_over_trainings_and_files_holds_the_variance_of_both():
    """x = a + b, one of each training and one of each file: the variance of the mean is known."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, 40), rng.normal(0, 2, 60)
    low, high = statistics.interval(a[:, None] + b)
    half = 1.96 * math.sqrt(a.var() / len(a) + b.var() / len(b))
    assert_allclose([low, high], a.mean() + b.mean() + np.array([-half, half]), atol=0.06)


def test_one_training_has_the_interval_of_its_files():
    x = np.random.default_rng(5).normal(size=30)
    assert statistics.interval(x[None]) == statistics.interval(x)
    alike = statistics.interval(np.stack([x, x]))
    assert_allclose(alike, statistics.interval(x), rtol=1e-12)
    assert all(map(math.isnan, statistics.interval([[1.0], [2.0]])))


def test_trainings_are_tested_by_their_means_over_files():
    rng = np.random.default_rng(6)
    ours, theirs = rng.normal(1, 1, (3, 12)), rng.normal(0, 1, (3, 12))
    ours[1, 4] = math.nan
    found = statistics.compare(ours, theirs)
    kept = np.delete(ours - theirs, 4, axis=1)
    assert found.files == 11 and found.mean == pytest.approx(kept.mean())
    assert found.p == pytest.approx(scipy.stats.wilcoxon(kept.mean(axis=0)).pvalue)
    assert (found.low, found.high) == statistics.interval(kept)
