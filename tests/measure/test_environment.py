import dataclasses
import sys
import types

import pytest
import torch

from spion_bench.measure import environment
from spion_bench.measure.environment import capture, probe_gpu
from spion_bench.measure.machine import cpu_model
from spion_bench.native import build, library
from tests.measure.conftest import UUID


def test_capture_names_machine_and_software_but_no_host():
    captured = capture(threads=2)
    assert captured.threads == 2
    assert captured.machine == f"{cpu_model()} x {captured.cores}"
    assert captured.torch == torch.__version__
    assert captured.kernel_path in ("avx512", "avx2", "portable")
    assert captured.compiler == library.build_info().compiler
    assert captured.compiler_flags == list(build.CXX_FLAGS)
    assert captured.gpu is None


def test_capture_describes_the_gpu_for_cuda_only(monkeypatch):
    gpu = environment.Gpu("Some GPU", "600.1", 1500)
    monkeypatch.setattr(environment, "probe_gpu", lambda: gpu)
    captured = capture(threads=1, device="cuda")
    assert (captured.gpu, captured.gpu_driver, captured.gpu_sm_clock_mhz) == (
        "Some GPU",
        "600.1",
        1500,
    )


def test_on_a_gpu_the_compiler_is_that_of_the_cuda_kernels(monkeypatch):
    build_info = library.build_info
    cuda = dataclasses.replace(build_info(), compiler="nvcc of a test", flags=("-lineinfo",))
    monkeypatch.setattr(
        library, "build_info", lambda device="cpu": cuda if device == "cuda" else build_info()
    )
    captured = capture(threads=1, device="cuda")
    assert (captured.compiler, captured.compiler_flags) == ("nvcc of a test", ["-lineinfo"])
    assert capture(threads=1).compiler == build_info().compiler


def test_without_cuda_kernels_no_compiler_is_told(monkeypatch):
    build_info = library.build_info

    def fail_for_cuda(device="cpu"):
        if device == "cuda":
            raise library.BuildError("no nvcc")
        return build_info()

    monkeypatch.setattr(library, "build_info", fail_for_cuda)
    captured = capture(threads=1, device="cuda")
    assert (captured.compiler, captured.compiler_flags) == (None, [])


def test_nvml_describes_the_gpu(stub):
    assert probe_gpu() == environment.Gpu("Some GPU", "600.1", 1410)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("nvmlSystemGetDriverVersion", ("Some GPU", None, 1410)),
        ("sm_clock", ("Some GPU", "600.1", None)),
        ("nvmlShutdown", ("Some GPU", "600.1", 1410)),
    ],
)
def test_a_query_that_nvml_refuses_costs_its_own_field_alone(stub, query, expected):
    stub.refuse(query, "no permission")
    assert probe_gpu() == environment.Gpu(*expected)


def test_nvml_is_asked_for_the_gpu_that_torch_uses(stub, monkeypatch):
    device = types.SimpleNamespace(uuid=UUID)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    stub.refuse("nvmlDeviceGetHandleByIndex_v2", "not supported")
    assert probe_gpu() == environment.Gpu("Some GPU", "600.1", 1410)


@pytest.mark.parametrize("query", ["nvmlInit", "nvmlDeviceGetHandleByIndex_v2"])
def test_nvml_without_driver_or_device_finds_none(stub, query):
    stub.refuse(query, "not loaded")
    assert probe_gpu() is None


def test_without_nvml_torch_names_the_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Some GPU")
    device = types.SimpleNamespace(uuid=UUID)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: device)
    assert probe_gpu() == environment.Gpu("Some GPU", None, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert probe_gpu() is None
