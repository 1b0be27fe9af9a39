import importlib
import json

import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.compare.show import Comparison
from spion_bench.compare.verdict import Compared
from spion_bench.records.statistics import Estimate
from tests.compare.test_folders import write


def compare(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture
def folders(tmp_path):
    """Records of the same cell: 10 ms, 10 ms again, and 12 ms."""
    return [write(tmp_path / name, ms) for name, ms in (("a", 10.0), ("b", 10.0), ("c", 12.0))]


def test_the_exit_code_says_whether_something_is_slower(folders):
    base, same, slower = folders
    assert compare(base, same).exit_code == 0
    assert compare(slower, base).exit_code == 0  # faster
    answer = compare(base, slower)
    assert answer.exit_code == 1
    assert "SLOWER" in answer.output
    assert "1 SLOWER" in answer.output


def test_json_holds_every_number(folders):
    answer = compare(folders[0], folders[2], "--format", "json")
    (one,) = json.loads(answer.output)["compared"]
    assert one["verdict"] == "SLOWER"
    assert one["ratio"]["value"] == pytest.approx(1.2)
    assert one["ratio"]["low"] < 1.2 < one["ratio"]["high"]
    assert (one["base_ms"], one["head_ms"]) == (10.0, 12.0)


def test_markdown_shows_slower_cases_first():
    ratio = Estimate(1.0, 0.99, 1.01)
    found = [Compared(name, name, ratio, ratio, 1.0, 1.0) for name in ("SAME", "SLOWER")]
    text = Comparison("a", "b", {"machine": "M"}, found, {"x": "only in a"}).to_markdown()
    assert text.startswith("**1 SLOWER, 1 SAME, 1 not compared**: `b` against `a`\n\n| case |")
    assert text.index("| `SLOWER` | SLOWER |") < text.index("| `SAME` | SAME |")
    assert "- `x`: only in a" in text


@pytest.mark.parametrize(
    ("base", "said"),
    [("no-such-commit", "neither a commit of"), ("tests/data", "expected a folder of records")],
)
def test_what_cannot_be_compared_is_said(folders, base, said):
    answer = compare(base, folders[0] if base == "tests/data" else "HEAD")
    assert answer.exit_code == 2
    assert said in " ".join(answer.output.split())


def test_ctrl_c_is_no_slower_case(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    command = importlib.import_module("spion_bench.cli.compare")  # the package names its command so
    monkeypatch.setattr(command, "find_repository", interrupted)
    answer = compare("HEAD~1", "HEAD")
    assert (answer.exit_code, answer.stderr.strip()) == (130, "Stopped.")
