import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from spion_bench.cli import examine as doctor
from spion_bench.cli.examine import examine
from spion_bench.measure.energy import EnergyError
from spion_bench.measure.environment import Gpu
from spion_bench.native.library import BuildError
from spion_bench.tasks import load_spec, task_names
from spion_bench.tasks.image.cifar10 import ARCHIVE, PICKLES


@pytest.fixture
def findings(tmp_path, monkeypatch):
    def findings(*, build=False, data_dir=tmp_path):
        return {finding.what: finding for finding in examine(build=build, data_dir=data_dir)}

    monkeypatch.setattr(doctor, "probe_gpu", lambda: None)
    return findings


def test_a_machine_that_runs_the_tests_lacks_nothing_needed(findings):
    found = findings(build=True)
    assert not [finding for finding in found.values() if finding.verdict == "missing"]
    assert "run on" in found["CPU kernels"].detail
    assert found["torch"].verdict == "ok"


def test_everything_that_is_limited_has_a_remedy(findings):
    for finding in findings().values():
        assert finding.verdict == "ok" or finding.remedy, finding


def test_without_a_compiler_the_doctor_says_how_to_get_one(findings, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    finding = findings()["C++ compiler"]
    assert finding.verdict == "missing"
    assert "no-such-compiler is not installed" in finding.detail
    assert "apt install g++" in finding.remedy


def test_kernels_are_only_built_when_asked(findings, monkeypatch, tmp_path):
    monkeypatch.setenv("SPION_BENCH_CACHE", str(tmp_path))
    assert "none yet" in findings()["CPU kernels"].detail

    def fail(*, compiles):
        raise BuildError("it did not compile")

    monkeypatch.setattr(doctor.library.DEVICES["cpu"], "load", fail)
    finding = findings(build=True)["CPU kernels"]
    assert (finding.verdict, finding.detail) == ("missing", "it did not compile")


def test_cuda_kernels_need_a_cuda_build_of_torch(findings, monkeypatch):
    monkeypatch.setattr(doctor.torch.version, "cuda", None)
    assert findings()["CUDA kernels"].verdict == "limited"
    monkeypatch.setattr(doctor.torch.version, "cuda", "13.0")
    assert findings()["CUDA kernels"].verdict == "ok"


def no_energy(device):
    raise EnergyError("no counter here")


def test_a_machine_that_counts_no_energy_is_limited_and_says_why(findings, monkeypatch):
    monkeypatch.setattr(doctor, "energy_meter", no_energy)
    finding = findings()["energy"]
    assert (finding.verdict, finding.detail) == ("limited", "no counter here")
    assert finding.remedy == "energy cells will be unsupported"
    meter = SimpleNamespace(method="a counter")
    monkeypatch.setattr(doctor, "energy_meter", lambda device: meter)
    assert (findings()["energy"].verdict, findings()["energy"].detail) == ("ok", "a counter")


@pytest.mark.parametrize(("has_gpu", "verdict"), [(True, "missing"), (False, "limited")])
def test_cuda_kernels_that_do_not_compile_are_missing_only_with_a_gpu(
    findings, monkeypatch, has_gpu, verdict
):
    def fail(device):
        raise BuildError("it did not compile")

    monkeypatch.setattr(doctor.torch.version, "cuda", "13.0")
    monkeypatch.setattr(doctor.torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(doctor, "energy_meter", no_energy)
    monkeypatch.setattr(doctor.library, "build_info", fail)
    assert findings(build=True)["CUDA kernels"].verdict == verdict


def test_unwritable_clear_refs_limits_the_memory_pass(findings, monkeypatch):
    monkeypatch.setattr(doctor, "clear_refs_problem", lambda: "read-only")
    assert findings()["peak memory"].verdict == "limited"


@pytest.mark.parametrize(
    ("gpu", "has_cuda", "verdict", "detail"),
    [
        (Gpu("Some GPU", "600.1", 1500), True, "ok", "Some GPU, driver 600.1"),
        (Gpu("Some GPU", None, None), False, "limited", "Some GPU, but torch has no CUDA"),
    ],
)
def test_gpus_are_described(findings, monkeypatch, gpu, has_cuda, verdict, detail):
    monkeypatch.setattr(doctor, "probe_gpu", lambda: gpu)
    monkeypatch.setattr(doctor.torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(doctor, "energy_meter", no_energy)
    finding = findings()["GPU"]
    assert (finding.verdict, finding.detail) == (verdict, detail)


@pytest.mark.parametrize(("version", "verdict"), [("5.24.0", "ok"), (None, "limited")])
def test_transformers_is_looked_for(findings, monkeypatch, version, verdict):
    monkeypatch.setattr(doctor, "_installed", lambda package: version)
    finding = findings()["transformers"]
    assert finding.verdict == verdict
    assert version is not None or "spion_bench[hf]" in finding.remedy


@pytest.mark.parametrize(
    ("version", "cuda", "verdict"),
    [
        (None, None, "limited"),
        (doctor.XFORMERS, None, "limited"),
        (doctor.XFORMERS, "13.0", "limited"),
        ("0.0.36", "12.8", "limited"),
        (doctor.XFORMERS, "12.8", "ok"),
    ],
)
def test_xformers_must_match_torchs_build(findings, monkeypatch, version, cuda, verdict):
    monkeypatch.setattr(doctor, "_installed", lambda package: version)
    monkeypatch.setattr(doctor.torch.version, "cuda", cuda)
    finding = findings()["xformers"]
    assert finding.verdict == verdict
    assert verdict == "ok" or "torch 2.10 or newer built for CUDA 12" in finding.remedy


def test_the_doctor_knows_the_pinned_xformers():
    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    extras = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    assert extras["optional-dependencies"]["xformers"] == [f"xformers=={doctor.XFORMERS}"]


@pytest.mark.parametrize(("load", "verdict"), [(None, "limited"), (50.0, "limited"), (0.0, "ok")])
def test_a_busy_machine_is_pointed_out(findings, monkeypatch, load, verdict):
    monkeypatch.setattr(doctor, "load_average", lambda: load)
    assert findings()["load"].verdict == verdict


def test_little_memory_is_pointed_out(findings, monkeypatch):
    monkeypatch.setattr(doctor, "ENOUGH_MEMORY_GIB", 10**6)
    assert findings()["memory"].verdict == "limited"


def test_memory_is_unknown_where_proc_is_hidden(findings, monkeypatch):
    def hidden():
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    monkeypatch.setattr("psutil.virtual_memory", hidden)
    found = findings()["memory"]
    assert (found.verdict, "does not report its memory" in found.detail) == ("limited", True)


def test_every_source_of_every_task_is_looked_for(findings):
    found = findings()
    for name in task_names():
        for source in load_spec(name).sources:
            finding = found[f"data: {name}, {source.name}"]
            assert ("stand-in" in finding.detail) == source.stand_in


def test_data_that_is_there_is_found(findings, tmp_path):
    (tmp_path / ARCHIVE).write_bytes(b"")
    folder = tmp_path / "listops-1000"
    folder.mkdir()
    (folder / "basic_train.tsv").write_bytes(b"")
    found = findings()
    assert found["data: image, cifar10"].detail == str(tmp_path / ARCHIVE)
    assert found["data: listops, release"].detail == str(folder)


def test_pickled_data_is_refused_with_the_reason(findings, tmp_path):
    (tmp_path / PICKLES).write_bytes(b"")
    finding = findings()["data: image, cifar10"]
    assert finding.verdict == "limited"
    assert "holds pickles" in finding.detail


def test_without_a_data_folder_the_remedies_name_the_option(findings):
    assert "--data-dir" in findings(data_dir=None)["data: listops, release"].remedy
