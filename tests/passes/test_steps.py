import pytest

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes import steps as steps_pass
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.steps import run_steps
from spion_bench.passes.subject import Subject
from spion_bench.passes.training_step import NonFiniteStepError, TrainingStep
from tests.cells import method_job


def steps_job(tmp_path, method="spion_cf"):
    job = method_job(tmp_path, "speed", method)
    return job.model_copy(update={"cell": job.cell.model_copy(update={"pass_name": "steps"})})


@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf", "reformer"])
def test_gate_and_two_steps(tmp_path, method):
    outcome = run_steps(steps_job(tmp_path, method))
    assert outcome.status == "ok"
    assert outcome.gate_errors
    assert 0 < outcome.metrics["final_train_loss"].value < 10
    assert outcome.settings == {"batch_size": 2, "steps": 2, "isolation": "warm"}
    assert (outcome.pattern is not None) == (method == "spion_cf")


def test_the_loss_of_the_second_step_is_told(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0])
    monkeypatch.setattr(TrainingStep, "run", lambda self: next(losses))
    assert run_steps(steps_job(tmp_path)).metrics["final_train_loss"].value == 2.0
    assert next(losses, None) is None


def test_no_step_behind_a_closed_gate(tmp_path, monkeypatch):
    monkeypatch.setattr(Subject, "check", lambda self: GateResult({"out": 1.0}, "out is off"))
    monkeypatch.delattr(steps_pass, "TrainingStep")
    outcome = run_steps(steps_job(tmp_path))
    assert (outcome.status, outcome.reason) == ("gate_failed", "out is off")
    assert outcome.gate_errors == {"out": 1.0}


def test_a_method_that_cannot_train_here_has_its_forward_pass_checked(tmp_path, monkeypatch):
    def refuse(*_):
        raise UnsupportedError("has no backward pass on cpu")

    monkeypatch.setattr(steps_pass, "check_training", refuse)
    outcome = run_steps(steps_job(tmp_path))
    assert outcome.status == "unsupported"
    assert outcome.reason == "has no backward pass on cpu; its forward pass passed the gate"
    assert outcome.gate_errors
    assert outcome.metrics == {}


def test_a_loss_that_is_not_finite_is_an_error(tmp_path, monkeypatch):
    def explode(self):
        raise NonFiniteStepError("the loss is not finite")

    monkeypatch.setattr(TrainingStep, "run", explode)
    with pytest.raises(NonFiniteStepError):
        run_steps(steps_job(tmp_path))
