import numpy as np

from spion_bench.passes.speed import SpeedSession
from spion_bench.passes.subject import prepare_subject
from spion_bench.records import Measurement
from tests.cells import ignore, tiny_job


def test_a_worker_holds_few_examples_and_describes_all(tmp_path):
    job = tiny_job(tmp_path, "speed", "spion_cf")
    session = SpeedSession(job, ignore)
    task = session._subject.task
    whole = prepare_subject(job).task.train
    places = [np.flatnonzero((whole.inputs == row).all(axis=1)) for row in task.train.inputs]
    assert len(task.train) == job.cell.settings.measure.batch_size < len(whole)
    assert (len(task.dev), len(task.test)) == (0, 0)
    assert len({int(found[0]) for found in places}) == len(task.train)
    for row, found in zip(task.train.labels, places, strict=True):
        assert row == whole.labels[found[0]]
    assert task.train.inputs.base is None  # a view would hold them all
    assert session.describe().task.n_train == len(whole)


def test_a_session_keeps_every_sample(tmp_path):
    session = SpeedSession(tiny_job(tmp_path, "speed", "spion_cf"), ignore)
    assert session.check().reason is None
    for _ in range(4):
        session.measure()
        assert session.rounds.last().keys() == {"train_step_ms", "forward_ms", "attention_ms"}
    session.rounds.forget_last()  # as when a disturbed round is taken again
    found = session.result()
    for name in ("train_step_ms", "forward_ms", "attention_ms"):
        assert len(found.metrics[name].samples) == 6
        assert found.metrics[name].round_sizes == [2, 2, 2]
        assert found.metrics[name].low <= found.metrics[name].value
    assert found.metrics["attention_flops_per_step"].modelled
    assert found.pattern.nnzb == [15]
    assert Measurement.model_validate_json(found.model_dump_json()) == found
