import errno
import json
import multiprocessing
import os

import pytest
from pydantic import ValidationError

from spion_bench.records import (
    FAILED_STATUSES,
    Record,
    append_record,
    latest_by_cell,
    read_records,
)
from tests.cells import metric, record_of, tiny_cell


def record(key="a", **fields):
    cell = tiny_cell("speed").model_copy(update={"key": key})
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
    assert [json.loads(line)["cell_key"] for line in lines] == ["a", "b"]
    assert all(json.loads(line)["schema_version"] == 1 for line in lines)


def test_damaged_lines_are_named_and_the_others_kept(path):
    append_record(path, record("a"))
    with path.open("a") as file:
        file.write('{"schema_version": 1}\nnot json\n\n')
    append_record(path, record("b"))
    records, problems = read_records(path)
    assert [r.cell_key for r in records] == ["a", "b"]
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:2", f"{path}:3"]


def test_a_half_written_line_does_not_swallow_the_next_record(path):
    append_record(path, record("a"))
    with path.open("a") as file:
        file.write('{"schema_version": 1, "cell')  # its writer was killed here
    append_record(path, record("b"))
    records, problems = read_records(path)
    assert [r.cell_key for r in records] == ["a", "b"]
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
    assert len({r.cell_key for r in records}) == 40
    assert problems == []


def test_a_folder_is_read_with_everything_below(tmp_path):
    append_record(tmp_path / "b" / "records.jsonl", record("b"))
    append_record(tmp_path / "a" / "records.jsonl", record("a"))
    records, _ = read_records(tmp_path)
    assert [r.cell_key for r in records] == ["a", "b"]


def test_a_missing_path_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="spion-bench run"):
        read_records(tmp_path / "none")


def test_the_last_record_of_a_cell_counts():
    first, second, other = record("a", status="crash"), record("a"), record("b")
    assert latest_by_cell([first, other, second]) == {"a": second, "b": other}


@pytest.mark.parametrize(
    "change", [{"status": "fine"}, {"colour": "red"}, {"schema_version": 2}, {"seed": "x"}]
)
def test_what_the_schema_does_not_know_is_refused(change):
    content = json.loads(record().model_dump_json()) | change
    with pytest.raises(ValidationError):
        Record.model_validate(content)


def test_unsupported_and_skipped_are_no_failures():
    assert {"ok", "unsupported", "skipped"}.isdisjoint(FAILED_STATUSES)
    assert {"oom", "timeout", "crash", "gate_failed", "nan"} == FAILED_STATUSES
