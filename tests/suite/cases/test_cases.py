import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite.cases import CASES, find_case
from spion_bench.suite.cases.case import attention_flops
from spion_bench.suite.implementations import IMPLEMENTATIONS


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_case_is_complete(case):
    assert CASES[case.name] is case
    assert case.length % case.block_size == 0
    assert set(case.implementations) <= IMPLEMENTATIONS.keys()
    assert case.reason


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_cell_states_the_case(case):
    fields = case.cell_fields()
    assert (fields["case"], fields["tasks"], fields["sweeps"]) == (
        case.name,
        case.tasks,
        case.sweeps,
    )
    shape = fields["shape"]
    assert (shape.length, shape.nb) == (case.length, case.nb)
    assert (fields["pattern"] is None) is (shape.n_blocks is None) is (not case.has_pattern)
    if case.has_pattern:
        assert shape.n_blocks == case.n_blocks


def test_headline_case_keeps_about_four_percent():
    case = find_case("attention_4096")
    assert (case.length, case.head_dim, case.block_size) == (4096, 32, 64)
    assert case.n_blocks == 164
    assert case.n_blocks / case.nb**2 == pytest.approx(0.04, abs=5e-4)


def test_pattern_case_has_no_given_pattern():
    with pytest.raises(ValueError, match="pattern_256 has no given pattern"):
        _ = find_case("pattern_256").n_blocks


def test_unknown_case_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'attention_4096'"):
        find_case("atention_4096")


def test_flops_count_seven_products_of_two_operations_per_score():
    shape = {"batch": 2, "heads": 3, "head_dim": 5, "scores": 7}
    forward = attention_flops(**shape, backward=False)
    assert forward == 2 * (2 * 5) * (2 * 3 * 7)
    assert attention_flops(**shape, backward=True) == 7 * (2 * 5) * (2 * 3 * 7)
