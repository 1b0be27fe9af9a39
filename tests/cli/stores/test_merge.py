import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.records.store import Store
from tests.cells import ENVIRONMENT, record_of, tiny_cell


def run(*arguments):
    answer = CliRunner().invoke(main, ["merge", *map(str, arguments)])
    return answer.exit_code, " ".join(answer.output.split())


@pytest.fixture
def hosts(tmp_path):
    """Two folders of hosts within one; one record has lost its artifact."""
    gate, accuracy = tiny_cell("gate"), tiny_cell("accuracy")
    Store(tmp_path / "hosts/a").append(record_of(gate))
    Store(tmp_path / "hosts/b").append(record_of(accuracy, artifacts={"gone.npz": "0"}))
    return tmp_path / "hosts"


def test_folders_within_folders_are_merged_and_the_target_may_be_among_them(hosts):
    out = hosts / "all"
    code, text = run(hosts, hosts / "a", "--out", out)
    assert code == 1
    assert "gone.npz: missing or damaged in every folder" in text
    assert "2 records and 0 artifacts added from 2 folders; 0 cells had different records" in text
    assert text.endswith(f"2 cells of {ENVIRONMENT.machine}")
    assert "0 records" in run(hosts, "--out", out)[1]
    assert len(Store(out).records) == 2


def test_two_collectors_take_turns(hosts, tmp_path):
    with Store(tmp_path / "all").locked():
        code, text = run(hosts, "--out", tmp_path / "all")
    assert code == 1
    assert "another run is writing here" in text
    assert run(hosts / "a", "--out", tmp_path / "all")[0] == 0


def test_a_folder_without_records_is_refused(tmp_path):
    code, text = run(tmp_path, "--out", tmp_path / "all")
    assert code == 2
    assert "expected records.jsonl" in text
    assert not (tmp_path / "all").exists()
