import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from spion_bench.cli.stores.migrate import migrate
from spion_bench.records import read_records
from spion_bench.records.store import Store
from tests.report.run_writer import RunWriter

COMMITTED = Path(__file__).resolve().parents[3] / "results/records/amd-epyc-x2/smoke"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(COMMITTED, tmp_path / "smoke")


def run(*arguments):
    return CliRunner().invoke(migrate, [str(argument) for argument in arguments])


def texts(path):
    """Return every record as text; NaN differs from itself otherwise."""
    records, problems = read_records(path)
    assert problems == []
    return [record.model_dump_json() for record in records]


def versions(path):
    return {json.loads(line)["schema_version"] for line in path.read_text().splitlines()}


def test_in_place_with_a_backup(folder):
    before, content = texts(folder), (folder / "records.jsonl").read_bytes()
    result = run(folder)
    assert result.exit_code == 0
    assert "33 of 33 lines converted; the old file is records.jsonl.schema1" in result.output
    assert versions(folder / "records.jsonl") == {2}
    assert texts(folder) == before
    assert (folder / "records.jsonl.schema1").read_bytes() == content


def test_migrating_again_changes_nothing(folder):
    run(folder)
    content = (folder / "records.jsonl").read_bytes()
    result = run(folder)
    assert (result.exit_code, "0 of 33 lines converted" in result.output) == (0, True)
    assert (folder / "records.jsonl").read_bytes() == content


def test_a_file_of_both_schemas_is_completed(folder):
    writer = RunWriter(folder)
    writer.add("speed", "dense_sdpa")
    assert "33 of 34 lines converted" in run(folder).output
    assert versions(folder / "records.jsonl") == {2}


def test_to_a_new_folder_with_the_artifacts(folder, tmp_path):
    out = tmp_path / "new"
    content = (folder / "records.jsonl").read_bytes()
    assert run(folder, "--out", out).exit_code == 0
    assert texts(out) == texts(folder)
    assert versions(out / "records.jsonl") == {2}
    assert (folder / "records.jsonl").read_bytes() == content
    names = [path.name for path in (folder / "artifacts").iterdir()]
    assert sorted(path.name for path in (out / "artifacts").iterdir()) == sorted(names)
    assert not (tmp_path / "new.part").exists()


def test_a_damaged_line_stops_everything(folder):
    other = shutil.copytree(folder, folder.parent / "run" / "a")
    shutil.move(folder, folder.parent / "run" / "b")
    with (folder.parent / "run" / "b" / "records.jsonl").open("a") as file:
        file.write('{"schema_version": 1, "cell_key": "torn-of')
    before = (other / "records.jsonl").read_bytes()
    result = run(folder.parent / "run")
    assert result.exit_code == 1
    assert "records.jsonl:34" in result.output
    assert (other / "records.jsonl").read_bytes() == before
    assert not list((folder.parent / "run").rglob("*.schema1"))


def test_an_old_backup_is_never_overwritten(folder):
    (folder / "records.jsonl.schema1").write_text("precious")
    result = run(folder)
    assert result.exit_code == 1
    assert "a backup already exists" in result.output
    assert (folder / "records.jsonl.schema1").read_text() == "precious"
    assert versions(folder / "records.jsonl") == {1}


@pytest.mark.parametrize(("name", "message"), [("new", "already exists"), ("new.part", "left by")])
def test_an_existing_folder_is_refused(folder, tmp_path, name, message):
    (tmp_path / name).mkdir()
    result = run(folder, "--out", tmp_path / "new")
    assert result.exit_code == 1
    assert message in result.output


def test_a_full_disk_leaves_every_file_as_it_was(folder, monkeypatch):
    other = shutil.copytree(folder, folder / "other")
    before = [(path / "records.jsonl").read_bytes() for path in (folder, other)]
    calls = []
    fsync = os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 4:  # the second file's new content
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    result = run(folder)
    assert result.exit_code == 1
    assert "nothing was migrated" in result.output
    assert [(path / "records.jsonl").read_bytes() for path in (folder, other)] == before
    assert not list(folder.rglob("*.schema1"))


def test_a_folder_that_a_run_is_writing_to_is_refused(folder):
    with Store(folder).locked():
        result = run(folder)
    assert result.exit_code == 1
    assert "another run is writing here" in result.output
