import pytest

from spion_bench.measure.energy import EnergyError, Used
from spion_bench.model.attention import UnavailableError
from spion_bench.passes import energy
from spion_bench.passes.energy import EnergySession
from spion_bench.records import Measurement
from tests.cells import ignore, tiny_job


class Meter:
    method = "a made-up counter"


@pytest.fixture
def session(tmp_path, monkeypatch):
    asked = []

    def used(call, meter, *, seconds):
        call()
        asked.append(seconds)
        return Used(count=4, seconds=8.0, joules={"main": 40.0, "dram": 2.0})

    monkeypatch.setattr(energy, "energy_meter", lambda device: Meter())
    monkeypatch.setattr(energy, "measure_energy", used)
    job = tiny_job(tmp_path, "energy", passes=("energy",))
    session = EnergySession(job, ignore)
    session.asked, session.batch_size = asked, job.cell.batch_size
    return session


def test_joules_are_those_of_a_step_and_of_a_sequence(session):
    assert session.check().reason is None
    for _ in range(3):
        session.measure()
    session.rounds.forget_last()
    found = session.result()
    values = {name: (metric.value, metric.unit) for name, metric in found.metrics.items()}
    assert values == {
        "step_joules": (10.0, "J"),
        "sequence_joules": (10.0 / session.batch_size, "J"),
        "step_dram_joules": (0.5, "J"),
        "power_w": (5.0, "W"),
    }
    assert found.metrics["step_joules"].round_sizes == [1, 1]
    assert session.asked == [5.0] * 3  # the profile's rounds are shorter
    assert found.energy_method == "a made-up counter"
    assert Measurement.model_validate_json(found.model_dump_json()) == found


def test_without_a_counter_the_cell_is_unavailable_before_anything_is_loaded(tmp_path, monkeypatch):
    def refuse(device):
        raise EnergyError("no counter here")

    monkeypatch.setattr(energy, "energy_meter", refuse)
    monkeypatch.setattr("spion_bench.passes.task_session.prepare_subject", refuse)
    job = tiny_job(tmp_path, "energy", passes=("energy",))
    with pytest.raises(UnavailableError, match="no counter here"):
        EnergySession(job, ignore)


def test_a_counter_that_fails_meanwhile_makes_the_cell_unavailable(session, monkeypatch):
    def refuse(call, meter, *, seconds):
        raise EnergyError("GPU is lost")

    monkeypatch.setattr(energy, "measure_energy", refuse)
    with pytest.raises(UnavailableError, match="GPU is lost"):
        session.measure()
