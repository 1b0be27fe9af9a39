import re
import subprocess
import sys

import pytest

from spion_bench.measure.machine import SHELL_CPUS
from spion_bench.measure.parallelism import cpu_quota, shortage
from spion_bench.records import Parallelism

FULL = Parallelism(asked=2, cpus=4, quota=None, team=2, running=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"running": None}, None),
        ({"quota": 2.0}, None),
        ({"cpus": 1}, "expected 2 CPUs, but this process may use 1; .* `--threads 1`"),
        ({"quota": 1.5}, r"control group grants 1\.5; .* `--threads 1`"),
        ({"team": 1}, "expected an OpenMP team of 2, got 1"),
        ({"running": 1}, "expected 2 running in a parallel call, saw 1"),
    ],
)
def test_a_shortage_is_named_with_its_remedy(change, message):
    found = shortage(FULL.model_copy(update=change))
    assert (found is None) == (message is None)
    assert re.search(message or "", found or "")


def group(tmp_path, lines, limits):
    """Make control groups; return the arguments of ``cpu_quota``."""
    root, own = tmp_path / "cgroup", tmp_path / "own"
    for name, text in limits.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own.write_text(lines)
    return root, own


@pytest.mark.parametrize(
    ("lines", "limits", "quota"),
    [
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5, id="version 2"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None, id="no limit"),
        pytest.param(
            "0::/a/b\n",
            {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"},
            0.5,
            id="a group above",
        ),
        pytest.param("0::/elsewhere\n", {"cpu.max": "200000 100000"}, 2.0, id="in a container"),
        pytest.param(
            "3:cpuset:/\n2:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            3.0,
            id="version 1",
        ),
        pytest.param(
            "2:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            None,
            id="version 1 without a limit",
        ),
        pytest.param("0::/\n", {"cpu.max": "damaged"}, None, id="unreadable"),
    ],
)
def test_the_smallest_quota_of_all_groups_counts(tmp_path, lines, limits, quota):
    assert cpu_quota(*group(tmp_path, lines, limits)) == quota


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") is None


PROVE = """
import os, sys, torch
threads, cpus = int(sys.argv[1]), int(sys.argv[2])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
torch.set_num_threads(int(sys.argv[3]))
from spion_bench.measure.parallelism import prove
print(prove(threads).model_dump_json())
"""


def proven(threads, cpus, team):
    arguments = [sys.executable, "-c", PROVE, *map(str, (threads, cpus, team))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return Parallelism.model_validate_json(done.stdout)


@pytest.mark.skipif(len(SHELL_CPUS) < 2, reason="needs two CPUs")
def test_a_process_sees_what_it_really_has():
    assert shortage(proven(2, 2, 2)) is None
    bound = proven(2, 1, 2)
    assert (bound.cpus, bound.team, bound.running) == (1, 2, 2)
    assert "may use 1" in shortage(bound)
    alone = proven(2, 2, 1)
    assert alone.running == 1
