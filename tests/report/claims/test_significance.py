import math

import pytest

from spion_bench.records.statistics import Estimate
from spion_bench.report.claims.significance import holm, p_value_of_ratio


def test_holm_adjusts_each_p_value_for_those_that_are_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_a_p_value_of_a_ratio_is_what_its_interval_leaves(level):
    touches = Estimate(2.0, 1.0, 4.0, 8)  # an interval that ends at 1
    assert p_value_of_ratio(touches, level) == pytest.approx(1 - level)
    assert p_value_of_ratio(Estimate(0.5, 0.25, 1.0, 8), level) == pytest.approx(1 - level)
    assert p_value_of_ratio(Estimate(1.0, 0.5, 2.0, 8), level) == 1
    assert p_value_of_ratio(Estimate(3.0, 2.0, 4.5, 8), level) < 1 - level


@pytest.mark.parametrize(
    "ratio", [Estimate(2.0), Estimate(2.0, -1.0, 4.0), Estimate(math.nan, 1.0, 2.0)]
)
def test_a_ratio_without_an_interval_says_nothing(ratio):
    assert p_value_of_ratio(ratio) == 1
