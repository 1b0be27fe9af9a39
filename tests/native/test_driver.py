"""The kernels' standalone driver builds and runs; ``nox -s sanitize`` runs it under sanitizers."""

import subprocess

import pytest

from spion_bench.native import build
from tests.native import sanitize


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return sanitize.build(tmp_path_factory.mktemp("driver"))


def run(driver, *names):
    return subprocess.run([driver, *names], capture_output=True, text=True, check=False)


@pytest.mark.slow  # builds the driver
def test_portable_kernels_pass(driver):
    done = run(driver, "portable")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "portable maps and conversions: 88 comparisons" in lines[-2]
    assert lines[-1] == "all right"


@pytest.mark.slow
@pytest.mark.parametrize("names", [["sse9"], ["portable", "sse9"]])
def test_refuses_an_unknown_instruction_set(driver, names):
    done = run(driver, *names)
    assert done.returncode == 2
    assert done.stderr == "SET: expected portable, wide, avx2 or avx512, got sse9\n"


def test_is_compiled_as_the_library_is():
    # Except for the level of optimisation, and for OpenMP, whose runtime sanitizers do not know.
    assert {*sanitize.LANGUAGE_FLAGS} == {*build.CXX_FLAGS} - {"-O3", "-fopenmp"}


@pytest.mark.parametrize(
    ("compiler", "message"),
    [("no-such-compiler", "'no-such-compiler' was not found"), ("false", "`false .*` failed")],
)
def test_says_why_it_cannot_be_built(compiler, message, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(RuntimeError, match=message):
        sanitize.build(tmp_path)


def test_refuses_an_unknown_sanitizer():
    with pytest.raises(SystemExit, match="no such sanitizer: memory"):
        sanitize.main(["memory"])
