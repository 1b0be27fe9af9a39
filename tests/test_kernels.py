"""The build wrapper, on a tiny source folder: one C function, compiled in a second."""

import ctypes
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from spion_bench import kernels

REPOSITORY = Path(__file__).parents[1]

SOURCE = 'extern "C" int spion_fixture_answer() { return 42; }\n'


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "csrc"
    (folder / "cpu").mkdir(parents=True)
    (folder / "schema.cpp").write_text('#include "checks.h"\n', encoding="utf-8")
    (folder / "checks.h").write_text("// nothing to check\n", encoding="utf-8")
    (folder / "cpu" / "answer.cpp").write_text(SOURCE, encoding="utf-8")
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache with a space"


@pytest.fixture
def name(tmp_path):
    # torch remembers the names of the libraries a process has built.
    return "fixture_" + tmp_path.name.replace("-", "_").replace("[", "").replace("]", "")


def answer_of(info):
    return ctypes.CDLL(str(info.path)).spion_fixture_answer()


def build_folder(cache, name):
    (folder,) = [path for path in cache.glob(f"{name}-*") if path.is_dir()]
    return folder


def test_builds_once_then_loads_the_cached_library(name, sources, cache, capsys):
    built = kernels.load_library(name, sources, cache)
    assert built.status == "built"
    assert answer_of(built) == 42
    assert "first use, about a minute" in capsys.readouterr().err

    started = time.perf_counter()
    cached = kernels.load_library(name, sources, cache)
    assert cached.status == "cached"
    assert (cached.path, cached.seconds, cached.compiler, cached.flags) == (
        built.path,
        built.seconds,
        built.compiler,
        built.flags,
    )
    assert capsys.readouterr().err == ""
    assert time.perf_counter() - started < built.seconds


def test_loading_the_cached_library_needs_no_ninja(name, sources, cache, monkeypatch):
    kernels.load_library(name, sources, cache)

    def fail(**_):
        raise AssertionError("must not build")

    monkeypatch.setattr(kernels.cpp_extension, "load", fail)
    assert kernels.load_library(name, sources, cache).status == "cached"


@pytest.mark.parametrize("changed", ["schema.cpp", "checks.h", "cpu/answer.cpp"])
def test_any_changed_source_is_another_library(changed, name, sources, cache):
    before = kernels.load_library(name, sources, cache)
    file = sources / changed
    file.write_text(file.read_text(encoding="utf-8") + "// changed\n", encoding="utf-8")
    after = kernels.load_library(name, sources, cache)
    assert after.status == "built"
    assert after.path != before.path


