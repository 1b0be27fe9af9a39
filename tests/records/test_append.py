import errno
import json
import math
import multiprocessing
import os
import resource
import sys

import pytest
from pydantic import ValidationError

from spion_bench.records import (
    FAILED_STATUSES,
    GateError,
    Record,
    TransitionInfo,
    append_record,
    latest_by_cell,
    read_records,
)
from tests.cells import metric, record_of, tiny_cell


def record(key="a", **fields):
    cell = tiny_cell("speed", key=key)
    return record_of(
        cell, **{"metrics": {"train_step_ms": metric(2.0, samples=[1, 2, 3])}, **fields}
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "records.jsonl"


def test_a_record_survives_writing_and_reading(path):
    written = record()
    append_record(path, written)
    records, problems = read_records(path)
    assert records == [written]
    assert problems == []


def test_every_record_is_one_line_of_json(path):
    append_record(path, record("a", reason="two\nlines"))
    append_record(path, record("b"))
    lines = path.read_text().splitlines()
    assert [json.loads(line)["cell"]["key"] for line in lines] == ["a", "b"]
    assert all(json.loads(line)["schema_version"] == 2 for line in lines)


def test_damaged_lines_are_named_and_the_others_kept(path):
    append_record(path, record("a"))
    with path.open("a") as file:
        file.write('{"schema_version": 2}\nnot json\n\n')
    append_record(path, record("b"))
    records, problems = read_records(path)
    assert [r.key for r in records] == ["a", "b"]
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:2", f"{path}:3"]


def test_a_half_written_line_does_not_swallow_the_next_record(path):
    append_record(path, record("a"))
    with path.open("a") as file:
        file.write('{"schema_version": 2, "cell')  # its writer was killed here
    append_record(path, record("b"))
    records, problems = read_records(path)
    assert [r.key for r in records] == ["a", "b"]
    assert len(problems) == 1


def test_a_full_disk_leaves_what_was_stored_and_says_how_to_go_on(path, monkeypatch):
    append_record(path, record("a"))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"record of cell b: No space left.*free some space"
    ) as caught:
        append_record(path, record("b"))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before


@pytest.mark.parametrize("room", [0, 1, 100, 1000])
def test_a_disk_that_fills_up_within_a_line_leaves_no_part_of_it(path, room):
    append_record(path, record("a"))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(OSError, match=r"record of cell b: File too large; free some space"):
            append_record(path, record("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    append_record(path, record("b"))
    assert [r.key for r in read_records(path)[0]] == ["a", "b"]


def append_many(path, name):
    for number in range(20):
        append_record(path, record(f"{name}{number}"))


def test_writers_in_several_processes_take_turns(path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    records, problems = read_records(path)
    assert len({r.key for r in records}) == 40
    assert problems == []


def test_a_folder_is_read_with_everything_below(tmp_path):
    append_record(tmp_path / "b" / "records.jsonl", record("b"))
    append_record(tmp_path / "a" / "records.jsonl", record("a"))
    records, _ = read_records(tmp_path)
    assert [r.key for r in records] == ["a", "b"]


def test_a_missing_path_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="spion-bench run"):
        read_records(tmp_path / "none")


def test_the_last_record_of_a_cell_counts():
    first, second, other = record("a", status="crash"), record("a"), record("b")
    assert latest_by_cell([first, other, second]) == {"a": second, "b": other}


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("measurement", {"status": "fine"}),
        (None, {"colour": "red"}),
        (None, {"schema_version": 3}),
        ("cell", {"seed": "x"}),
        ("cell", {"kind": "other"}),
    ],
)
def test_what_the_schema_does_not_know_is_refused(part, change):
    content = json.loads(record().model_dump_json())
    (content if part is None else content[part]).update(change)
    with pytest.raises(ValidationError):
        Record.model_validate_json(json.dumps(content))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_survive(path, value):
    fields = {
        "metrics": {"train_step_ms": metric(value, samples=[1.0, value], low=value, high=value)},
        "gate": [GateError(name="out", error=value, budget=1e-6)],
        "extra": {"anything": value},
        "transition": TransitionInfo(
            step=4,
            reason="criterion",
            layer_steps=[4],
            change_percent=[[value], [None]],
            sparse_step_share=0.5,
            is_spion=True,
        ),
    }
    written = record(**fields)
    append_record(path, written)
    ((again,), problems) = read_records(path)
    assert problems == []
    assert again.model_dump_json() == written.model_dump_json()
    (error,) = again.measurement.gate
    assert error.is_within is (value == -math.inf)
    assert repr(again.measurement.metrics["train_step_ms"].samples[1]) == repr(value)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("cell", {"seed": 2**63}),
        ("cell", {"seed": 10**5000}),
        ("environment", {"memory_bytes": -(2**63) - 1}),
        ("measurement", {"extra": {"count": 2**64}}),
        ("measurement", {"artifacts": {"../records.jsonl": "0"}}),
        ("measurement", {"artifacts": {"/etc/passwd": "0"}}),
        ("measurement", {"artifacts": {"": "0"}}),
        (None, {"started_at": "2024-05-29T09:00:00"}),
        (None, {"ended_at": "9999-05-29T09:00:00Z"}),
        (None, {"ended_at": "0001-05-29T09:00:00Z"}),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_what_no_table_or_folder_could_hold_is_a_damaged_line(path, part, change):
    append_record(path, record("a"))
    content = json.loads(record("b").model_dump_json())
    (content if part is None else content[part]).update(change)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    with path.open("a") as file:
        file.write(json.dumps(content) + "\n")
    sys.set_int_max_str_digits(limit)
    records, problems = read_records(path)
    assert ([r.key for r in records], len(problems)) == (["a"], 1)
    assert f"{path}:2: not a record, skipped" in problems[0]


def test_deep_nesting_is_a_damaged_line(path):
    append_record(path, record())
    with path.open("a") as file:
        file.write("[" * 100_000 + "\n")
        file.write('{"schema_version": 1, "settings": ' + "[" * 100_000 + "\n")
    records, problems = read_records(path)
    assert len(records) == 1
    assert len(problems) == 2


def test_unsupported_and_skipped_are_no_failures():
    assert {"ok", "unsupported", "skipped"}.isdisjoint(FAILED_STATUSES)
    assert {"oom", "timeout", "crash", "gate_failed", "nan"} == FAILED_STATUSES
