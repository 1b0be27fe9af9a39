"""The build wrapper, on a tiny source folder: one C function, compiled in a second."""

import ctypes
import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from spion_bench.native import build

REPOSITORY = Path(__file__).parents[2]

SOURCE = 'extern "C" int spion_fixture_answer() { return 42; }\n'


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "csrc"
    (folder / "cpu" / "common").mkdir(parents=True)
    (folder / "schema.cpp").write_text('#include "checks.h"\n', encoding="utf-8")
    (folder / "checks.h").write_text("// nothing to check\n", encoding="utf-8")
    (folder / "cpu" / "answer.cpp").write_text(SOURCE, encoding="utf-8")
    operators = folder / "cpu" / "common" / "operators.cpp"
    operators.write_text('#include "../answer.cpp"\n', encoding="utf-8")
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
    built = build.load_library(name, sources, cache)
    assert built.status == "built"
    assert answer_of(built) == 42
    assert "first use, about a minute" in capsys.readouterr().err

    started = time.perf_counter()
    cached = build.load_library(name, sources, cache)
    assert cached.status == "cached"
    assert (cached.path, cached.seconds, cached.compiler, cached.flags) == (
        built.path,
        built.seconds,
        built.compiler,
        built.flags,
    )
    assert capsys.readouterr().err == ""
    assert time.perf_counter() - started < built.seconds


def test_torch_builds_with_the_toolkit_of_the_recipe(name, sources, cache, monkeypatch):
    def fail(**_):
        raise RuntimeError(f"CUDA_HOME was {build.cpp_extension.CUDA_HOME}")

    monkeypatch.setattr(build.cpp_extension, "CUDA_HOME", "/usr/local")
    monkeypatch.setattr(build.cpp_extension, "load", fail)
    recipe = replace(build.CPU_RECIPE, toolkit="/opt/cuda")
    with pytest.raises(build.BuildError, match="CUDA_HOME was /opt/cuda"):
        build.load_library(name, sources, cache, recipe)
    assert build.cpp_extension.CUDA_HOME == "/usr/local"


def test_loading_the_cached_library_needs_no_ninja(name, sources, cache, monkeypatch):
    build.load_library(name, sources, cache)

    def fail(**_):
        raise AssertionError("must not build")

    monkeypatch.setattr(build.cpp_extension, "load", fail)
    assert build.load_library(name, sources, cache).status == "cached"


@pytest.mark.parametrize("changed", ["schema.cpp", "checks.h", "cpu/answer.cpp"])
def test_any_changed_source_is_another_library(changed, name, sources, cache):
    before = build.load_library(name, sources, cache)
    file = sources / changed
    file.write_text(file.read_text(encoding="utf-8") + "// changed\n", encoding="utf-8")
    after = build.load_library(name, sources, cache)
    assert after.status == "built"
    assert after.path != before.path


def test_another_recipe_is_another_library(sources):
    recipes = [
        build.CPU_RECIPE,
        replace(build.CPU_RECIPE, cxx_flags=(*build.CXX_FLAGS, "-DNDEBUG")),
        replace(build.CPU_RECIPE, cuda_flags=("-O3",)),
        replace(build.CPU_RECIPE, cuda_version="13.0"),
        replace(build.CPU_RECIPE, compiled=("*.cpp",)),
    ]
    keys = {build._build_key(sources, "a compiler", recipe) for recipe in recipes}
    assert len(keys) == len(recipes)


