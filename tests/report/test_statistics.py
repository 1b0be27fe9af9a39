import numpy as np
import pytest

from spion_bench.records import Metric
from spion_bench.report.statistics import (
    Estimate,
    geometric_mean,
    mean_over_seeds,
    median_of,
    ratio_of_medians,
    speedup_verdict,
)


def metric(samples, value=None, **fields):
    value = float(np.median(samples)) if value is None else value
    return Metric(value=value, unit="ms", lower_is_better=True, samples=list(samples), **fields)


def test_mean_over_seeds_is_students_t_interval():
    result = mean_over_seeds([0.90, 0.93, 0.96])
    half = 4.303 * 0.03 / np.sqrt(3)
    assert result.value == pytest.approx(0.93)
    assert (result.low, result.high) == pytest.approx((0.93 - half, 0.93 + half))
    assert (result.n, result.basis) == (3, "mean of 3 seeds, t interval")


def test_many_seeds_fall_back_to_the_normal_quantile():
    values = list(np.linspace(0, 1, 40))
    half = 1.960 * np.std(values, ddof=1) / np.sqrt(40)
    assert mean_over_seeds(values).high == pytest.approx(0.5 + half)


def test_one_seed_or_equal_seeds_have_no_interval():
    for values in ([0.9], [0.9, 0.9, 0.9]):
        result = mean_over_seeds(values)
        assert (result.value, result.low, result.high) == (pytest.approx(0.9), None, None)


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
