import json
from pathlib import Path

import pytest

from spion_bench.asv_suite.bench_kernels import KernelCases

KNOWN_KEYS = {  # asv accepts a misspelt key in silence
    "version",
    "project",
    "repo",
    "branches",
    "environment_type",
    "launch_method",
    "default_benchmark_timeout",
    "benchmark_dir",
    "results_dir",
    "html_dir",
}


def test_the_configuration_has_only_keys_that_asv_knows():
    config = json.loads(Path(__file__).parents[1].joinpath("asv.conf.json").read_text())
    assert set(config) <= KNOWN_KEYS
    assert Path(__file__).parents[1].joinpath(config["benchmark_dir"]).is_dir()


def test_the_series_are_the_ones_followed_so_far():
    assert KernelCases.params == (
        ["attention_4096", "pattern_4096"],
        ["block_attention", "pipeline", "dense_sdpa", "generate_pattern", "flood_fill"],
        ["forward_ms", "forward_backward_ms", "generate_pattern_ms", "walk_ms"],
    )


def test_a_benchmark_of_an_existing_combination_runs():
    benchmark = KernelCases()
    benchmark.setup("pattern_4096", "flood_fill", "walk_ms")
    benchmark.time_call("pattern_4096", "flood_fill", "walk_ms")


@pytest.mark.parametrize(
    "combination",
    [("pattern_4096", "dense_sdpa", "forward_ms"), ("pattern_4096", "flood_fill", "forward_ms")],
)
def test_a_combination_that_does_not_exist_is_marked_not_applicable(combination):
    with pytest.raises(NotImplementedError):
        KernelCases().setup(*combination)
