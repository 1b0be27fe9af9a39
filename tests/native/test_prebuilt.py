"""The library that a wheel may bring along: when it is taken, refused, or compiled after all."""

import json
import os

import pytest
import torch

from spion_bench.cli import examine
from spion_bench.native import library, prebuilt
from spion_bench.native.build import CPU_RECIPE, BuildError, BuildInfo, sources_digest

ORIGIN = prebuilt.Origin(
    sources="ab12",
    torch="2.13.0+cpu",
    machine="x86_64",
    baseline="x86-64",
    chosen=("avx2", "portable"),
    compiler="c++ 12",
    flags=("-O3",),
    seconds=60.0,
)


@pytest.mark.parametrize(
    ("sources", "version", "machine", "refusal"),
    [
        ("ab12", "2.13.0+cpu", "x86_64", None),
        ("ab12", "2.13.4+cu130", "x86_64", None),
        ("ab12", "2.14.0", "x86_64", "was built for torch 2.13, here is torch 2.14.0"),
        ("ab12", "2.1.3", "x86_64", "was built for torch 2.13, here is torch 2.1.3"),
        ("ab12", "2.13.0", "aarch64", "is for x86_64 machines, this one is aarch64"),
        ("cd34", "2.13.0", "x86_64", "was built of other sources than this package's"),
    ],
)
def test_a_library_fits_its_own_torch_machine_and_sources(sources, version, machine, refusal):
    assert ORIGIN.refusal(sources, version, machine) == refusal


def place(folder, **changes):
    """Put a library in a wheel's place: one that fits by what is written about it, but is none."""
    folder.mkdir()
    here = {
        "sources": sources_digest(library.source_dir(), CPU_RECIPE),
        "torch": torch.__version__,
        "machine": os.uname().machine,
    }
    origin = json.loads(ORIGIN.model_dump_json()) | here | changes
    (folder / "origin.json").write_text(json.dumps(origin), encoding="utf-8")
    (folder / "spion_bench.so").write_bytes(b"no library")
    return folder


def test_a_package_without_a_library_has_none(tmp_path):
    assert prebuilt.load_prebuilt(library.source_dir(), tmp_path / "prebuilt") is None
    assert not prebuilt.is_prebuilt()  # a checkout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"torch": "2.0.1"}, "was built for torch 2.0"),
        ({"sources": "other"}, "was built of other sources"),
        ({}, r"cannot be loaded \(.*spion_bench.so"),
        ({"what": "unknown"}, r"cannot be loaded \(1 validation error"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_command_that_compiles(tmp_path, changes, message):
    folder = place(tmp_path / "prebuilt", **changes)
    with pytest.raises(BuildError, match=f"(?s){message}.*`spion-bench doctor --build`"):
        prebuilt.load_prebuilt(library.source_dir(), folder)


def test_a_library_that_fits_is_loaded_and_says_how_it_was_built(tmp_path):
    folder = place(tmp_path / "prebuilt")
    (folder / "spion_bench.so").unlink()
    (folder / "spion_bench.so").symlink_to(library.build_info().path)
    info = prebuilt.load_prebuilt(library.source_dir(), folder)
    assert info == BuildInfo("prebuilt", 60.0, folder / "spion_bench.so", "c++ 12", ("-O3",))


@pytest.fixture
def unfit(monkeypatch, tmp_path):
    """The CPU kernels of a wheel for another torch, in a new process, with an empty cache."""
    monkeypatch.setattr(prebuilt, "_HERE", place(tmp_path / "prebuilt", torch="2.0.1"))
    monkeypatch.setattr(
        library, "load_prebuilt", lambda sources: prebuilt.load_prebuilt(sources, prebuilt._HERE)
    )
    monkeypatch.setenv("SPION_BENCH_CACHE", str(tmp_path / "cache"))
    return library.Library("spion_bench", library.CPU._recipe, schemas=None, in_wheels=True)


def test_nothing_is_compiled_instead_without_being_asked(unfit, tmp_path):
    with pytest.raises(BuildError, match=r"was built for torch 2\.0"):
        unfit.load()
    assert not (tmp_path / "cache").exists()


def test_without_a_compiler_too_it_says_what_does_not_fit(unfit, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-cxx")
    with pytest.raises(BuildError, match=r"was built for torch 2\.0"):
        unfit.load()


def test_what_was_compiled_on_request_is_taken_from_then_on(unfit, monkeypatch):
    monkeypatch.setenv("SPION_BENCH_CACHE", str(library.build_info().path.parents[2]))
    assert unfit.load().status == "cached"


def test_doctor_compiles_on_request(unfit, monkeypatch):
    refusals = []
    info = BuildInfo("built", 60.0, library.build_info().path, "c++ 12", ())
    monkeypatch.setattr(
        library, "load_library", lambda *_, refusal: (refusals.append(refusal), info)[1]
    )
    monkeypatch.setitem(library.DEVICES, "cpu", unfit)
    assert examine._kernels("cpu", build=False).detail.startswith("in this wheel")
    assert examine._kernels("cpu", build=True).detail.startswith("built, compiled in 60 s")
    assert refusals == [None]


def test_doctor_needs_no_compiler_beside_such_a_wheel(unfit, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-cxx")
    assert examine._compiler().verdict == "limited"
