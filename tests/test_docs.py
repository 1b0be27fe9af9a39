"""Every shell command that the documentation shows is parsed, planned or known here.

Commands of spion-bench are parsed by the command itself, on folders of records like those that the
pages name, and what runs cells is planned; sessions, modules, scripts and extras have to exist.
"""

import ast
import contextlib
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.cli.options import planned
from spion_bench.records.store import Store
from tests import ROOT
from tests.site import remote_assets

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "results/*.md", "results/published/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
)
SHELL = {"", "sh", "bash", "shell", "console"}
# Folders of records that commands name, and files that they read.
FOLDERS = ("smoke", "mine", "before", "after", "old", "speed", "paper", "paper-merged")
FOLDERS += ("paper-parts",)
FOLDERS += ("laptop", "workstation")
# Programs that are not this project's: nothing here can go out of date.
KNOWN = {
    "grep",
    "git",
    "apt",
    "export",
    "source",
    "eval",
    "pre-commit",
    "setarch",
    "build",
    "auditwheel",
}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:\.venv/bin/)?((?:spion-bench|nox -s) [^`]*)`")


def blocks(page, languages):
    """Yield the fenced blocks of a page in one of some languages."""
    for indent, language, text in _FENCE.findall((ROOT / page).read_text(encoding="utf-8")):
        if language in languages:
            yield "\n".join(line.removeprefix(indent) for line in text.splitlines())


def commands_of(block):
    """Yield the commands of a shell block, without comments, one word list each."""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


SHOWN = [
    pytest.param(words, id=f"{page}: {shlex.join(words)}"[:120])
    for page in PAGES
    for block in blocks(page, SHELL)
    for words in commands_of(block)
]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that has what commands name: records, a data folder, a profile."""
    records = ROOT / "results" / "records" / "amd-epyc-x2" / "smoke"
    (tmp_path / "results" / "local").mkdir(parents=True)
    for name in FOLDERS:
        (tmp_path / "results" / "local" / name).symlink_to(records)
    (tmp_path / "results" / "records").symlink_to(ROOT / "results" / "records")
    (tmp_path / "data").mkdir()
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (profile,) = blocks("docs/profiles.md", {"toml"})
    (tmp_path / "my_profile.toml").write_text(profile, encoding="utf-8")
    (tmp_path / "cluster.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # A machine without a GPU can plan for one, and records nothing here.
    monkeypatch.setattr("spion_bench.cli.options._machine_name", lambda device: "a machine")
    monkeypatch.setattr(Store, "__init__", lambda self, out: setattr(self, "problems", []))


@pytest.mark.parametrize("words", SHOWN)
def test_a_command_of_the_documentation_works(words, checkout):
    check(words)


def test_there_are_commands_and_each_page_is_looked_at():
    assert len(SHOWN) > 60
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "results/README.md"} <= set(PAGES)


def check(words):
    """Check one command, by what its program knows of it."""
    while "=" in words[0]:  # variables in front of it
        words = words[1:]
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "spion-bench":
        check_spion_bench(arguments)
    elif program == "nox":
        check_nox(arguments)
    elif program in ("python", "python3"):
        check_python(arguments)
    elif program == "pip":
        check_pip(arguments)
    elif program == "bash":
        assert (ROOT / arguments[0]).is_file(), arguments
    else:
        assert program in KNOWN, f"{shlex.join(words)}: this test does not know {program}"


def check_spion_bench(arguments):
    """Parse a command as it would be run; plan what it would measure."""
    if arguments in ([], ["--help"]):
        assert CliRunner().invoke(main, ["--help"]).exit_code == 0
        return
    command, rest = main.commands[arguments[0]], arguments[1:]
    if isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    if ">" in rest:
        rest = rest[: rest.index(">")]
    with contextlib.suppress(click.exceptions.Exit):
        context = command.make_context(command.name, list(rest))
        if command.name in ("plan", "run"):
            asked = {k: v for k, v in context.params.items() if k in planned.__annotations__}
            cells, _ = planned(**asked)
            assert cells, arguments


def check_nox(arguments):
    """Check that the sessions exist, and what those that run spion-bench are given."""
    own, _, given = partition(arguments, "--")
    assert own[0] == "-s", arguments
    for name in own[1:]:
        assert name in sessions(), f"nox -s {name}: no such session"
    if len(own) == 2 and own[1] in ("reproduce", "matrix", "kernels"):
        profile = [] if own[1] == "reproduce" else ["--profile", own[1]]
        check_spion_bench(["run", *profile, *given])
    elif len(own) == 2 and own[1] == "compare":
        check_spion_bench(["compare", *given])


def sessions():
    """Return the names of all sessions: functions, their explicit names, and keys of PROGRAMS."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROGRAMS":
            names |= {ast.literal_eval(key) for key in node.value.keys}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OTHER_PYTHONS":
            names |= {f"tests-{version}" for version in ast.literal_eval(node.value)}
    return names


def check_python(arguments):
    """Check that a module or a script exists."""
    if arguments[:2] == ["-m", "spion_bench"]:
        check_spion_bench(arguments[2:])
    elif arguments[0] == "-m":
        assert arguments[1] in KNOWN or importlib.util.find_spec(arguments[1]) is not None, (
            arguments
        )
    else:
        assert (ROOT / arguments[0]).is_file(), arguments


def check_pip(arguments):
    """Check that extras of this project exist, and its files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert arguments[0] == "install", arguments
    for word in arguments[1:]:
        extras = re.fullmatch(r"(?:\.|spion_bench)\[([\w,-]+)\]", word)
        for extra in extras[1].split(",") if extras else ():
            assert extra in project["optional-dependencies"], word
    if "-c" in arguments:
        assert (ROOT / arguments[arguments.index("-c") + 1]).is_file(), arguments


def partition(words, separator):
    """Return the words before and after a separator."""
    if separator not in words:
        return words, "", []
    place = words.index(separator)
    return words[:place], separator, words[place + 1 :]


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_exist(page):
    for command in _INLINE.findall((ROOT / page).read_text(encoding="utf-8")):
        program, *words = command.split()
        if program == "spion-bench":
            assert words[0].startswith("-") or words[0] in main.commands, command
        else:
            assert set(partition(words, "--")[0][1:]) <= sessions(), command


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_are_python(page):
    for block in blocks(page, {"python"}):
        compile(block, page, "exec")


def test_every_page_of_the_site_is_in_its_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [p for p in PAGES if p.startswith("docs/") and f": {Path(p).name}\n" not in menu] == []


def test_a_page_that_loads_from_elsewhere_is_found():
    page = '<a href="https://a.example"></a><img src="b.png"><script src="//c.example/d.js">'
    assert remote_assets(page) == ["//c.example/d.js"]


def test_pictures_are_what_the_records_give(tmp_path):
    spec = importlib.util.spec_from_file_location(
        "method_pictures", ROOT / "examples" / "method_pictures.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for path in script.write_pictures(tmp_path):
        committed = (ROOT / "docs" / "pictures" / path.name).read_text(encoding="utf-8")
        assert drawn(committed) == drawn(path.read_text(encoding="utf-8")), f"renew {path.name}"


def drawn(svg):
    """Return a picture without its embedded pixels, whose compression is the library's."""
    return re.sub(r'base64,[^"]*', "", svg)