def test_leaves_path_and_environment_alone(name, sources, cache, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without the environment's own bin folder
    before = dict(os.environ)
    assert build.load_library(name, sources, cache).status == "built"
    assert dict(os.environ) == before


def run_build(name, sources, cache, **environment):
    """Load the fixture library in a process of its own and return the finished process."""
    script = f"""
    from pathlib import Path
    from spion_bench.native import build
    info = build.load_library({name!r}, Path({str(sources)!r}), Path({str(cache)!r}))
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
    folder = f"{name}-{build._build_key(sources, build._compiler_version())}"
    cache.mkdir()
    with FileLock(cache / f"{folder}.lock"):
        process = run_build(name, sources, cache)
        # A CUDA build of torch says more on a machine without a GPU.
        assert any("another process is building" in line for line in process.stderr)
    out, _ = process.communicate()
    assert out.strip() == "built"


def test_a_killed_build_is_done_again(name, sources, cache):
    folder = cache / f"{name}-{build._build_key(sources, build._compiler_version())}"
    half_built = folder / "build-killed"
    half_built.mkdir(parents=True)
    # What a kill leaves: torch's lock file, an unfinished library, and our own lock file.
    for leftover in ("lock", f"{name}.so", "build.ninja"):
        (half_built / leftover).write_bytes(b"")
    (folder / "lock").write_bytes(b"")
    (folder / "complete.json.4711.tmp").write_text("{", encoding="utf-8")
    folder.with_name(f"{folder.name}.lock").write_bytes(b"")
    info = build.load_library(name, sources, cache)
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
    build.load_library(name, sources, cache)
    damage(build_folder(cache, name))
    assert build.load_library(name, sources, cache).status == "built"
    assert build.load_library(name, sources, cache).status == "cached"


@pytest.mark.parametrize(
    ("variable", "value", "missing"),
    [("PATH", "", "'c++'"), ("CXX", "no-such-cxx", "'no-such-cxx'")],
)
def test_missing_compiler(variable, value, missing, name, sources, cache, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(build.BuildError) as caught:
        build.load_library(name, sources, cache)
    assert str(caught.value).startswith(f"no C++ compiler: {missing} was not found")
    assert "apt install g++" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_compiler_that_fails(name, sources, cache, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(build.BuildError, match="`false --version` failed"):
        build.load_library(name, sources, cache)


def test_source_that_does_not_compile(name, sources, cache):
    broken = sources / "cpu" / "answer.cpp"
    broken.write_text('#error "the sky is falling"\n', encoding="utf-8")
    with pytest.raises(build.BuildError) as caught:
        build.load_library(name, sources, cache)
    message = str(caught.value)
    assert "the sky is falling" in message
    (log,) = cache.glob("*.log")
    assert str(log) in message
    assert "the sky is falling" in log.read_text(encoding="utf-8")

    broken.write_text(SOURCE, encoding="utf-8")
    assert build.load_library(name, sources, cache).status == "built"


def test_a_failed_build_gives_its_recipes_hint(name, sources, cache):
    (sources / "schema.cpp").write_text("#error\n", encoding="utf-8")
    recipe = replace(build.CPU_RECIPE, kernels="CUDA kernels", hint="CUDA_HOME is /usr")
    with pytest.raises(build.BuildError, match="could not be built; CUDA_HOME is /usr; full log"):
        build.load_library(name, sources, cache, recipe)


def test_library_with_an_undefined_symbol(name, sources, cache):
    (sources / "schema.cpp").write_text("int nowhere();\nint here = nowhere();\n", encoding="utf-8")
    with pytest.raises(build.BuildError, match="nowhere"):
        build.load_library(name, sources, cache)
    assert not list(cache.glob("*/complete.json"))


def test_cache_that_cannot_be_written(name, sources, tmp_path):
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(build.BuildError, match=r"cannot be written .* set SPION_BENCH_CACHE"):
        build.load_library(name, sources, file / "cache")


def test_awkward_paths_of_sources_torch_and_cache(name, sources, tmp_path, monkeypatch):
    awkward = tmp_path / "mit Leerzeichen, $HOME, ü und 'Anführung'"
    awkward.mkdir()
    torch_dir = awkward / "torch"
    torch_dir.symlink_to(Path(build.torch.__file__).parent)
    monkeypatch.setattr(build.cpp_extension, "_TORCH_PATH", str(torch_dir))
    monkeypatch.setattr(build.cpp_extension, "TORCH_LIB_PATH", str(torch_dir / "lib"))
    (sources / "schema.cpp").write_text("#include <c10/macros/Macros.h>\n", encoding="utf-8")
    built = build.load_library(name, sources.rename(awkward / "csrc"), awkward / "cache")
    assert answer_of(built) == 42
    assert torch_dir / "lib" == Path(build.cpp_extension.TORCH_LIB_PATH)


def test_a_marker_cannot_name_a_library_outside_of_its_folder(name, sources, cache, tmp_path):
    build.load_library(name, sources, cache)
    folder = build_folder(cache, name)
    foreign = tmp_path / "foreign.so"
    foreign.write_bytes(b"another library")
    for path in (str(foreign), "../../foreign.so"):
        marker = {"library": path, "sha256": build.file_digest(foreign), "seconds": 0.0}
        (folder / "complete.json").write_text(json.dumps(marker), encoding="utf-8")
        assert build._read_complete(folder, "", build.CPU_RECIPE) is None


def test_a_cache_of_others_is_not_used(name, sources, cache):
    build.load_library(name, sources, cache)
    cache.chmod(0o777)
    with pytest.raises(build.BuildError, match=f"{cache}: everybody can write there"):
        build.load_library(name, sources, cache)
