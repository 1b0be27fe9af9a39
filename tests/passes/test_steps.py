import pytest

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes import steps as steps_module
from spion_bench.passes.step.training_step import NonFiniteStepError, TrainingStep
from spion_bench.passes.steps import StepsSession
from tests.cells import ignore, measure, tiny_job


def session_of(tmp_path, method="spion_cf"):
    return StepsSession(tiny_job(tmp_path, "steps", method), ignore)


@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf", "reformer"])
def test_gate_and_two_steps(tmp_path, method):
    session = session_of(tmp_path, method)
    assert session.check().reason is None
    found = measure(session)
    assert found.status == "ok"
    assert 0 < found.metrics["final_train_loss"].value < 10
    assert found.isolation == "warm"
    assert (found.pattern is not None) == (method == "spion_cf")


def test_the_loss_of_the_second_step_is_recorded(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0])
    monkeypatch.setattr(TrainingStep, "run", lambda self: next(losses))
    assert measure(session_of(tmp_path)).metrics["final_train_loss"].value == 2.0
    assert next(losses, None) is None


def test_a_method_that_cannot_train_here_has_its_forward_pass_checked(tmp_path, monkeypatch):
    def refuse(*_):
        raise UnsupportedError("has no backward pass on cpu")

    monkeypatch.setattr(steps_module, "check_training", refuse)
    session = session_of(tmp_path)
    assert session.check().errors
    found = measure(session)
    assert found.status == "unsupported"
    assert found.reason == "has no backward pass on cpu; its forward pass passed the gate"
    assert found.metrics == {}


def test_a_loss_that_is_not_finite_is_an_error(tmp_path, monkeypatch):
    def explode(self):
        raise NonFiniteStepError("the loss is not finite")

    monkeypatch.setattr(TrainingStep, "run", explode)
    with pytest.raises(NonFiniteStepError):
        measure(session_of(tmp_path))
