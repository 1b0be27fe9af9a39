"""Folders that several hosts wrote, merged into one."""

from datetime import timedelta
from itertools import permutations

import pytest

from spion_bench.records.artifacts import write_artifact
from spion_bench.records.names import UsageError
from spion_bench.records.store import Store
from spion_bench.run.merge import merge
from spion_bench.suite.plan import Machine, expand
from tests.cells import ARTIFACT, ENVIRONMENT, TINY, metric, record_of, tiny_cell, tiny_cells
from tests.run.fakes import run

CELL = tiny_cell("gate")
EARLY = record_of(CELL, extra={"host": "early"})


def at(record, hours=0, **changes):
    """Return a record of another time."""
    moved = {
        name: getattr(record, name) + timedelta(hours=hours) for name in ("started_at", "ended_at")
    }
    return record.model_copy(update={**moved, **changes})


def host(folder, *records):
    """Return the store that a host wrote."""
    store = Store(folder)
    for record in records:
        store.append(record)
    return store


def turn(value, hours, **statuses):
    """Return the records of one turn of the speed pass, each with the same time."""
    made = [
        record_of(
            cell, statuses.get(cell.method.name, "ok"), metrics={"train_step_ms": metric(value)}
        )
        for cell in tiny_cells("speed")
    ]
    return [
        at(record, hours, started_at=EARLY.started_at + timedelta(hours=hours)) for record in made
    ]


def texts(store):
    return [record.model_dump_json() for record in Store(store.out).records]


def kept(*stores):
    """Return what is kept of stores by cell, the same in every order of them."""
    found = []
    for number, order in enumerate(permutations(stores)):
        target = Store(stores[0].out.parent / f"merged{number}")
        merge(order, target)
        found.append({record.key: record.model_dump_json() for record in target.records})
    assert all(one == found[0] for one in found)
    return found[0]


def test_a_plan_split_between_hosts_is_done_once_merged(tmp_path):
    cells = tiny_cells()
    halves = [Store(tmp_path / name) for name in "ab"]
    run(halves[0], [c for c in cells if c.pass_name in ("gate", "prefix", "accuracy")])
    run(halves[1], [c for c in cells if c.pass_name not in ("gate", "prefix", "accuracy")])
    target = Store(tmp_path / "merged")
    merged = merge(halves, target)
    assert merged.n_records == len(cells)
    assert dict(merged.machines) == {ENVIRONMENT.machine: len(cells)}
    before = texts(target)
    again = merge([*halves, *halves], Store(target.out))
    assert (again.n_records, again.n_artifacts, again.conflicts) == (0, 0, [])
    assert texts(target) == before
    assert run(Store(target.out), cells)[2].begun == (len(cells), len(cells))


def test_classes_of_machines_stay_apart(tmp_path):
    names = ("CPU x 2", "CPU x 64")
    hosts = []
    for name in names:
        here = ENVIRONMENT.model_copy(update={"machine": name})
        cells = expand(TINY, Machine("cpu", 2, name=name))
        records = [record_of(cell).model_copy(update={"environment": here}) for cell in cells]
        hosts.append(host(tmp_path / name, *records))
    target = Store(tmp_path / "merged")
    assert dict(merge(hosts, target).machines) == dict.fromkeys(names, len(cells))
    assert {record.cell.machine for record in target.records} == set(names)


@pytest.mark.parametrize("field", ["machine", "cpu_capability"])
def test_what_keys_do_not_tell_apart_is_refused(tmp_path, field):
    hosts = [
        host(
            tmp_path / name,
            at(EARLY, environment=ENVIRONMENT.model_copy(update={field: name})),
        )
        for name in ("one", "two")
    ]
    target = Store(tmp_path / "merged")
    with pytest.raises(UsageError, match=r"expected one class of machine, got 'one' .* and 'two'"):
        merge(hosts, target)
    assert not target.records_file.exists()


def test_a_settled_record_is_kept_then_the_later_one(tmp_path):
    late = at(EARLY, 2)
    failed = at(record_of(CELL, "crash", reason="it was"), 3)
    stores = [host(tmp_path / str(i), record) for i, record in enumerate((EARLY, late, failed))]
    assert kept(*stores) == {CELL.key: late.model_dump_json()}
    target = Store(tmp_path / "merged")
    (sentence,) = merge(stores, target).conflicts
    assert sentence.startswith(f"{CELL.key}: kept that of {late.ended_at:%Y-%m-%dT%H:%M}")
    assert str(stores[1].out) in sentence


def test_what_a_folder_replaced_itself_does_not_count(tmp_path):
    failed = at(record_of(CELL, "crash", reason="it was"), 3)
    store = host(tmp_path / "a", EARLY, failed)
    assert kept(store) == {CELL.key: failed.model_dump_json()}


def test_methods_of_a_turn_stay_together(tmp_path):
    whole, later = turn(1.0, 0), turn(2.0, 2)
    stores = [host(tmp_path / "a", *whole), host(tmp_path / "b", *later)]
    assert kept(*stores) == {record.key: record.model_dump_json() for record in later}
    broken = turn(3.0, 4, spion_cf="crash")
    stores.append(host(tmp_path / "c", *broken))
    assert kept(*stores) == {record.key: record.model_dump_json() for record in later}


@pytest.fixture
def trained(tmp_path):
    """Two hosts with one accuracy record; the second has lost its artifact."""
    cell = tiny_cell("accuracy")
    name = f"{cell.key}.npz"
    sha256 = write_artifact(tmp_path / "a" / "artifacts" / name, ARTIFACT)
    nan = metric(float("nan"))  # which differs from itself
    record = record_of(cell, artifacts={name: sha256}, metrics={"final_train_loss": nan})
    late = at(record, 1)
    return host(tmp_path / "a", record), host(tmp_path / "b", late), cell


def test_artifacts_come_along_and_a_record_without_them_is_not_settled(trained, tmp_path):
    first, second, cell = trained
    target = Store(tmp_path / "merged")
    merged = merge([second, first], target)
    assert (merged.n_artifacts, merged.problems) == (1, [])
    assert target.is_done(cell)
    assert texts(target) == texts(first)


def test_damaged_artifacts_are_not_copied_until_they_are_whole(trained, tmp_path):
    first, _, cell = trained
    path = first.artifact(f"{cell.key}.npz")
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    target = Store(tmp_path / "merged")
    merged = merge([first], target)
    assert merged.problems == [
        f"{path.name}: missing or damaged in every folder; cell {cell.key} is undone"
    ]
    assert not target.artifact(path.name).exists()
    assert not target.is_done(cell)
    path.write_bytes(content)
    again = merge([first], target)
    assert (again.n_records, again.n_artifacts, again.problems) == (0, 1, [])
    assert target.is_done(cell)


def test_an_interrupted_merge_is_completed(trained, tmp_path, monkeypatch):
    first, *_ = trained
    first.append(EARLY)
    target = Store(tmp_path / "merged")

    def stop(record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            merge([first], target)
    target = Store(target.out)
    assert merge([first], target).n_records == 2
    assert len(texts(target)) == 2
