"""Commands on records and data that cannot be read, or in part only: nothing is passed over."""

import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.cli.examine import examine_data
from spion_bench.tasks.image import SPEC
from tests.compare.test_folders import write
from tests.unreadable import unreadable

COMMANDS = {
    "verify": ["verify", "{}", "--sample", "0"],
    "claims": ["claims", "{}", "--format", "quiet"],
    "report": ["report", "{}", "--report-dir", "{}-report"],
    "export": ["export", "{}"],
    "compare": ["compare", "{}", "{}"],
    "migrate": ["migrate", "{}"],
    "merge": ["merge", "{}", "--out", "{}-merged"],
}


def run(name, folder):
    answer = CliRunner().invoke(main, [part.format(folder) for part in COMMANDS[name]])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "records" / "inside", 10.0)
    return tmp_path / "records"


@pytest.mark.parametrize("what", ["inside", "inside/records.jsonl"])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_cannot_be_read_is_an_error_that_names_it(folder, name, what):
    write(folder, 10.0)  # this can
    with unreadable(folder / what):
        answer = run(name, folder)
    assert answer.exit_code != 0
    assert "Permission denied" in answer.output
    assert str(folder / what) in answer.output.replace("\n", "")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("report", "migrate")])
def test_damaged_lines_are_warned_of(folder, name):
    with (folder / "inside" / "records.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{\n" + b"[" * 100_000 + b"\n")
    answer = run(name, folder)
    for number in (2, 3):
        assert f"records.jsonl:{number}: not a record, skipped (" in answer.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_of_damaged_lines_alone_is_an_error(folder, name):
    (folder / "inside" / "records.jsonl").write_bytes(b"\x00garbage\n")
    assert run(name, folder).exit_code != 0


def test_a_data_folder_that_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / "fashion-mnist").mkdir()
    with unreadable(tmp_path / "fashion-mnist"):
        found = {finding.what: finding for finding in examine_data(tmp_path)}
        with pytest.raises(PermissionError, match="fashion-mnist"):
            SPEC.load(tmp_path, {"source": "fashion-mnist"})
    assert "Permission denied" in found["data: image, fashion-mnist"].detail
