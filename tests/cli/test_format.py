"""One option chooses the form of what a command shows."""

import importlib
import json

import click
import pytest
from click.shell_completion import BashComplete, ShellComplete
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.cli.console import write
from spion_bench.suite.methods import METHODS
from spion_bench.suite.passes import PASSES
from spion_bench.suite.profile import profile_names
from spion_bench.tasks import task_names
from tests import ROOT
from tests.cells import metric, record_of, tiny_cell

RECORDS = str(ROOT / "results" / "records" / "amd-epyc-x2" / "smoke")
FORMATTED = ("list", "plan", "run", "claims", "compare", "doctor")


def show(*arguments):
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", FORMATTED)
def test_the_commands_share_one_option(name):
    (option,) = [p for p in main.commands[name].params if "--format" in p.opts]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices)[:3] == ["table", "json", "quiet"]


def test_list():
    known = json.loads(show("list", "--format", "json"))
    assert set(known) == {"task", "method", "pass", "profile", "kernel case"}
    assert known["method"]["spion_cf"] == METHODS["spion_cf"].summary
    lines = show("list", "--format", "quiet").splitlines()
    assert {"task image", "method spion_cf", "profile smoke"} <= set(lines)
    assert len(lines) == sum(map(len, known.values()))
    table = show("list")
    assert all(heading in table for heading in ("Tasks", "Passes", "Kernel cases"))


def test_plan(tmp_path):
    asked = ("plan", "--profile", "smoke", "--task", "image", "--out", tmp_path)
    plan = json.loads(show(*asked, "--format", "json"))
    by_key = {cell["key"]: cell for cell in plan["cells"]}
    assert show(*asked, "--format", "quiet").split() == list(by_key)
    sources = {cell["expected_from"] for cell in by_key.values()}
    assert sources <= {"committed records", "similar committed records", None}
    assert "committed records" in sources
    known = [cell["expected_s"] for cell in by_key.values() if cell["expected_s"] is not None]
    assert plan["expected_s"] == pytest.approx(sum(known))
    assert plan["unknown"] == len(by_key) - len(known)
    assert "~ of another machine" in show(*asked)


def test_claims():
    (first, *_) = json.loads(show("claims", RECORDS, "--format", "json"))
    assert first["id"] == "training-speed-arxiv"
    assert "training-speed-arxiv: " in show("claims", RECORDS, "--format", "quiet")


def test_doctor():
    found = json.loads(show("doctor", "--format", "json"))
    assert found["fit"] is True
    assert {"what", "verdict", "detail", "remedy"} == set(found["findings"][0])
    quiet = show("doctor", "--format", "quiet").splitlines()
    assert len(quiet) == sum(each["verdict"] != "ok" for each in found["findings"])


def test_run_prints_json_alone_and_the_rest_aside(tmp_path, monkeypatch):
    records = [
        record_of(tiny_cell("speed"), metrics={"train_step_ms": metric(2.0)}),
        record_of(tiny_cell("memory"), "unsupported", reason="no such thing"),
    ]
    command = importlib.import_module("spion_bench.cli.run")
    monkeypatch.setattr(
        command, "_measure", lambda cells, store, console, *, workers, fresh: records
    )
    asked = ["run", "--profile", "tiny", "--out", str(tmp_path), "--no-report", "--format"]
    done = CliRunner().invoke(main, [*asked, "json"])
    summary = json.loads(done.stdout)
    assert summary["totals"] == {"ok": 1, "unsupported": 1}
    assert summary["cells"][0]["metrics"]["train_step_ms"]["value"] == 2.0
    assert summary["records"] == str(tmp_path / "records.jsonl")
    assert done.stderr.startswith("Records: ")
    quiet = CliRunner().invoke(main, [*asked, "quiet"])
    assert quiet.output.splitlines() == [
        f"{records[0].key}: ok 2 ms",
        f"{records[1].key}: unsupported no such thing",
    ]


def test_what_is_not_finite_is_valid_json(capsys):
    write("json", data={"a": float("nan")}, quiet=(), table=print)
    assert json.loads(capsys.readouterr().out) == {"a": "NaN"}


def offered(*words):
    """Return what a shell offers for the last word."""
    *before, incomplete = words
    complete = ShellComplete(main, {}, "spion-bench", "_SPION_BENCH_COMPLETE")
    return {item.value for item in complete.get_completions(list(before), incomplete)}


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("--profile", profile_names()),
        ("--task", task_names()),
        ("--method", METHODS),
        ("--pass", PASSES),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_shell_completes_values(command, option, known):
    assert offered(command, option, "") - {""} == set(known)


def test_a_shell_completes_what_was_begun():
    assert offered("run", "--method", "spion_cf@w") == {"spion_cf@window"}
    assert offered("pl") == {"plan"}


def test_completion_by_the_shells_own_mechanism(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "spion-bench run --profile sm")
    monkeypatch.setenv("COMP_CWORD", "3")
    completed = BashComplete(main, {}, "spion-bench", "_SPION_BENCH_COMPLETE").complete()
    assert "plain,smoke" in completed.splitlines()
