"""The emulator on small kernels: right results, and every kind of misuse stops it."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Case of self_test.cpp -> what the message has to say.
MISUSE = {
    "lane_skips_a_shuffle": r"divergence(.|\n)*lane  5: __syncwarp(.|\n)*lane  6: shuffle_xor",
    "lane_returns_early": r"divergence(.|\n)*lane  7: returned from the kernel",
    "warp_skips_the_barrier": r"deadlock: warps returned(.|\n)*warp  1: returned",
    "warps_at_different_barriers": r"deadlock: warps wait at different barriers",
    "reads_past_the_end": r"out of bounds: 4 bytes at 256 of 256",
    "misaligned": r"misaligned shared access: 16 bytes at 8",
    "misaligned_global": r"misaligned global access",
    "reads_a_copy_in_flight": r"chunk in flight: cp.async to 0",
    "waits_for_too_few_groups": r"chunk in flight: cp.async to 16",
    "copies_twice": r"another copy is still in flight",
    "returns_with_a_copy": r"returned with cp.async copies under way",
    "copies_under_a_reader": r"race on shared byte 0: written after a read|chunk in flight",
    "no_barrier_between_warps": r"race on shared byte 0",
    "no_syncwarp_between_lanes": r"race on shared byte \d+: read after a write",
    "overwrites_what_others_read": r"race on shared byte 0: written after a read",
}


@pytest.fixture(scope="session")
def self_test(tmp_path_factory):
    """Build the program of small kernels once."""
    program = tmp_path_factory.mktemp("emulator") / "self_test"
    emulator = ROOT / "csrc" / "emulation"
    sources = [emulator / f"{name}.cpp" for name in ("emulator", "collectives", "shared_memory")]
    command = ["g++", "-O2", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run(
        [*command, ROOT / "tests" / "emulation" / "self_test.cpp", *sources, "-o", program],
        check=True,
    )
    return program


def run(program, case, **environment):
    return subprocess.run(
        [program, case],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=60,
    )


@pytest.mark.parametrize("seed", ["0", "1", "2"])
@pytest.mark.parametrize("case", ["product_f16", "product_bf16", "product_tf32", "well_ordered"])
def test_exact_results_in_any_order(case, seed, self_test):
    answer = run(self_test, case, EMU_SEED=seed)
    assert (answer.returncode, answer.stdout) == (0, "wrong 0\n"), answer.stderr


def test_softmax_by_shuffles(self_test):
    answer = run(self_test, "softmax")
    assert answer.returncode == 0
    assert float(answer.stdout.split()[1]) < 1e-6


def test_counts_products(self_test):
    answer = run(self_test, "speed")
    assert answer.returncode == 0
    assert re.match(r"mma 256000\nper CPU second [0-9.e+]+\n", answer.stdout)


@pytest.mark.parametrize(("counted", "conflicts"), [("0", 0), ("1", 33)])
def test_counts_bank_conflicts_of_loads_and_stores(counted, conflicts, self_test):
    answer = run(self_test, "bank_conflicts", EMU_BANKS=counted)
    assert answer.stdout == f"conflicts {conflicts}\n", answer.stderr


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_stops_with_a_message(case, self_test):
    answer = run(self_test, case)
    assert answer.returncode == -signal.SIGABRT, answer.stdout + answer.stderr
    assert re.search(MISUSE[case], answer.stderr), answer.stderr


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_races_show_in_any_order(seed, self_test):
    for case in ("no_barrier_between_warps", "overwrites_what_others_read"):
        answer = run(self_test, case, EMU_SEED=seed)
        assert "race on shared byte 0" in answer.stderr


def test_a_stack_overflow_hits_the_guard_page(self_test):
    assert run(self_test, "overflows_the_stack").returncode == -signal.SIGSEGV
