from collections import Counter
from types import SimpleNamespace

import pytest
from torch.profiler import ProfilerActivity, profile

from spion_bench.passes.breakdown import BACKWARD, PREFIX, BreakdownSession, parts_of
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.passes.subject import prepare_subject
from spion_bench.suite.metrics import PARTS, part_metric
from tests.cells import ignore, measure, tiny_job


def event(name, start, ms, sequence=-1, parent=None):
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start),
        cpu_time_total=ms * 1e3,
        sequence_nr=sequence,
        cpu_parent=parent,
    )


def test_backward_operators_belong_to_the_part_of_their_forward_operator():
    norms, attention = event(f"{PREFIX}norms", 0, 1.0), event(f"{PREFIX}attention", 10, 4.0)
    events = [
        norms,
        event("aten::native_layer_norm", 1, 0.9, 5, norms),
        attention,
        event("aten::empty", 11, 0.1, 7, attention),  # records nothing: 7 is the next operator's
        event("aten::bmm", 12, 3.0, 6, attention),
        event("aten::gelu", 20, 2.0, 7),
        event(f"{BACKWARD}GeluBackward0", 30, 2.5, 7),
        event(f"{BACKWARD}BmmBackward0", 31, 8.0, 6),
        event(f"{BACKWARD}NativeLayerNormBackward0", 32, 1.5, 5),
        event(f"{BACKWARD}torch::autograd::AccumulateGrad", 33, 0.5),
        event("Optimizer.step#AdamW.step", 40, 3.0),
    ]
    found = parts_of(events, 30.0)
    assert found == pytest.approx(
        {
            "attention": 12.0,
            "projections": 0.0,
            "feed_forward": 4.5,
            "norms": 2.5,
            "embedding": 0.0,
            "optimiser": 3.0,
            "other": 8.0,
        }
    )


@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf", "linformer"])
def test_the_parts_of_a_real_step_are_all_found(tmp_path, method):
    session = BreakdownSession(tiny_job(tmp_path, "speed", method), ignore)
    found = measure(session).metrics
    assert found.keys() == {part_metric(part) for part in PARTS}
    assert all(metric.value > 0 for metric in found.values())
    assert all(len(metric.samples) == 5 for metric in found.values())
    assert not session._step.model._forward_hooks


def operators(tmp_path, method):
    """Return how often each operator ran in a step of two layers, without those of memory."""
    step = TrainingStep(prepare_subject(tiny_job(tmp_path, "speed", method, model={"layers": 2})))
    with profile(activities=[ProfilerActivity.CPU]) as run:
        step.run()
    names = Counter(event.name for event in run.events())
    whole = {"aten::copy_", "aten::cat", "aten::addmm", "aten::mm", "aten::_fused_adamw_"}
    return {
        name: n for name, n in names.items() if name in whole or name.startswith("spion_bench::")
    }


def test_a_step_of_spion_is_one_without_attention_two_kernels_and_a_copy_in_each_layer(tmp_path):
    floor, spion = (operators(tmp_path, method) for method in ("no_attention", "spion_cf"))
    assert floor["aten::cat"] == 2  # gradients of q, k and v
    assert floor["aten::_fused_adamw_"] == 1
    kernels = {"spion_bench::block_attention_forward", "spion_bench::block_attention_backward"}
    added = {**dict.fromkeys(kernels, 2), "aten::copy_": floor["aten::copy_"] + 2}
    assert spion == {**floor, **added}


def test_fused_dense_attention_adds_no_copy(tmp_path):
    floor, dense = (operators(tmp_path, method) for method in ("no_attention", "dense_sdpa"))
    assert dense == floor
