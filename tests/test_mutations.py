"""The list of seeded bugs stays true to the sources; ``nox -s mutations`` tries them out."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutations.__main__ import CAUGHT, judge
from tests.mutations.catalogue import read_mutations

ROOT = Path(__file__).resolve().parents[1]
MUTATIONS = read_mutations()


def test_names_are_unique():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 14


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_changes_a_text_that_occurs_once(mutation):
    assert mutation.occurrences(ROOT) == 1
    assert mutation.replace != mutation.find


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_names_tests_that_exist(mutation):
    assert mutation.tests
    for test in mutation.tests:
        file, _, function = test.partition("::")
        assert f"\ndef {function}(" in (ROOT / file).read_text(encoding="utf-8")


def test_applies_to_a_copy_and_returns_the_original(tmp_path):
    mutation = replace(MUTATIONS[0], file="tile.h", find="a + b", replace="a - b")
    source = tmp_path / "tile.h"
    source.write_text("return a + b;\n", encoding="utf-8")
    assert mutation.apply(tmp_path) == "return a + b;\n"
    assert source.read_text(encoding="utf-8") == "return a - b;\n"


@pytest.mark.parametrize(("text", "times"), [("nothing", 0), ("a + b + a + b", 2)])
def test_refuses_a_text_that_is_absent_or_ambiguous(text, times, tmp_path):
    mutation = replace(MUTATIONS[0], file="tile.h", find="a + b", replace="a - b")
    source = tmp_path / "tile.h"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"expected its text exactly once in tile.h.*{times}"):
        mutation.apply(tmp_path)
    assert source.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("returncode", "output", "verdict", "detail"),
    [
        (0, "3 passed", "survived", "all its tests passed"),
        (1, "FAILED a.py::test_b[c] - AssertionError: dk\n1 failed", CAUGHT, "a.py::test_b[c]"),
        (1, "ERROR a.py::test_b - fixture\n1 error", "tests broke", "pytest ended with 1"),
        (2, "ERROR a.py\nInterrupted", "tests broke", "pytest ended with 2"),
        (5, "no tests ran", "tests broke", "pytest ended with 5"),
        (-signal.SIGSEGV, "", CAUGHT, "the test process died of SIGSEGV"),
    ],
)
def test_only_failing_tests_count_as_caught(returncode, output, verdict, detail):
    got, reason = judge(returncode, output)
    assert got == verdict
    assert reason.startswith(detail)
