"""What makes a group of accuracies measure attention."""

import numpy as np
import pytest

from spion_bench.records.artifacts import Curve
from spion_bench.records.statistics import Estimate
from spion_bench.report.evidence.rule import Evidence, last_gain, minus_control, minus_shortcut

BETTER = Estimate(0.1, 0.05, 0.15)
UNCLEAR = Estimate(0.1, -0.01, 0.21)
N = 1000


def answers(share, seed):
    return np.random.default_rng(seed).random(N) < share


def curve(accuracies):
    steps = np.arange(1, 101)
    dev = np.linspace(10, 100, len(accuracies))
    return Curve(steps, steps > 50, 1.0 * steps, dev, np.array(accuracies), np.array(accuracies))


@pytest.mark.parametrize(
    ("evidence", "measures", "said"),
    [
        (Evidence({"mean_attention": BETTER, "bag": BETTER}), True, "Measures attention"),
        (Evidence({"mean_attention": BETTER, "bag": UNCLEAR}), False, "better than bag"),
        (Evidence({"mean_attention": Estimate(0.1)}), False, "better than mean_attention"),
        (Evidence({"bag": BETTER}, ("no_attention",)), False, "attention: no_attention not run"),
        (Evidence({}), False, "Does not measure attention"),
    ],
)
def test_every_lower_bound_has_to_be_above_zero(evidence, measures, said):
    assert evidence.measures_attention is measures
    assert said in evidence.sentence


def test_controls_are_paired_by_seed():
    found = minus_control({0: 0.8, 1: 0.9, 2: 0.7}, {1: 0.5, 0: 0.42, 7: 0.0})
    assert found is not None
    assert (found.n, found.value) == (2, pytest.approx(0.39))
    assert minus_control({0: 0.5}, {1: 0.5}) is None


def test_shortcuts_are_compared_on_the_same_examples():
    dense = [answers(0.8, seed) for seed in range(3)]
    worse, equal = minus_shortcut(dense, answers(0.7, 9)), minus_shortcut(dense, answers(0.8, 9))
    assert worse.low > 0
    assert worse.low < worse.value < worse.high
    assert equal.low < 0 < equal.high
    # Paired examples say more than two accuracies: the predictor errs where dense attention does.
    nested = minus_shortcut(dense[:1], dense[0] & answers(0.95, 9))
    assert nested.high - nested.low < worse.high - worse.low
    assert minus_shortcut([], answers(0.5, 0)) is None
    with pytest.raises(ValueError, match="shortcut: expected the"):
        minus_shortcut(dense, answers(0.5, 0)[:-1])


@pytest.mark.parametrize(("last", "converged"), [(0.604, True), (0.606, False), (0.5, True)])
def test_converged_means_the_last_tenth_gained_little(last, converged):
    accuracies = [0.1] * 8 + [0.6, last]
    gain = last_gain([curve(accuracies), curve(accuracies)])
    assert gain == pytest.approx(last - 0.6)
    assert Evidence({}, gain=gain).converged is converged
    assert Evidence({}, gain=last_gain([Curve.empty()])).converged is None
