import pytest

from spion_bench.compare.verdict import judge
from spion_bench.records.statistics import Estimate

QUIET = Estimate(1.0, 0.99, 1.01)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.05, 1.08, "SLOWER"),
        (0.90, 0.95, "FASTER"),
        (0.98, 1.02, "SAME"),
        (0.98, 1.04, "UNCLEAR"),  # wider than 3 %
        (0.96, 1.01, "UNCLEAR"),
        (1.005, 1.02, "UNCLEAR"),  # excludes 1, but noise reaches 1.01
        (1.0101, 1.02, "SLOWER"),
        (0.97, 0.995, "UNCLEAR"),
        (None, None, "UNCLEAR"),
    ],
)
def test_verdicts(low, high, verdict):
    assert judge(Estimate(1.0, low, high), QUIET) == verdict


@pytest.mark.parametrize("null", [None, Estimate(1.0)])
def test_without_a_null_nothing_is_slower(null):
    assert judge(Estimate(1.5, 1.4, 1.6), null) == "UNCLEAR"
    assert judge(Estimate(1.0, 0.99, 1.01), null) == "SAME"
