from dataclasses import replace

import pytest

from spion_bench.suite.cases import CASES
from spion_bench.suite.cases.case import attention_flops
from spion_bench.suite.cases.limits import LONGEST_CALL_FLOP
from spion_bench.suite.cases.limits import refusal as refusal_of
from spion_bench.suite.cases.sweeps import BASE, SWEEP_CASES
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import load_profile

FACTORS = {
    "length": ("length",),
    "head_dim": ("head_dim",),
    "block_size": ("block_size",),
    "density": ("density",),
    "heads": ("heads",),
    "threads": ("threads",),
}
NOT_COMPARED = {"name", "sweeps", "implementations", "reason"}


def refusal(case, name, **machine):
    return refusal_of(case, find_implementation(name), **machine)


@pytest.mark.parametrize("sweep", FACTORS)
def test_a_sweep_changes_one_factor_of_the_base_case(sweep):
    for case in SWEEP_CASES:
        if sweep in case.sweeps and case is not BASE:
            changed = {
                name
                for name, value in vars(case).items()
                if name not in NOT_COMPARED and value != getattr(BASE, name)
            }
            assert changed == set(FACTORS[sweep]), case.name


def test_the_sweeps_span_what_the_suite_promises():
    def values(sweep, factor):
        return sorted(getattr(case, factor) for case in SWEEP_CASES if sweep in case.sweeps)

    assert values("length", "length") == [1024, 2048, 4096, 8192, 16384, 32768]
    assert values("head_dim", "head_dim") == [16, 32, 64, 80, 128]
    assert values("block_size", "block_size") == [8, 16, 32, 64, 128]
    assert values("heads", "heads") == [1, 2, 8, 16]


def test_a_band_keeps_three_blocks_per_row_but_at_the_ends():
    case = CASES["sweep_band_D32_b32"]
    assert (case.nb, case.n_blocks, case.has_pattern) == (128, 3 * 128 - 2, True)


def test_the_window_is_as_dense_as_the_pattern():
    tokens = BASE.window + 1
    assert tokens / BASE.length == pytest.approx(BASE.n_blocks / BASE.nb**2, abs=1 / BASE.length)


def test_the_profile_measures_every_sweep_case_and_implementation_once():
    cells = expand(load_profile("kernels"), Machine("cpu", threads=3))
    planned = sorted((cell.case, cell.method.name) for cell in cells)
    assert planned == sorted((c.name, i) for c in SWEEP_CASES for i in c.implementations)
    threads = {cell.case: cell.threads for cell in cells}
    assert (threads["sweep_threads1"], threads["sweep_base"]) == (1, 3)
    memory = {cell.case for cell in cells if cell.measures == "memory"}
    assert memory == {c.name for c in SWEEP_CASES if "memory" in c.sweeps}


def test_dense_attention_is_left_out_where_a_call_takes_long():
    assert refusal(BASE, "dense_sdpa", cores=2) is None
    refused = refusal(replace(BASE, length=32768), "dense_sdpa", cores=2)
    assert refused.is_final
    assert refused.reason.startswith("one call would be 7.70 TFLOP (modelled)")
    flops = attention_flops(batch=1, heads=8, head_dim=64, scores=32768**2, backward=True)
    assert f"{flops / 1e12:.2f}" == "7.70"
    assert flops > LONGEST_CALL_FLOP
    assert refusal(replace(BASE, length=32768), "block_attention", cores=2) is None


def test_a_forward_pass_may_be_longer_than_a_training_pass():
    case = replace(BASE, length=6144)
    assert refusal(case, "dense_sdpa_forward", cores=2) is None
    longer = replace(BASE, length=8192)
    assert refusal(longer, "dense_sdpa", cores=2) is not None
    assert refusal(longer, "dense_sdpa_forward", cores=2) is None


@pytest.mark.parametrize("name", ["dense_eager", "pipeline", "sliding_window"])
def test_implementations_that_store_scores_have_a_memory_limit(name):
    refused = refusal(replace(BASE, length=32768), name, cores=2)
    assert refused.reason.startswith("its stored scores would take")
    assert refused.is_final
    assert refusal(BASE, name, cores=2) is None


def test_a_case_of_a_gpu_needs_one_and_has_no_limits_of_the_cpu():
    case = CASES["gpu_listops_16bit"]
    refused = refusal(case, "dense_sdpa", cores=2, device="cuda")
    assert refused.reason.startswith("no GPU")
    assert not refused.is_final  # with a GPU it would be measured
    assert refusal(case, "dense_sdpa", cores=2, device="cuda", gpu="Some GPU") is None


def test_a_case_needs_its_threads():
    case = CASES["sweep_threads4"]
    refused = refusal(case, "sgemm", cores=2)
    assert refused == ("the case needs 4 threads, this machine has 2 cores", False)
    assert refusal(case, "sgemm", cores=4) is None
