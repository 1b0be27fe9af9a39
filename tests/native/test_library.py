"""Which libraries are loaded, when, and from where."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spion_bench.native import library

REPOSITORY = Path(__file__).parents[2]


def test_source_dir_is_the_checkouts_csrc():
    assert library.source_dir() == REPOSITORY / "csrc"


def test_sources_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(
        library, "__file__", str(tmp_path / "spion_bench" / "native" / "library.py")
    )
    with pytest.raises(library.BuildError, match="csrc: the C\\+\\+ sources are neither in"):
        library.source_dir()
    inside = tmp_path / "spion_bench" / "csrc"
    inside.mkdir(parents=True)
    (inside / "schema.cpp").write_text("", encoding="utf-8")
    assert library.source_dir() == inside


def test_load_registers_operators_once():
    library.load()
    info = library.build_info()
    assert info.path.is_file()
    library.load()
    assert library.build_info() is info
    assert torch.ops.spion_bench.cpu_capability() in ("avx512", "avx2", "portable")
    registered = []
    library.CPU.after_load(lambda: registered.append(1))
    assert registered == [1]  # at once, because the library is loaded


def test_load_refuses_unknown_devices():
    with pytest.raises(ValueError, match='device: expected "cpu" or "cuda", got \'mps\''):
        library.load("mps")


def fresh(source: library.Library, **options) -> library.Library:
    """Return a library as it is in a new process: not loaded, without a failed build."""
    return library.Library(source.name, source._recipe, folder=source._folder, **options)


def test_a_failed_build_is_not_tried_again(monkeypatch):
    monkeypatch.setitem(library.DEVICES, "cpu", fresh(library.CPU, schemas=None))
    monkeypatch.setenv("CXX", "no-such-cxx")
    with pytest.raises(library.BuildError) as first:
        library.load()
    monkeypatch.delenv("CXX")
    with pytest.raises(library.BuildError) as second:
        library.load()
    assert second.value is first.value


def test_a_library_loads_its_schemas_first_and_then_what_waits(monkeypatch):
    order = []
    info = library.build_info()
    monkeypatch.setattr(
        library, "load_library", lambda name, *_, **__: (order.append(name), info)[1]
    )
    schemas = fresh(library.CPU, schemas=None)
    kernels = fresh(library.EMULATED, schemas=schemas)
    kernels.after_load(lambda: order.append("registered"))
    assert order == []
    for _ in range(2):
        assert kernels.load() is kernels.info is info
    assert order == ["spion_bench", "spion_bench_emulated", "registered"]
    assert schemas.info is info


def test_importing_the_operators_builds_nothing():
    script = (
        "import spion_bench.ops, spion_bench.native.library as k; "
        "print([x.info for x in (k.CPU, k.CUDA, k.EMULATED)])"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[None, None, None]"


def test_without_cuda_the_cpu_kernels_stay_usable(monkeypatch):
    monkeypatch.setitem(library.DEVICES, "cuda", fresh(library.CUDA, schemas=library.CPU))
    monkeypatch.setattr(torch.version, "cuda", None)
    for _ in range(2):
        with pytest.raises(library.BuildError, match="built without CUDA"):
            library.load("cuda")
    library.load("cpu")
