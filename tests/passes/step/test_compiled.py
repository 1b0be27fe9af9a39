import pytest
import torch

from spion_bench.model.attention import Attention, UnavailableError, UnsupportedError
from spion_bench.passes import attention as attention_module
from spion_bench.passes.gate.session import GateSession
from spion_bench.passes.memory import MemorySession
from spion_bench.passes.speed import SpeedSession
from spion_bench.passes.step import compiled as compiled_module
from spion_bench.passes.step.compiled import check_compiled, compile_encoder
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.passes.subject import prepare_subject
from tests.cells import measure, tiny_job

MODEL = {"layers": 1, "dropout": 0.1}


def job(tmp_path, pass_name="speed", method="spion_cf", **changes):
    asked = {"compile": "default", "passes": ("speed", "memory"), "model": MODEL, **changes}
    return tiny_job(tmp_path, pass_name, method, **asked)


@pytest.fixture
def backend(monkeypatch):
    """Compile by tracing alone, and count the graphs."""

    def trace(graph, inputs):
        trace.graphs += 1
        return graph.forward

    trace.graphs = 0
    torch.compiler.reset()
    monkeypatch.setattr(compiled_module, "BACKEND", trace)
    monkeypatch.setattr(compile_encoder, "__defaults__", (trace,))
    monkeypatch.setattr(check_compiled, "__defaults__", (trace,))
    return trace


def test_steps_of_any_seed_run_one_graph_and_compute_the_same(tmp_path, backend):
    step = TrainingStep(prepare_subject(job(tmp_path)))
    plain = TrainingStep(prepare_subject(job(tmp_path, compile="none")))
    made = backend.graphs
    assert made == 2  # with and without gradients
    assert plain.compile_metrics() == {}
    assert step.compile_metrics()["compile_s"].value > 0
    for seed in range(3):
        losses = []
        for each in (step, plain):
            torch.manual_seed(seed)
            losses.append(each.run())
        assert losses[0] == losses[1]
    step.run_forward()
    assert backend.graphs == made


def test_compiling_changes_no_weight_and_leaves_no_gradient(tmp_path, backend):
    step = TrainingStep(prepare_subject(job(tmp_path)))
    plain = TrainingStep(prepare_subject(job(tmp_path, compile="none")))
    ours, theirs = step.model.state_dict(), plain.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_the_gate_holds_the_compiled_model_to_the_uncompiled_one(tmp_path, backend):
    result = GateSession(job(tmp_path, "gate"), print).check()
    assert result.reason is None
    found = {error.name for error in result.errors}
    assert found == {"out", "dq", "dk", "dv", "compiled_logits", "compiled_gradients"}


def test_a_compiled_model_that_is_off_fails_the_gate(tmp_path):
    def wrong(graph, inputs):
        return lambda *arguments: tuple(1.001 * out for out in graph.forward(*arguments))

    torch.compiler.reset()
    result = check_compiled(prepare_subject(job(tmp_path)), wrong)
    assert "compiled_logits is off" in result.reason
    assert "compiled_gradients is off" in result.reason


def test_what_is_not_one_graph_is_unsupported(tmp_path, backend, monkeypatch):
    class Breaks(Attention):
        def forward(self, q, k, v, key_padding_mask=None):
            torch._dynamo.graph_break()
            return v

    monkeypatch.setattr(attention_module, "load_object", lambda name: Breaks)
    with pytest.raises(UnsupportedError, match=r"torch.compile: the encoder is not one graph: \S"):
        SpeedSession(job(tmp_path, method="dense_sdpa"), print)


def test_a_failure_of_the_compiler_is_unavailable(tmp_path):
    def fails(graph, inputs):
        raise RuntimeError("no compiler here\nat some length")

    torch.compiler.reset()
    model = TrainingStep(prepare_subject(job(tmp_path, compile="none"))).model
    with pytest.raises(UnavailableError) as found:
        compile_encoder(model, lambda: model(torch.zeros(1, 256, dtype=torch.int64)), fails)
    expected = "torch.compile: compiling the encoder failed: RuntimeError: no compiler here"
    assert str(found.value) == expected


def test_a_method_without_float64_cannot_be_checked_compiled(tmp_path, backend, monkeypatch):
    subject = prepare_subject(job(tmp_path))
    single = subject.example.capabilities.__class__(dtypes=(torch.float32,))
    monkeypatch.setattr(type(subject.example), "capabilities", single)
    with pytest.raises(UnsupportedError, match="is not computed in float64"):
        check_compiled(subject)


def test_attention_alone_is_no_metric_of_a_compiled_encoder(tmp_path, backend):
    found = measure(SpeedSession(job(tmp_path), print)).metrics
    assert {"train_step_ms", "forward_ms", "compile_s"} <= found.keys()
    assert "attention_ms" not in found
    assert "compile_s" in measure(MemorySession(job(tmp_path, "memory"), print)).metrics


# The whole way of real compilation, for methods of every kind of operator.
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # both within torch's compiler
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    "method",
    [
        "spion_cf",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("dense_sdpa", "no_attention", "longformer@matched", "linformer")
        ),
    ],
)
def test_real_compilation_is_within_rounding(tmp_path, method):
    torch.compiler.reset()
    result = check_compiled(prepare_subject(job(tmp_path, method=method)))
    assert result.reason is None
    assert len(result.errors) == 2
