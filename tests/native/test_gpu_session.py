import json
import os
import sys
import time
from dataclasses import replace
from itertools import pairwise

import psutil
import pytest

from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import load_profile
from spion_bench.suite.profiles.ask import Filters
from tests import ROOT
from tests.native.gpu_session.parts import PARTS, Part
from tests.native.gpu_session.session import Session

MEASURING = [part for part in PARTS if part.measures and part.needs_pass != "energy"]
TESTING = [part for part in PARTS if "pytest" in part.command]


def part(name, code, limit_s=60, **facts):
    return Part(name, f"what {name} says", limit_s, ("-c", code), **facts)


def statuses(session):
    return {name: found["status"] for name, found in session.done.items()}


def test_a_part_that_fails_or_hangs_does_not_stop_the_next_and_what_is_done_stays_done(tmp_path):
    marks = f"open({str(tmp_path / 'marks')!r}, 'a').write"
    child = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
open({str(tmp_path / "child")!r}, 'w').write(str(child.pid))
time.sleep(600)
"""
    parts = (
        part("wrong", "import sys; print('what went wrong'); sys.exit(3)"),
        part("hangs", child, limit_s=4),
        part("good", f"{marks}('good ')"),
    )
    session = Session(tmp_path / "out", rehearse=True)
    began = time.monotonic()
    assert session.run(parts) == 2
    assert time.monotonic() - began < 60
    assert statuses(session) == {"wrong": "failed", "hangs": "limit", "good": "ok"}
    assert "what went wrong" in (tmp_path / "out/logs/wrong.log").read_text()
    pid = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    readme = (session.published / "README.md").read_text()
    assert "| wrong | what wrong says | failed: exit code 3" in readme

    again = Session(tmp_path / "out", rehearse=True)
    mended = part("wrong", f"{marks}('mended ')")
    assert again.run((mended, parts[2])) == 0
    assert (tmp_path / "marks").read_text() == "good mended "
    changed = part("good", f"{marks}('changed ')")
    assert again.run((changed,)) == 0
    assert (tmp_path / "marks").read_text() == "good mended changed "


def test_time_that_runs_out_drops_the_last_parts(tmp_path):
    session = Session(tmp_path, rehearse=True, seconds=0)
    assert session.run((part("late", "print('ran')"),)) == 1
    assert session.done["late"]["reason"] == "no time left"
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"needs_pass": "levitation"}, "there is no pass 'levitation' in this checkout"),
        ({"tool": ("no-such-tool",)}, "no no-such-tool on PATH"),
    ],
)
def test_what_is_not_there_is_said_and_is_no_failure(tmp_path, facts, reason):
    session = Session(tmp_path)
    assert session.run((part("odd", "print('ran')", **facts),)) == 0
    found = json.loads((tmp_path / "parts.json").read_text())["odd"]
    assert found["status"] == "missing"
    assert found["reason"].startswith(reason)


def test_records_are_ready_to_be_published_and_failed_tests_forbid_it(tmp_path):
    folder = tmp_path / "runs/steps/artifacts"
    write = f"""
import pathlib
folder = pathlib.Path({str(folder)!r})
folder.mkdir(parents=True)
(folder / 'a.npz').write_text('a')
(folder.parent / 'records.jsonl').write_text('line')
(folder.parent / 'logs').mkdir()
"""
    session = Session(tmp_path, rehearse=True)
    steps = replace(part("steps", write), profile="tiny")
    session.run((steps, part("tests_core", "raise SystemExit(1)")))
    kept = sorted(p.name for p in (session.published / "gpu-steps").iterdir())
    assert kept == ["artifacts", "records.jsonl"]
    assert (
        "Not to be published: not all tests passed."
        in (session.published / "README.md").read_text()
    )


@pytest.mark.parametrize("measuring", MEASURING, ids=lambda part: part.name)
def test_every_measuring_part_has_cells_on_a_gpu_and_in_a_rehearsal(measuring, tmp_path):
    for rehearse, device in ((False, "cuda"), (True, "cpu")):
        command = Session(tmp_path, rehearse).command(measuring)
        words = dict(pairwise(command))
        methods = tuple(b for a, b in pairwise(command) if a == "--method")
        assert words["--device"] == device
        filters = Filters((), methods, (), (measuring.needs_pass,))
        cells = expand(load_profile(words["--profile"]), Machine(device, threads=2), filters)
        assert {cell.pass_name for cell in cells} >= {measuring.needs_pass}
        assert {cell.method.name for cell in cells} >= set(methods)


@pytest.mark.parametrize("testing", TESTING, ids=lambda part: part.name)
def test_every_testing_part_names_files_that_are_there(testing):
    assert all((ROOT / word).exists() for word in testing.command if word.startswith("tests/"))


def test_tools_stand_in_front_of_python_and_a_rehearsal_leaves_them_out(tmp_path):
    ncu = next(part for part in PARTS if part.name == "ncu")
    real, rehearsed = Session(tmp_path).command(ncu), Session(tmp_path, True).command(ncu)
    python = real.index(sys.executable)
    assert real[0] == "ncu"
    assert real[python - 2 : python] == ["--export", os.fspath(tmp_path / "attention")]
    assert rehearsed[0] == sys.executable


def test_parts_have_names_of_their_own_and_limits():
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(part.limit_s > 0 for part in PARTS)
