"""A whole SPION training run on the CUDA kernels, with the emulator in a GPU's place."""

import numpy as np
import pytest

from spion_bench.native import library
from tests.emulation.pipeline_cases import CASES, emulated
from tests.ops.cases import IMPLEMENTATIONS
from tests.ops.oracle import check_compiled
from tests.train.tiny import losses, run, tiny_settings, tiny_task

LENGTH = 64
SETTINGS = {"max_length": LENGTH, "block_size": 16, "head_dim": 32, "steps": 10}


# What a pruned score means and how a pattern is made know nothing of each other.
@pytest.mark.parametrize(
    ("method", "pruned"), [("spion_c", "minus_inf"), ("spion_cf", "zero_logit")]
)
def test_losses_follow_those_of_the_cpu_kernels(tmp_path, monkeypatch, method, pruned):
    settings, task = tiny_settings(pruned=pruned, **SETTINGS), tiny_task(length=LENGTH)
    expected = run(method, tmp_path / "cpu", settings, task)
    used = set()
    operator = library.operator
    monkeypatch.setattr(library, "operator", lambda name: (used.add(name), operator(name))[1])
    with library.use_backend("emulated"):
        found = run(method, tmp_path / "emulated", settings, task)

    assert found.transition == expected.transition
    assert found.transition.is_spion
    assert found.patterns == expected.patterns
    dense = found.transition.step
    assert losses(found)[:dense] == losses(expected)[:dense]  # dense attention is torch's own
    np.testing.assert_allclose(losses(found), losses(expected), rtol=1e-4)
    assert used >= {"attention_map", "average_pool", "block_attention_forward"}
    assert used <= set(library.OPERATORS)
    assert found.test_correct.shape == expected.test_correct.shape


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_compiled_layer_computes_the_same(implementation):
    emulated(check_compiled, CASES["block_16"], implementation, "aot_eager")
