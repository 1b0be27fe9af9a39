import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spion_bench.records.statistics import (
    mean_with_interval,
    median_with_interval,
    t_quantile,
    wilson_interval,
)

numbers = st.floats(-1e6, 1e6)


def test_median_of_an_even_number_is_the_middle_of_two():
    median, low, high = median_with_interval([4.0, 1.0, 3.0, 2.0])
    assert median == 2.5
    assert 1.0 <= low <= 2.5 <= high <= 4.0


def test_one_sample_is_its_own_interval():
    assert median_with_interval([7.0]) == (7.0, 7.0, 7.0)


def test_interval_is_reproducible():
    samples = list(np.random.default_rng(0).normal(size=30))
    assert median_with_interval(samples) == median_with_interval(samples)
    assert median_with_interval(samples, seed=1) != median_with_interval(samples, seed=2)


def test_interval_covers_the_true_median_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    intervals = [median_with_interval(generator.exponential(size=25)) for _ in range(200)]
    covered = sum(low <= math.log(2) <= high for _, low, high in intervals)
    assert 175 <= covered <= 200


@given(st.lists(numbers, min_size=1, max_size=20))
def test_interval_lies_within_the_samples(samples):
    median, low, high = median_with_interval(samples, resamples=50)
    assert min(samples) <= low <= high <= max(samples)
    assert min(samples) <= median <= max(samples)


def test_wilson_interval_of_published_example():
    # Newcombe 1998, table I, method 3: 81 of 263
    low, high = wilson_interval(81, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "edge"), [(0, 0), (10, 1)])
def test_wilson_interval_at_the_edge_has_width(successes, edge):
    bounds = wilson_interval(successes, 10)
    assert edge == pytest.approx(bounds[edge])
    assert bounds[1] - bounds[0] > 0.2


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        wilson_interval(successes, trials)


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 11, 15, 29, 100, 5000])
def test_t_quantile_is_that_of_scipy(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=3e-3)


def test_mean_over_seeds_has_the_t_interval():
    values = [0.91, 0.93, 0.92]
    mean, low, high = mean_with_interval(values)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert mean == pytest.approx(0.92)
    assert (low, high) == pytest.approx(expected, abs=1e-5)


def test_one_seed_has_no_interval():
    assert mean_with_interval([0.9]) == (0.9, None, None)


@pytest.mark.parametrize("function", [median_with_interval, mean_with_interval])
def test_no_numbers_are_refused(function):
    with pytest.raises(ValueError, match="at least one number"):
        function([])