def test_leaves_path_and_environment_alone(name, sources, cache, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without the environment's own bin folder
    before = dict(os.environ)
    assert kernels.load_library(name, sources, cache).status == "built"
    assert dict(os.environ) == before


def run_build(name, sources, cache, **environment):
    """Load the fixture library in a process of its own and return the finished process."""
    script = f"""
    from pathlib import Path
    from spion_bench import kernels
    info = kernels.load_library({name!r}, Path({str(sources)!r}), Path({str(cache)!r}))
    print(info.status, flush=True)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_processes_one_builds_and_one_waits(name, sources, cache):
    processes = [run_build(name, sources, cache) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted(out.strip() for out, _ in outputs) == ["built", "cached"]


def test_a_waiting_process_says_so(name, sources, cache):
    folder = f"{name}-{kernels._build_key(sources, kernels._compiler_version())}"
    cache.mkdir()
    with kernels.FileLock(cache / f"{folder}.lock"):
        process = run_build(name, sources, cache)
        assert "another process is building" in process.stderr.readline()
    out, _ = process.communicate()
    assert out.strip() == "built"


def test_a_killed_build_is_done_again(name, sources, cache):
    folder = cache / f"{name}-{kernels._build_key(sources, kernels._compiler_version())}"
    half_built = folder / "build-killed"
    half_built.mkdir(parents=True)
    # What a kill leaves: torch's lock file, an unfinished library, and our own lock file.
    for leftover in ("lock", f"{name}.so", "build.ninja"):
        (half_built / leftover).write_bytes(b"")
    (folder / "lock").write_bytes(b"")
    (folder / "complete.json.part").write_text("{", encoding="utf-8")
    folder.with_name(f"{folder.name}.lock").write_bytes(b"")
    info = kernels.load_library(name, sources, cache)
    assert info.status == "built"
    assert answer_of(info) == 42
    assert not half_built.exists()


def damage_library(folder):
    (library,) = folder.glob("build-*/*.so")
    library.unlink()  # the old bytes may still be mapped into this process
    library.write_bytes(b"no library")


def remove_library(folder):
    (library,) = folder.glob("build-*/*.so")
    library.unlink()


def truncate_marker(folder):
    marker = folder / "complete.json"
    marker.write_text(marker.read_text(encoding="utf-8")[:20], encoding="utf-8")


def empty_marker(folder):
    (folder / "complete.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize("damage", [damage_library, remove_library, truncate_marker, empty_marker])
def test_a_damaged_cache_is_built_again(damage, name, sources, cache):
    kernels.load_library(name, sources, cache)
    damage(build_folder(cache, name))
    assert kernels.load_library(name, sources, cache).status == "built"
    assert kernels.load_library(name, sources, cache).status == "cached"


@pytest.mark.parametrize(
    ("variable", "value", "missing"),
    [("PATH", "", "'c++'"), ("CXX", "no-such-cxx", "'no-such-cxx'")],
)
def test_missing_compiler(variable, value, missing, name, sources, cache, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(kernels.BuildError) as caught:
        kernels.load_library(name, sources, cache)
    assert str(caught.value).startswith(f"no C++ compiler: {missing} was not found")
    assert "apt install g++" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_compiler_that_fails(name, sources, cache, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(kernels.BuildError, match="`false --version` failed"):
        kernels.load_library(name, sources, cache)


def test_source_that_does_not_compile(name, sources, cache):
    broken = sources / "cpu" / "answer.cpp"
    broken.write_text('#error "the sky is falling"\n', encoding="utf-8")
    with pytest.raises(kernels.BuildError) as caught:
        kernels.load_library(name, sources, cache)
    message = str(caught.value)
    assert "the sky is falling" in message
    (log,) = cache.glob("*.log")
    assert str(log) in message
    assert "the sky is falling" in log.read_text(encoding="utf-8")

    broken.write_text(SOURCE, encoding="utf-8")
    assert kernels.load_library(name, sources, cache).status == "built"


def test_library_with_an_undefined_symbol(name, sources, cache):
    (sources / "schema.cpp").write_text("int nowhere();\nint here = nowhere();\n", encoding="utf-8")
    with pytest.raises(kernels.BuildError, match="nowhere"):
        kernels.load_library(name, sources, cache)
    assert not list(cache.glob("*/complete.json"))


def test_cache_that_cannot_be_written(name, sources, tmp_path):
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(kernels.BuildError, match=r"cannot be written .* set SPION_BENCH_CACHE"):
        kernels.load_library(name, sources, file / "cache")


def test_cache_root(monkeypatch):
    monkeypatch.setenv("SPION_BENCH_CACHE", "/somewhere/else")
    assert kernels.cache_root() == Path("/somewhere/else")
    monkeypatch.delenv("SPION_BENCH_CACHE")
    monkeypatch.setenv("HOME", "/home/reader")
    assert kernels.cache_root() == Path("/home/reader/.cache/spion_bench")


def test_source_dir_is_the_checkouts_csrc():
    assert kernels.source_dir() == REPOSITORY / "csrc"


def test_sources_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "spion_bench" / "kernels.py"))
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


def test_load_refuses_unknown_backends(monkeypatch):
    monkeypatch.setattr(kernels, "_loaded", None)
    with pytest.raises(ValueError, match="backend: expected \"cpu\", got 'cuda'"):
        kernels.load("cuda")


def test_a_failed_build_is_not_tried_again(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "_loaded", None)
    monkeypatch.setattr(kernels, "_failed", None)
    monkeypatch.setenv("CXX", "no-such-cxx")
    with pytest.raises(kernels.BuildError) as first:
        kernels.load()
    monkeypatch.delenv("CXX")
    with pytest.raises(kernels.BuildError) as second:
        kernels.load()
    assert second.value is first.value


def test_importing_the_operators_builds_nothing():
    script = "import spion_bench.ops, spion_bench.kernels as k; print(k._loaded)"
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "None"
