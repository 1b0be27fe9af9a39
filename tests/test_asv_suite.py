import inspect
import itertools
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from spion_bench.asv_suite.cases import STEPS, StepShape
from spion_bench.suite.budget import most_kept_blocks
from spion_bench.tasks import load_config
from tests import ROOT

KNOWN_KEYS = {  # asv accepts a misspelt key in silence
    *("version", "project", "repo", "branches", "environment_type", "launch_method"),
    *("build_command", "install_command", "install_timeout", "default_benchmark_timeout"),
    *("benchmark_dir", "env_dir", "results_dir", "html_dir"),
}
SUITE = ROOT / "spion_bench" / "asv_suite"
MODULES = [f"spion_bench.asv_suite.{path.stem}" for path in sorted(SUITE.glob("bench_*.py"))]
TINY = StepShape(1, {**STEPS["image"].model, "max_length": 64}, 8, 10)


def benchmarks():
    """Yield every class that asv finds, its benchmark's name and its parameters."""
    for module in map(import_module, MODULES):
        for _, found in inspect.getmembers(module, inspect.isclass):
            if found.__module__ != module.__name__:
                continue
            for name in vars(found):
                if name.startswith(("time_", "track_")):
                    yield found, name, getattr(found, "params", ())


SERIES = [
    (found, name, parameters)
    for found, name, axes in benchmarks()
    for parameters in itertools.product(*axes)
]


def test_the_configuration_builds_commits():
    config = json.loads((ROOT / "asv.conf.json").read_text())
    assert set(config) == KNOWN_KEYS
    assert (ROOT / config["benchmark_dir"]) == SUITE
    assert config["branches"] == ["HEAD"]  # a clone need not have any branch
    assert config["environment_type"] == "virtualenv"
    install, first_use = config["install_command"]
    assert "-c {conf_dir}/constraints.txt" in install
    assert (ROOT / first_use.split("{conf_dir}/")[1]).is_file()


def test_the_series_are_few_and_all_exist():
    names = {name for _, name, _ in SERIES}
    assert names == {
        *("time_step", "time_forward", "time_backward", "time_pipeline"),
        *("time_generate_pattern", "time_attention_map"),
        *("track_step_peak_bytes", "track_test_error", "track_first_build"),
    }
    assert len(SERIES) == 21  # at most 24, of which none is an empty combination


@pytest.mark.parametrize("task", STEPS)
def test_steps_have_the_published_shapes(task):
    shape, published = STEPS[task], load_config(task)
    # What the classifier's configuration leaves out is its default.
    assert shape.model_settings.items() <= published.model.model_dump().items()
    assert set(published.model.model_dump()) - set(shape.model_settings) <= {"pair_features"}
    nb = published.model.max_length // shape.block_size
    assert shape.block_size == published.spion.block_size
    assert shape.n_blocks == most_kept_blocks(nb, published.spion.quantile)


@pytest.mark.parametrize(
    ("found", "name", "parameters"),
    [
        pytest.param(*one, id="-".join((one[1], *one[2])))
        for one in SERIES
        if one[1].startswith("time_") and not {"retrieval", "listops", "sweep_base"} & set(one[2])
    ],
)
def test_a_benchmark_runs(found, name, parameters):
    benchmark = found()
    benchmark.setup(*parameters)
    getattr(benchmark, name)(*parameters)


def test_a_short_training_ends_in_an_error_below_guessing(monkeypatch):
    error = import_module("spion_bench.asv_suite.bench_training").Error()
    error.steps = 2
    assert 0 <= error.track_test_error() <= 1


def test_the_first_use_builds_in_the_cache_of_its_environment(tmp_path):
    fake = tmp_path / "spion_bench"  # an old package: the script takes what is installed
    fake.mkdir()
    (fake / "__init__.py").write_text(
        "import os, pathlib\n"
        "class BlockPattern:\n"
        "    full = staticmethod(lambda *shape: shape)\n"
        "def block_attention(*inputs, pruned):\n"
        "    pathlib.Path(os.environ['SPION_BENCH_CACHE'], 'built').touch()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SPION_BENCH_CACHE": str(tmp_path)}
    command = [sys.executable, "-P", str(SUITE / "first_use.py")]
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert (tmp_path / "built").exists()


def test_the_benchmarks_run_in_front_of_any_package(tmp_path):
    """As in asv, which finds the folder of the benchmarks alone; peak memory sets up malloc."""
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from asv_suite import bench_training, cases\n"
        f"cases.STEPS['retrieval'] = cases.{TINY!r}\n"
        "benchmark = bench_training.Memory()\n"
        "benchmark.setup('spion_cf')\n"
        "print(benchmark.track_step_peak_bytes('spion_cf'))\n"
        "assert 'spion_bench.asv_suite' not in sys.modules\n"
    )
    (tmp_path / "asv_suite").symlink_to(SUITE)
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert 2**16 < int(answer.stdout) < 2**30
