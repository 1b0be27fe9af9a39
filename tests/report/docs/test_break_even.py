import pytest

from spion_bench.records.statistics import Estimate
from spion_bench.report.docs.break_even import bracket, break_even_section

FASTER, SLOWER, OPEN = Estimate(2.0, 1.5, 2.5), Estimate(0.8, 0.7, 0.9), Estimate(1.1, 0.9, 1.3)


@pytest.mark.parametrize(
    ("speedups", "expected"),
    [
        ([FASTER, FASTER], (2, None)),
        ([FASTER, SLOWER, FASTER], (1, 2)),
        ([FASTER, OPEN], (1, 2)),  # an interval that reaches 1 shows nothing
        ([SLOWER, FASTER], (None, 1)),
        ([Estimate(1.2), Estimate(1.0)], (1, 2)),  # without intervals, the numbers themselves
        ([], (None, None)),
    ],
)
def test_the_break_even_lies_before_the_first_that_is_not_faster(speedups, expected):
    assert bracket(list(enumerate(speedups, 1))) == expected


def test_what_no_record_says_is_not_measured():
    text = break_even_section()
    assert text.count("not measured") == 2
    assert "`spion-bench run --profile kernels`" in text
    assert "`spion-bench run --profile scaling`" in text
