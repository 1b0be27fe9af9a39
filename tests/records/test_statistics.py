import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from spion_bench.records import Metric
from spion_bench.records.paired import ratio_of_medians
from spion_bench.records.statistics import (
    RESAMPLES,
    Estimate,
    geometric_mean,
    mean_over_seeds,
    mean_with_interval,
    median_of,
    median_with_interval,
    speedup_verdict,
    t_quantile,
    wilson_interval,
)

numbers = st.floats(-1e6, 1e6)


def metric(samples, value=None, **fields):
    value = float(np.median(samples)) if value is None else value
    return Metric(value=value, unit="ms", lower_is_better=True, samples=list(samples), **fields)


def test_of_a_few_samples_the_range_is_given_and_called_that():
    assert median_with_interval([4.0, 1.0, 3.0, 2.0]) == (2.5, 1.0, 4.0)
    few, enough = median_of(metric([4.0, 1.0, 3.0, 2.0, 5.0])), median_of(metric(range(6)))
    assert (few.kind, few.basis) == ("range", "median of 5 samples, range")
    assert enough.kind == "bootstrap"
    assert enough.basis == "median of 6 samples, 95 % bootstrap interval"
    unnamed = median_of(metric([1.0, 2.0, 3.0], low=1.5, high=2.5))  # as older records stored it
    assert (unnamed.low, unnamed.high, unnamed.kind) == (1.0, 3.0, "range")


def test_one_sample_says_nothing_about_the_spread():
    assert median_with_interval([7.0]) == (7.0, None, None)


def test_interval_is_reproducible():
    samples = list(np.random.default_rng(0).normal(size=30))
    assert median_with_interval(samples) == median_with_interval(samples)
    assert len({median_with_interval(samples, seed=seed) for seed in range(20)}) > 1


def test_interval_covers_the_true_median_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    intervals = [median_with_interval(generator.exponential(size=25)) for _ in range(200)]
    covered = sum(low <= math.log(2) <= high for _, low, high in intervals)
    assert 175 <= covered <= 200


@given(st.lists(numbers, min_size=2, max_size=20))
@hypothesis_settings(max_examples=30, deadline=None)
def test_interval_lies_within_the_samples(samples):
    median, low, high = median_with_interval(samples)
    assert min(samples) <= low <= high <= max(samples)
    assert min(samples) <= median <= max(samples)


def test_resampling_many_samples_in_parts_changes_nothing():
    samples = np.random.default_rng(3).normal(size=151)  # two parts, the second one smaller
    picks = np.random.default_rng((0, 0)).integers(0, 151, size=(RESAMPLES, 151))
    whole = np.quantile(np.median(samples[picks], axis=1), [0.025, 0.975])
    assert median_with_interval(samples)[1:] == tuple(whole)


@pytest.mark.parametrize("n", range(1, 201))
def test_terminal_records_and_pages_agree(n, monkeypatch):
    monkeypatch.setattr("spion_bench.records.statistics.RESAMPLES", 200)  # for speed
    samples = np.random.default_rng(n).normal(100, 5, n)
    shown = median_of(metric(samples))
    assert median_with_interval(samples) == (shown.value, shown.low, shown.high)
    mean = mean_over_seeds(samples)
    assert mean_with_interval(samples) == (mean.value, mean.low, mean.high)
    if n == 1:
        assert mean.low is None
        return
    expected = stats.t.interval(0.95, n - 1, loc=np.mean(samples), scale=stats.sem(samples))
    assert (mean.low, mean.high) == pytest.approx(expected, rel=1e-9)


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
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


def test_mean_over_seeds_is_students_t_interval():
    result = mean_over_seeds([0.90, 0.93, 0.96])
    half = 4.302653 * 0.03 / np.sqrt(3)
    assert result.value == pytest.approx(0.93)
    assert (result.low, result.high) == pytest.approx((0.93 - half, 0.93 + half))
    assert (result.n, result.basis) == (3, "mean of 3 seeds, t interval")


def test_one_seed_or_equal_seeds_have_no_interval():
    for values in ([0.9], [0.9, 0.9, 0.9]):
        result = mean_over_seeds(values)
        assert (result.value, result.low, result.high) == (pytest.approx(0.9), None, None)


@pytest.mark.parametrize("function", [median_with_interval, mean_with_interval, geometric_mean])
def test_no_numbers_are_refused(function):
    with pytest.raises(ValueError, match="at least one number"):
        function([])


def test_nan_and_infinity_are_numbers_without_interval():
    for function in (median_with_interval, mean_with_interval):
        value, low, high = function([1.0, math.nan, 2.0])
        assert math.isnan(value)
        assert (low, high) == (None, None)
        assert function([math.inf, math.inf]) == (math.inf, None, None)
    assert math.isnan(mean_over_seeds([math.nan, 1.0]).value)
    broken = ratio_of_medians(metric([1.0, 2.0]), metric([math.nan, math.nan], math.nan))
    assert math.isnan(broken.value)
    assert broken.low is None
    assert ratio_of_medians(metric([], 1.0), metric([], 0.0)).value == math.inf


def test_median_keeps_a_stored_interval_and_bootstraps_a_missing_one():
    samples = np.random.default_rng(1).normal(100, 2, 50)
    stored = median_of(metric(samples, low=98.0, high=102.0))
    assert (stored.low, stored.high) == (98.0, 102.0)
    computed = median_of(metric(samples))
    assert 98 < computed.low < computed.value < computed.high < 102


def test_ratio_interval_covers_the_true_ratio_and_repeats():
    rng = np.random.default_rng(2)
    base, own = metric(rng.normal(200, 4, 40)), metric(rng.normal(100, 2, 40))
    ratio = ratio_of_medians(base, own)
    assert ratio.value == pytest.approx(base.value / own.value)
    assert ratio.low < 2.0 < ratio.high
    assert ratio.high - ratio.low < 0.1
    assert ratio == ratio_of_medians(base, own)


def test_ratio_of_single_values_has_no_interval():
    ratio = ratio_of_medians(metric([], 3.0), metric([2.0]))
    assert (ratio.value, ratio.low, ratio.high) == (1.5, None, None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.06, 2.0, "faster"),
        (0.5, 0.95, "slower"),
        (0.96, 1.04, "same"),
        pytest.param(1.01, 1.2, "unclear", id="beyond noise but not beyond 5 %"),
        pytest.param(0.5, 2.0, "unclear", id="noise covers both"),
        pytest.param(None, None, "unclear", id="no interval"),
    ],
)
def test_speedup_verdict(low, high, verdict):
    assert speedup_verdict(Estimate(1.0, low, high, 10, "")) == verdict


def test_geometric_mean():
    assert geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="positive"):
        geometric_mean([1.0, 0.0])


def test_an_estimate_is_scaled_and_cut():
    found = Estimate(2.0, -1.0, 5.0).scaled(2.0).within(0.0)
    assert (found.value, found.low, found.high) == (4.0, 0.0, 10.0)


def test_importing_the_records_loads_no_torch_and_no_scipy_stats():
    code = (
        "import sys, spion_bench.records, spion_bench.records.statistics as s; s.t_quantile(3);"
        "print({'torch', 'scipy.stats', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
