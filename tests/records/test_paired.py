import math

import numpy as np
import pytest

from spion_bench.records import Load, Measurement, Metric, Turn
from spion_bench.records.paired import (
    StoppingRule,
    aa_metric,
    half_width,
    marks_of,
    paired_ratio,
    ratio_in_turn,
    ratio_of_medians,
    round_values,
)


def metric(samples, **fields):
    return Metric(
        value=float(np.median(samples)), unit="ms", lower_is_better=True, samples=samples, **fields
    )


def drifting(n, ratio, noise, seed=0):
    """Return two subjects whose rounds share a drift of 40 %, and their ratio with noise."""
    generator = np.random.default_rng(seed)
    base = 100 * np.linspace(1.0, 1.4, n)
    return list(base * ratio * np.exp(generator.normal(0, noise, n))), list(base)


def test_a_drift_that_rounds_share_cancels():
    above, below = drifting(12, 2.0, 0.01)
    paired = paired_ratio(above, below)
    assert paired.low < 2.0 < paired.high
    assert half_width(paired) < 0.01
    assert half_width(ratio_of_medians(metric(above), metric(below))) > 0.1
    assert paired.basis == "paired over 12 rounds, 95 % bootstrap interval"
    assert (paired.n, paired.kind) == (12, "bootstrap")


def test_the_ratio_is_the_median_of_log_ratios_and_inverts():
    above, below = [2.0, 8.0, 3.0], [1.0, 2.0, 1.0]
    ratio, inverse = paired_ratio(above, below), paired_ratio(below, above)
    assert ratio.value == pytest.approx(3.0)
    assert (ratio.low, ratio.high, ratio.kind) == (pytest.approx(2), pytest.approx(4), "range")
    assert inverse.value == pytest.approx(1 / ratio.value)
    assert paired_ratio([3.0], [2.0]).kind is None


@pytest.mark.parametrize("n", [8, 24])
def test_the_interval_covers_about_as_often_as_it_says(n):
    pairs = [drifting(n, 1.5, 0.05, seed) for seed in range(150)]
    found = [paired_ratio(*pair) for pair in pairs]
    covered = sum(ratio.low <= 1.5 <= ratio.high for ratio in found)
    assert 132 <= covered <= 150
    wide = [paired_ratio(*pair, level=0.99) for pair in pairs[:20]]
    assert all(half_width(w) > half_width(f) for w, f in zip(wide, found, strict=False))


def test_rounds_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="one number of each per round, got 2 and 1"):
        paired_ratio([1.0, 2.0], [1.0])
    broken = paired_ratio([1.0, math.nan], [1.0, 2.0])
    assert broken.low is None
    assert half_width(broken) == math.inf


def steady(n, ratio=1.0, noise=0.0):
    above, below = drifting(n, ratio, noise)
    return {"subject": above, "baseline": below}


@pytest.mark.parametrize(
    ("rounds", "is_enough"),
    [
        pytest.param(steady(7), False, id="fewer than the least"),
        pytest.param(steady(8, 1.3, 0.01), True, id="narrow"),
        pytest.param(steady(8, 1.3, 0.2), False, id="wide"),
        pytest.param(steady(24, 1.3, 0.5), True, id="wide at the bound"),
        pytest.param({**steady(8), "nan": [math.nan] * 8}, False, id="one subject has no interval"),
        pytest.param({"baseline": [1.0] * 8}, True, id="nothing to compare"),
    ],
)
def test_a_measurement_is_enough_when_its_ratios_are_narrow(rounds, is_enough):
    assert StoppingRule().is_enough(rounds, "baseline") is is_enough


def test_a_stricter_rule_asks_for_more():
    rounds = steady(12, 1.3, 0.02)
    assert StoppingRule().is_enough(rounds, "baseline")
    strict = StoppingRule(half_width=0.005, level=0.99)
    assert not strict.is_enough(rounds, "baseline")


@pytest.mark.parametrize(
    ("change", "marks"),
    [
        ({}, []),
        ({"rounds": 5}, ["5 rounds, fewer than 8"]),
        ({"aa": 1.06}, ["the A/A ratio of step is 1.060, off by over 5 %"]),
        ({"aa": 0.94}, ["the A/A ratio of step is 0.940, off by over 5 %"]),
        ({"aa": math.nan}, ["the A/A ratio of step is nan, off by over 5 %"]),
        ({"aa": None}, ["there is no A/A ratio: the baseline did not run twice"]),
        (
            {"load": [0.0, 0.3, 0.11]},
            ["other processes used up to 0.30 of 2 cores in 2 of 8 rounds"],
        ),
        ({"load": None}, ["the load of other processes could not be read"]),
    ],
)
def test_numbers_that_may_mislead_are_marked(change, marks):
    given = {"rounds": 8, "aa": 1.049, "load": [0.09], **change}
    aa = {} if given["aa"] is None else {"step": aa_metric([given["aa"]] * 8, [1.0] * 8)}
    load = None if given["load"] is None else Load(cpus=2, others=given["load"])
    assert marks_of(given["rounds"], aa, load) == marks


def test_the_a_a_ratio_is_a_metric_with_its_rounds():
    found = aa_metric([2.0, 4.0, 3.0], [2.0, 2.0, 2.0])
    assert (found.value, found.unit) == (pytest.approx(1.5), "ratio")
    assert (found.samples, found.interval) == ([1.0, 2.0, 1.5], "range")


def test_the_samples_of_a_round_count_as_their_median():
    own = metric([1.0, 3.0, 2.0, 7.0, 5.0], round_sizes=[3, 2])
    assert round_values(own) == [2.0, 6.0]
    base = metric([1.0, 2.0], round_sizes=[1, 1])
    assert ratio_in_turn(own, base).basis.startswith("paired over 2 rounds")
    assert "not paired" in ratio_in_turn(own, metric([1.0, 2.0])).basis


def test_records_without_sizes_are_paired_where_each_round_took_one_sample():
    def measured(rounds):
        turn = Turn(methods=["a"], rounds=rounds)
        return Measurement(status="ok", metrics={"x": metric([1.0, 2.0, 4.0])}, turn=turn)

    assert round_values(measured(3).metric("x")) == [1.0, 2.0, 4.0]
    assert round_values(measured(2).metric("x")) == []
    assert measured(3).metric("y") is None
