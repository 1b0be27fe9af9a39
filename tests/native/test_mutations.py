"""The list of seeded bugs stays true to the sources; ``nox -s mutations`` tries them out."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.native.mutations.__main__ import CAUGHT, judge
from tests.native.mutations.catalogue import read_mutations
from tests.native.mutations.libraries import LIBRARIES, runtime

ROOT = Path(__file__).resolve().parents[2]
MUTATIONS = read_mutations()


def test_names_are_unique():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize(("folder", "least"), [("csrc/cpu/", 14), ("csrc/cuda/", 24)])
def test_either_kind_of_kernels_has_enough(folder, least):
    assert sum(mutation.file.startswith(folder) for mutation in MUTATIONS) >= least


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_is_built_into_a_library_that_holds_the_file(mutation):
    library = LIBRARIES[mutation.library]
    patterns = (*library.wanted.compiled, *library.wanted.included)
    assert any(Path(mutation.file).match(f"csrc/{pattern}") for pattern in patterns)


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_compiles_files_that_exist(name):
    for pattern in LIBRARIES[name].compiled.compiled:
        assert list((ROOT / "csrc").glob(pattern)), pattern


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_changes_a_text_that_occurs_once(mutation):
    assert mutation.occurrences(ROOT) == 1
    assert mutation.replace != mutation.find


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_names_tests_that_exist(mutation):
    assert mutation.tests
    for test in mutation.tests:
        file, _, function = test.partition("[")[0].partition("::")
        assert f"\ndef {function}(" in (ROOT / file).read_text(encoding="utf-8")


def test_says_that_a_compiler_has_no_sanitizers():
    with pytest.raises(RuntimeError, match=r"has no libno-such\.so; set CXX to a g\+\+"):
        runtime("libno-such.so")


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


RACE = "..emulator: block (0, 0) warp 1 lane 0 at tile.cuh:9: race on shared byte 0: written\n"


@pytest.mark.parametrize(
    ("returncode", "output", "message", "verdict"),
    [
        (-signal.SIGABRT, RACE, "race on shared byte", CAUGHT),
        (-signal.SIGABRT, RACE, "divergence", "wrong message"),
        (1, "FAILED a.py::test_b - AssertionError: dk\n1 failed", "race", "wrong message"),
        (1, f"FAILED a.py::test_b - {RACE}", "race", "wrong message"),
        (0, "3 passed", "race", "survived"),
    ],
)
def test_a_message_says_who_has_to_notice(returncode, output, message, verdict):
    got, reason = judge(returncode, output, message)
    assert got == verdict
    assert got != CAUGHT or reason == f"the test process died of SIGABRT: {RACE.strip()[2:]}"
