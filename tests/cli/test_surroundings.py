"""The command in processes of its own, where something is missing that a shell has as a rule."""

import os
import subprocess
import sys

import pytest

from spion_bench.records.store import read_records
from tests import ROOT

COMMAND = (sys.executable, "-m", "spion_bench")
RECORDS = ROOT / "results" / "records" / "amd-epyc-x2" / "smoke"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("arguments", [("list",), ("claims", str(RECORDS))], ids=lambda a: a[0])
def test_a_locale_without_our_characters_shows_their_codes(tmp_path, arguments):
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env={**os.environ, **ASCII, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode("ascii")
    assert arguments[0] == "list" or "\\xa0" in said


@pytest.mark.slow
def test_a_run_without_standard_streams_gives_its_numbers(tmp_path):
    out = tmp_path / "out"
    options = ("--profile", "tiny", "--method", "dense_sdpa", "--pass", "gate", "--no-report")
    command = [*COMMAND, "run", *options, "--out", str(out)]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    records, problems = read_records(out / "records.jsonl")
    assert problems == []
    assert {record.measurement.status for record in records} == {"ok"}


def test_help_needs_no_heavy_module():
    heavy = {"torch", "scipy", "pandas", "matplotlib"}
    program = f"import sys; from spion_bench.cli import main; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
