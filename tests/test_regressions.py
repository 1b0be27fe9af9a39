"""Every command of docs/regressions.md exists; the worked example's are those that are run."""

import fnmatch

import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.cli.compare import CASES
from tests import ROOT, regressions
from tests.test_asv_suite import SERIES
from tests.test_docs import SHELL, blocks, commands_of

DOCUMENT = (ROOT / "docs" / "regressions.md").read_text(encoding="utf-8")
COMMANDS = [words for block in blocks("docs/regressions.md", SHELL) for words in commands_of(block)]
TIMED = {
    "/".join((name.removeprefix("time_"), *parameters))
    for _, name, parameters in SERIES
    if name.startswith("time_")
}
# Options that the sessions hand on to asv and pytest-benchmark.
HANDED_ON = {
    *("--steps", "--skip-existing-successful", "--bench"),
    *("--benchmark-save", "--benchmark-compare", "--benchmark-compare-fail", "-k"),
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_of_the_document_exists(command):
    if command[0] == "nox":
        session, arguments = command[2], command[4:]
        assert f'"{session}": Program(' in (ROOT / "noxfile.py").read_text(encoding="utf-8")
        options = {part.split("=")[0] for part in arguments if part.startswith("-")}
        assert options <= HANDED_ON
        return
    name = command[1]
    said = CliRunner().invoke(main, [name, "--help"]).output
    for option in command[2:]:
        assert not option.startswith("--") or option in said
    if "--cases" in command:
        for pattern in command[command.index("--cases") + 1].split(","):
            assert fnmatch.filter(TIMED, pattern)


def test_the_worked_example_is_what_is_run():
    shown = [" ".join(command) for command in COMMANDS[-len(regressions.STEPS) :]]
    assert shown == [" ".join(step.command) for step in regressions.STEPS]
    assert regressions.CALL in DOCUMENT


def test_its_change_fits_the_source(tmp_path):
    source = tmp_path / regressions.SOURCE
    source.parent.mkdir(parents=True)
    source.write_text((ROOT / regressions.SOURCE).read_text(encoding="utf-8"))
    regressions.double_the_work(tmp_path)
    assert source.read_text(encoding="utf-8").count(regressions.CALL) == 2
    with pytest.raises(SystemExit, match="expected"):
        regressions.double_the_work(tmp_path)


def test_the_default_cases_of_compare_exist():
    assert set(CASES) <= TIMED
    assert len(CASES) == 6
