"""The reader of ptxas' report, and the committed table against its own rules; no compiler runs."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.native import cuda_build
from tests.native.cuda_resources import (
    ARCHITECTURES,
    Kernel,
    Use,
    broken_rules,
    kernel_of,
    parse,
    read_table,
    regressions,
    table_compiler,
    table_lines,
)

FORWARD = Kernel("forward", "F16", 32, 64, dropout=False)
WIDE = Kernel("backward", "TF32x3", 128, 64, dropout=True)
LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN11spion_bench4cuda30block_attention_forward_kernelINS0_4HalfILb0EEELi32ELi64ELb0ELb0EEEvNS0_18BlockAttentionArgsE' for 'sm_80'
ptxas info    : Function properties for _ZN11spion_bench4cuda30block_attention_forward_kernel
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, 728 bytes cmem[0]
ptxas info    : Compiling entry function '_ZN11spion_bench4cuda25attention_backward_kernelINS0_6SingleILb1EEELi128ELi64ELb1EEEvNS0_18BlockAttentionArgsE' for 'sm_100'
ptxas info    : Function properties for _ZN11spion_bench4cuda25attention_backward_kernel
    40 bytes stack frame, 52 bytes spill stores, 60 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 40 bytes cumulative stack size
"""  # noqa: E501


def test_reads_the_report_of_ptxas():
    assert parse(LOG) == {"sm_80": {FORWARD: Use(96, 0)}, "sm_100": {WIDE: Use(255, 52)}}


@pytest.mark.parametrize(
    ("symbol", "kernel"),
    [
        (
            "_ZN11spion_bench4cuda30block_attention_forward_kernelINS0_4HalfILb1EEELb0ELi64ELi16ELb1ELb0EEEvNS0_18BlockAttentionArgsE",
            Kernel("forward", "BF16", 64, 16, dropout=False, padded=True),
        ),
        (
            "_ZN11spion_bench4cuda31block_attention_backward_kernelINS0_4HalfILb0EEELb1ELi32ELi64ELb1EEEvNS0_18BlockAttentionArgsE",
            Kernel("backward", "F16", 32, 64, dropout=True, reaches=True),
        ),
        (
            "_ZN11spion_bench4cuda28block_spmm_transposed_kernelINS0_4HalfILb0EEELi64ELi64EEEvNS0_13BlockSpmmArgsE",
            Kernel("spmm_transposed", "F16", 64, 64, dropout=False),
        ),
        (
            "_ZN11spion_bench4cuda29block_softmax_backward_kernelINS0_6SingleILb0EEELi64EEEvNS0_24BlockSoftmaxBackwardArgsE",
            Kernel("softmax_backward", "TF32", 0, 64, dropout=False),
        ),
        (
            "_ZN11spion_bench4cuda20diagonal_conv_kernelIdEEvNS0_16DiagonalConvArgsIT_EE",
            Kernel("diagonal_conv", "F64", 0, 0, dropout=False),
        ),
    ],
)
def test_names(symbol, kernel):
    assert kernel_of(symbol) == kernel


def test_a_table_survives_its_file(tmp_path):
    padded = replace(FORWARD, padded=True)
    kernels = {FORWARD: Use(96, 0), padded: Use(97, 0), WIDE: Use(255, 52)}
    table = dict.fromkeys(("sm_80", "sm_90"), kernels)
    (tmp_path / "table.toml").write_text("\n".join(table_lines(table)))
    assert read_table(tmp_path / "table.toml") == table


def test_rules():
    assert broken_rules({"sm_80": {FORWARD: Use(96, 0), WIDE: Use(255, 104)}}) == []
    problems = broken_rules({"sm_80": {FORWARD: Use(212, 4), WIDE: Use(255, 108)}})
    assert problems == [
        "sm_80 forward F16 D32 R64: spills 4 bytes, allowed 0",
        "sm_80 forward F16 D32 R64: 16 tiles fit, needed 20",
        "sm_80 backward TF32x3 D128 R64 dropout: spills 108 bytes, allowed 104",
    ]


def test_regressions():
    before = {"sm_80": {FORWARD: Use(90, 0)}}
    assert regressions({"sm_80": {FORWARD: Use(97, 0)}}, before) == []
    assert len(regressions({"sm_80": {FORWARD: Use(98, 0)}}, before)) == 1
    assert len(regressions({"sm_80": {FORWARD: Use(90, 4)}}, before)) == 1
    assert len(regressions({"sm_80": {replace(FORWARD, rows=32): Use(90, 0)}}, before)) == 2


def test_the_committed_table_keeps_the_rules():
    table = read_table()
    assert tuple(table) == ARCHITECTURES
    assert all(FORWARD in kernels for kernels in table.values())
    assert broken_rules(table) == []


@pytest.mark.parametrize(("release", "status"), [(table_compiler(), 1), ("release 12.9", 0)])
def test_only_the_release_of_the_table_is_compared_with_it(monkeypatch, capsys, release, status):
    grown = {"sm_90": {Kernel("average_pool", "F32", 0, 0, False): Use(200, 0)}}
    answer = SimpleNamespace(stdout=f"nvcc\n{release}\nBuild cuda\n")
    monkeypatch.setattr(cuda_build.shutil, "which", lambda name: name)
    monkeypatch.setattr(cuda_build, "run", lambda *command: answer)
    monkeypatch.setattr(cuda_build, "compile_all", lambda *arguments: (grown, {"sm_90": {}}))
    assert cuda_build.main(["--arch", "sm_90"]) == status
    told = capsys.readouterr().out
    assert ("40 -> 200 registers" in told) == (status == 1)
    assert ("not compared with the table" in told) == (status == 0)
