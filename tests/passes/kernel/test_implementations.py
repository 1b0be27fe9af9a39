from dataclasses import replace

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import attention_map
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.kernel import implementations, operators
from spion_bench.passes.kernel.attention import case_pattern
from spion_bench.passes.kernel.prepared import case_inputs, case_map
from spion_bench.passes.kernel.session import KernelSession
from spion_bench.pattern.generate import generate_pattern
from spion_bench.suite.cases import CASES, find_case
from spion_bench.suite.implementations import IMPLEMENTATIONS, find_implementation
from spion_bench.suite.methods import PEERS
from tests.passes.kernel.jobs import kernel_job, on_progress

ATTENTION, PATTERN = find_case("attention_256"), find_case("pattern_256")
SMALL = {"attention": replace(ATTENTION, length=128), "pattern": PATTERN}
UNCOMPILED = sorted(IMPLEMENTATIONS.keys() - {"flex", "flex_forward", "dense_xformers", *PEERS})


def prepare(name, case, seed):
    return implementations.prepare(find_implementation(name), case, seed)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_given_patterns_have_the_declared_number_of_blocks(case):
    if case.has_pattern:
        assert case_pattern(case).nnzb == case.n_blocks


@pytest.mark.parametrize("name", UNCOMPILED)
@pytest.mark.parametrize("measures", ["time", "passes"])
def test_the_calls_are_those_that_the_registry_states(name, measures, monkeypatch):
    monkeypatch.setattr(operators, "COPY_BYTES", 1024)
    implementation = find_implementation(name)
    case = replace(SMALL.get(implementation.operator, PATTERN), measures=measures)
    assert tuple(prepare(name, case, 0).calls) == implementation.calls(case)


def test_implementations_of_a_case_work_on_the_same_numbers():
    first, second = case_inputs(ATTENTION, 3), case_inputs(ATTENTION, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], case_inputs(ATTENTION, 4)[0])


def test_block_sparse_implementations_agree_and_dense_differs():
    outs = {
        name: prepare(name, ATTENTION, 0).calls["forward_ms"]()
        for name in ATTENTION.implementations
    }
    torch.testing.assert_close(outs["block_attention"], outs["pipeline"])
    assert not torch.allclose(outs["block_attention"], outs["dense_sdpa"], atol=1e-3)


@pytest.mark.parametrize("name", ATTENTION.implementations)
def test_forward_backward_gives_three_gradients(name):
    prepared = prepare(name, ATTENTION, 0)
    gradients = prepared.calls["forward_backward_ms"]()
    assert [g.shape for g in gradients] == [(1, 2, 256, 32)] * 3
    assert prepared.flops["forward_backward_ms"] == 14 * 32 * 2 * prepared.pattern.nnzb * 32**2


def test_the_given_map_looks_like_attention_probabilities():
    given = case_map(PATTERN, 0)
    torch.testing.assert_close(given.sum(dim=1), torch.ones(256))
    assert given.diagonal().mean() > 4 * given.mean()


def test_walks_agree_and_the_generated_pattern_holds_them():
    kept = prepare("python_walk", PATTERN, 0).calls["walk_ms"]()
    mask = prepare("flood_fill", PATTERN, 0).calls["walk_ms"]()
    assert {(int(r), int(c)) for r, c in mask.nonzero()} == kept
    pattern = prepare("generate_pattern", PATTERN, 0).calls["generate_pattern_ms"]()
    assert pattern == BlockPattern.from_mask(mask | torch.eye(8, dtype=torch.bool), 32)


@pytest.mark.parametrize("name", ["block_attention", "dense_sdpa"])
def test_attention_session(tmp_path, name):
    session = KernelSession(kernel_job(tmp_path, "attention_256", name), on_progress)
    assert session.check().reason is None
    session.measure()
    session.measure()
    outcome = session.result()
    assert outcome.status == "ok"
    assert len(outcome.metrics["forward_ms"].samples) == 4  # two rounds of two samples
    rate, time = outcome.metrics["flops_rate_gflops"], outcome.metrics["forward_backward_ms"]
    flops = 14 * 32 * 2 * outcome.pattern.nnzb[0] * 32**2
    assert rate.samples == pytest.approx([flops / (ms * 1e6) for ms in time.samples])
    assert outcome.gate_length == 256
    assert outcome.attention.exact
    assert (outcome.gpu, outcome.cuda_timing, outcome.memory_method) == (None, None, None)
    expected = "every block" if name == "dense_sdpa" else "synthetic band+stripes"
    assert outcome.pattern.source == expected


@pytest.mark.parametrize(
    ("name", "call", "rate"),
    [("sgemm", "matmul_ms", "flops_rate_gflops"), ("memory_copy", "copy_ms", "bandwidth")],
)
def test_limits_have_a_time_and_a_rate_and_no_gate(tmp_path, monkeypatch, name, call, rate):
    monkeypatch.setattr(operators, "SGEMM_SIDE", 32)
    monkeypatch.setattr(operators, "COPY_BYTES", 1024)
    session = KernelSession(kernel_job(tmp_path, "sweep_base", name), on_progress)
    assert session.check() == GateResult([], None)
    session.measure()
    outcome = session.result()
    metrics = outcome.metrics
    assert (outcome.attention, outcome.gate_length) == (None, None)
    assert outcome.extra in ({"side": 32}, {"copied_bytes": 1024})
    amount = {"sgemm": 2 * 32**3, "memory_copy": 2 * 1024}[name]
    assert metrics.keys() == {call, rate}
    assert metrics[rate].samples == pytest.approx(
        [amount / ms / 1e6 for ms in metrics[call].samples]
    )


def test_pattern_from_q_and_k_is_the_pattern_of_their_map():
    case = replace(PATTERN, heads=2)
    pattern = prepare("pattern_from_qk", case, 0).calls["pattern_from_qk_ms"]()
    q, k = case_inputs(case, 0)[:2]
    expected = generate_pattern(
        attention_map(q, k), variant="CF", block_size=32, quantile=operators.MAP_QUANTILE
    )
    assert pattern == expected


def test_forward_only_implementations_have_no_backward_call():
    assert prepare("dense_sdpa_forward", ATTENTION, 0).calls.keys() == {"forward_ms"}


def test_pattern_session_has_no_gate_and_no_pattern(tmp_path):
    session = KernelSession(kernel_job(tmp_path, "pattern_256", "flood_fill"), on_progress)
    assert session.check() == GateResult([], None)
    session.measure()
    outcome = session.result()
    assert outcome.metrics.keys() == {"walk_ms"}
    assert outcome.pattern is None
