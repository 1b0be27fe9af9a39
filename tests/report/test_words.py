import pytest

from spion_bench.report.words import (
    format_error,
    format_percent,
    format_quantity,
    join_words,
    plural,
)

SPACE = "\u202f"
MINUS = "\u2212"
TIMES = "\u00d7"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12.345, "ms", "12.3 ms"),
        (0.0209, "ms", "20.9 µs"),
        (1264.0, "ms", "1.26 s"),
        pytest.param(999.9, "ms", "1.00 s", id="rounding moves to the next prefix"),
        (0.031, "s", "31.0 ms"),
        (7.95, "s", "7.95 s"),
        (142e6, "bytes", "142 MB"),
        (512, "bytes", "512 B"),
        (3.7e9, "FLOP", "3.70 GFLOP"),
        (41.2, "GFLOP/s", "41.2 GFLOP/s"),
        (0.9342, "ratio", "93.4 %"),
        (-0.0117, "points", f"{MINUS}1.2 points"),
        (0.0117, "points", "+1.2 points"),
        pytest.param(-0.0001, "points", "0.0 points", id="no minus zero"),
        (1.8765, "times", f"1.88{TIMES}"),
        (152.2, "times", f"152{TIMES}"),
        (136842, "count", f"136{SPACE}842"),
        (2.281, "nat", "2.28 nat"),
        (0, "ms", "0 s"),
        (float("nan"), "ms", "NaN"),
        (float("inf"), "bytes", "infinite"),
        (float("-inf"), "times", f"{MINUS}infinite"),
        (float("nan"), "count", "NaN"),
    ],
)
def test_numbers_have_three_digits_and_an_si_unit(value, unit, text):
    assert format_quantity(value, unit)[0].replace(SPACE, " ") == text.replace(SPACE, " ")


@pytest.mark.parametrize(
    ("numbers", "unit", "interval"),
    [
        ((12.34, 11.9, 13.04), "ms", "[11.9, 13.0]"),
        ((0.934, 0.9, 1.0), "ratio", "[90.0, 100.0]"),
        ((1.25, 0.07, 45.395), "times", "[0.07, 45.4]"),
        ((-0.012, -0.017, -0.007), "points", f"[{MINUS}1.7, {MINUS}0.7]"),
    ],
)
def test_interval_shares_unit_and_decimals(numbers, unit, interval):
    assert format_quantity(numbers[0], unit, *numbers[1:])[1].replace("\u00a0", " ") == interval


def test_no_interval_without_both_ends():
    assert format_quantity(1.0, "ms", 0.9, None) == (f"1.00{SPACE}ms", "")
    assert format_quantity(1.0, "ms", 0.9, float("nan")) == (f"1.00{SPACE}ms", "")


def test_small_formats():
    assert format_percent(0.0571) == f"5.7{SPACE}%"
    assert format_error(2.14e-7) == f"2.1{TIMES}10⁻⁷"
    assert format_error(0.0) == "0 (exact)"
    assert [format_error(float(text)) for text in ("nan", "inf")] == ["NaN", "infinite"]
    assert [plural(1, "cell"), plural(0, "cell"), plural(1200, "cell")] == [
        "1 cell",
        "0 cells",
        f"1{SPACE}200 cells",
    ]
    assert [join_words(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
