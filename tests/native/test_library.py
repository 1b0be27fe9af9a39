"""Which libraries are loaded, when, and from where."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spion_bench.native import library as kernels

REPOSITORY = Path(__file__).parents[2]


def test_cache_root(monkeypatch):
    monkeypatch.setenv("SPION_BENCH_CACHE", "/somewhere/else")
    assert kernels.cache_root() == Path("/somewhere/else")
    monkeypatch.delenv("SPION_BENCH_CACHE")
    monkeypatch.setenv("HOME", "/home/reader")
    assert kernels.cache_root() == Path("/home/reader/.cache/spion_bench")


def test_source_dir_is_the_checkouts_csrc():
    assert kernels.source_dir() == REPOSITORY / "csrc"


def test_sources_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(
        kernels, "__file__", str(tmp_path / "spion_bench" / "native" / "library.py")
    )
    with pytest.raises(kernels.BuildError, match="csrc: the C\\+\\+ sources lie neither in"):
        kernels.source_dir()
    inside = tmp_path / "spion_bench" / "csrc"
    inside.mkdir(parents=True)
    (inside / "schema.cpp").write_text("", encoding="utf-8")
    assert kernels.source_dir() == inside


def test_load_registers_operators_once():
    kernels.load()
    info = kernels.build_info()
    assert info.path.is_file()
    kernels.load()
    assert kernels.build_info() is info
    assert torch.ops.spion_bench.cpu_capability() in ("avx512", "avx2", "portable")
    registered = []
    kernels.after_load(lambda: registered.append(1))
    assert registered == [1]  # at once, because the library is loaded


def test_load_refuses_unknown_devices():
    with pytest.raises(ValueError, match='device: expected "cpu" or "cuda", got \'mps\''):
        kernels.load("mps")


def test_a_failed_build_is_not_tried_again(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "_loaded", {})
    monkeypatch.setattr(kernels, "_failed", {})
    monkeypatch.setenv("CXX", "no-such-cxx")
    with pytest.raises(kernels.BuildError) as first:
        kernels.load()
    monkeypatch.delenv("CXX")
    with pytest.raises(kernels.BuildError) as second:
        kernels.load()
    assert second.value is first.value


def test_importing_the_operators_builds_nothing():
    script = "import spion_bench.ops, spion_bench.native.library as k; print(k._loaded)"
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "{}"


def test_without_cuda_the_cpu_kernels_stay_usable(monkeypatch):
    monkeypatch.setattr(kernels, "_failed", {})
    monkeypatch.delitem(kernels._loaded, "cuda", raising=False)
    monkeypatch.setattr(torch.version, "cuda", None)
    for _ in range(2):
        with pytest.raises(kernels.BuildError, match="built without CUDA"):
            kernels.load("cuda")
    kernels.load("cpu")
