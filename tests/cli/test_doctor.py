import subprocess
import sys

import psutil
from click.testing import CliRunner

from spion_bench.cli import examine, main


def doctor(*arguments):
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_the_cache_of_built_kernels_is_emptied(tmp_path, monkeypatch):
    monkeypatch.setenv("SPION_BENCH_CACHE", str(tmp_path))
    build = tmp_path / "spion_bench-0123456789abcdef"
    build.mkdir()
    (build / "spion_bench.so").write_bytes(b"x" * 2_000_000)
    (tmp_path / "mine.txt").touch()
    result = doctor("--clean-cache")
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [f"removed {build}", f"2 MB removed from {tmp_path}"],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_building_and_removing_are_not_both_asked_for():
    result = doctor("--clean-cache", "--build")
    assert result.exit_code == 2
    assert "--clean-cache removes what --build builds" in result.output


def test_a_hidden_proc_is_a_limit_and_no_traceback(monkeypatch):
    def hidden():
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", hidden)
    found = examine._memory()
    assert (found.verdict, "does not report its memory" in found.detail) == ("limited", True)


def test_no_pipe_takes_the_place_of_a_closed_standard_stream():
    code = (
        "import os, sys\n"
        "os.close(0), os.close(1)\n"
        "from spion_bench.cli import main\n"
        "main(['model', '--help'], standalone_mode=False)\n"
        "print(min(os.pipe()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stderr) > 2
