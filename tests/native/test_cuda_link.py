"""The pure parts of ``nox -s cuda_link``; nothing is built."""

import pytest

from spion_bench.native import library
from tests.native import cuda_link


def test_architectures_as_torch_writes_them():
    assert [cuda_link.capability(name) for name in ("sm_80", "sm_90a", "sm_100", "sm_120")] == [
        "8.0",
        "9.0a",
        "10.0",
        "12.0",
    ]
    with pytest.raises(ValueError, match="expected sm_80, sm_90 or alike, got 'hopper'"):
        cuda_link.capability("hopper")


def test_operators_are_those_that_take_a_tensor():
    names = cuda_link.operators(cuda_link.SCHEMAS.read_text(encoding="utf-8"))
    assert {"block_attention_forward", "block_spmm_transposed", "flood_fill"} <= set(names)
    assert "cpu_capability" not in names


def test_missing_kernels_are_named():
    library.load()
    missing = cuda_link.missing_kernels(["block_sddmm", "cpu_capability"])
    assert "cpu_capability: no CPU kernel is registered" in missing  # it is for no device
    assert "block_sddmm: no CPU kernel is registered" not in missing


def test_without_nvcc_it_says_so(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert cuda_link.main([]) == 0
    assert capsys.readouterr().out == "skipped: no nvcc\n"
