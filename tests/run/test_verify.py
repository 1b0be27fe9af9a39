"""Records of the tiny profile, measured again: as they are, and damaged in every way."""

import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.cli.run import environment_of
from spion_bench.records import Turn
from spion_bench.records.statistics import Estimate
from spion_bench.records.store import Store, open_stores
from spion_bench.run.agreement import Again, compare, is_near
from spion_bench.run.conduct import conduct
from spion_bench.run.executors.executor import OneByOne
from spion_bench.run.runner import Runner
from spion_bench.run.verify import damaged_artifacts, draw, why_not
from tests.cells import metric, record_of, tiny_cell, tiny_cells
from tests.run.fakes import FakeDisplay


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A prefix, an accuracy cell that continues it, a gate, and records of this machine."""
    store = Store(tmp_path_factory.mktemp("measured"))
    cells = [
        cell
        for cell in tiny_cells()
        if (cell.method.name == "spion_cf" and cell.pass_name in ("gate", "accuracy"))
        or cell.pass_name == "prefix"
    ]
    here = environment_of(cells[0])
    records = Runner(store, here, FakeDisplay(), executor=OneByOne(conduct)).run(cells)
    assert [record.measurement.status for record in records] == ["ok"] * 3
    return store.out


@pytest.fixture
def folder(measured, tmp_path):
    return shutil.copytree(measured, tmp_path / "records")


def change(folder, pass_name, edit):
    """Replace the record of a pass by ``edit`` of it."""
    records = [
        edit(record) if record.cell.pass_name == pass_name else record
        for record in Store(folder).records
    ]
    text = "".join(record.model_dump_json() + "\n" for record in records)
    (folder / "records.jsonl").write_text(text)


def verify(folder, *options):
    answer = CliRunner().invoke(main, ["verify", str(folder), *map(str, options)])
    return answer.exit_code, " ".join(answer.output.split())


@pytest.mark.slow
def test_what_was_measured_here_reproduces_to_the_bit(folder):
    before = (folder / "records.jsonl").read_bytes()
    code, said = verify(folder, "--sample", 9)
    assert "3 of 3 cells (seed 0): 3 reproduces" in said
    assert code == 0
    assert "artifacts, 0 damaged or missing" in said
    assert (folder / "records.jsonl").read_bytes() == before


def test_a_tampered_artifact_is_found_without_measuring(folder):
    name = next(
        name
        for r in Store(folder).records
        for name in r.measurement.artifacts
        if name.endswith(".npz")
    )
    with (folder / "artifacts" / name).open("ab") as file:
        file.write(b"x")
    code, said = verify(folder, "--sample", 0)
    assert code == 1
    assert "1 damaged or missing" in said
    assert f"{name}: missing or not what was recorded" in said


def test_another_machines_record_cannot_be_told(folder):
    def elsewhere(record):
        environment = record.environment.model_copy(update={"machine": "Other CPU x 64"})
        return record.model_copy(update={"environment": environment})

    for pass_name in ("gate", "prefix", "accuracy"):
        change(folder, pass_name, elsewhere)
    code, said = verify(folder)
    assert code == 2
    assert "3 cannot be told" in said
    assert "machine: it was measured with Other CPU x 64" in said


def test_a_folder_without_records_is_an_error(tmp_path):
    code, said = verify(tmp_path)
    assert (code, "expected records.jsonl with records" in said) == (2, True)


def again_of(folder, pass_name):
    found = draw(open_stores(folder), 99, seed=0)
    return next(again for again in found if again.record.cell.pass_name == pass_name)


def test_the_sample_is_drawn_by_its_seed(folder):
    stores = open_stores(folder)
    keys = {seed: [again.record.key for again in draw(stores, 2, seed)] for seed in range(8)}
    assert keys[3] == [again.record.key for again in draw(open_stores(folder), 2, 3)]
    assert len({tuple(drawn) for drawn in keys.values()}) > 1


@pytest.mark.parametrize(
    ("cell", "environment", "reason"),
    [
        ({"code": "0"}, {}, "code: its sources have changed since (0, now "),
        ({"threads": 999}, {}, "threads: it was measured with 999, here are "),
        ({"seed": 5}, {}, "key: it is not that of what the cell asks"),
        ({"settings": None}, {}, "a record of schema 1"),
        ({"device": "tpu"}, {}, "it names what is unknown here: 'tpu'"),
        ({}, {"torch": "1.0"}, "torch: it was measured with 1.0, here is "),
        ({}, {"compiler": "cc 1"}, "compiler: it was measured with cc 1, here is "),
    ],
)
def test_why_a_cell_cannot_be_told(folder, cell, environment, reason):
    again = again_of(folder, "gate")
    here = again.record.environment
    assert why_not(again, here) is None
    record = again.record.model_copy(
        update={
            "cell": again.record.cell.model_copy(update=cell),
            "environment": here.model_copy(update=environment),
        }
    )
    assert why_not(replace(again, record=record), here).startswith(reason)


def test_a_fork_whose_data_were_damaged_is_not_hidden(folder):
    again = again_of(folder, "accuracy")
    assert [needed.cell.pass_name for needed in again.needed] == ["prefix"]
    assert damaged_artifacts([again.store])[1] == []


def test_a_changed_accuracy_differs(folder):
    again = again_of(folder, "accuracy")
    found = again.record.measurement
    accuracy = found.metrics["test_accuracy"].model_copy(update={"value": 0.987})
    better = found.model_copy(update={"metrics": {**found.metrics, "test_accuracy": accuracy}})
    claimed = again.record.model_copy(update={"measurement": better})
    same = compare(again, again.record, None)
    other = compare(replace(again, record=claimed), again.record, None)
    assert (same.verdict, other.verdict) == ("reproduces", "differs")
    assert "test_accuracy: 0.987 then," in other.reason


def turn_of(ms, *, marks=()):
    """Return records of SPION and of dense attention, which took turns."""
    turn = Turn(
        methods=["dense_sdpa", "spion_cf"], rounds=8, baseline="dense_sdpa", marks=list(marks)
    )
    return [
        record_of(
            tiny_cell("speed", method),
            metrics={"train_step_ms": metric(time, samples=[time] * 8, round_sizes=[1] * 8)},
            turn=turn,
        )
        for method, time in (("spion_cf", ms), ("dense_sdpa", 20.0))
    ]


@pytest.mark.parametrize(
    ("ms", "marks", "verdict", "reason"),
    [
        (10.2, (), "reproduces", "train_step_ms over dense_sdpa's: 0.500 "),
        (11.0, (), "differs", "train_step_ms over dense_sdpa's: 0.500 "),
        (10.0, ("busy",), "cannot be told", "its times: marked: busy"),
    ],
)
def test_times_are_compared_as_ratios_to_a_method_of_the_turn(tmp_path, ms, marks, verdict, reason):
    (record, reference), (own, other) = turn_of(10.0), turn_of(ms, marks=marks)
    found = compare(Again(record, reference, (), Store(tmp_path)), own, other)
    assert (found.verdict, found.reason.startswith(reason)) == (verdict, True)


def test_a_cell_that_now_fails_differs_and_one_that_cannot_run_is_not_told(tmp_path):
    record = record_of(tiny_cell("gate"))
    again = Again(record, None, (), Store(tmp_path))
    for status, verdict in (("crash", "differs"), ("unsupported", "cannot be told")):
        found = compare(again, record_of(tiny_cell("gate"), status, reason="why"), None)
        assert (found.verdict, found.reason) == (verdict, f"{status}: why")


def test_ratios_agree_within_the_width_or_where_intervals_meet():
    then = Estimate(2.0, 1.9, 2.1)
    assert is_near(then, Estimate(2.05), 0.03)
    assert not is_near(then, Estimate(2.2), 0.03)
    assert is_near(then, Estimate(2.2, 2.08, 2.3), 0.03)
    assert not is_near(then, Estimate(2.4, 2.2, 2.6), 0.03)
