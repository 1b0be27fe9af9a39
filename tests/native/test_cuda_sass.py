"""The reader of machine code and the rules on it; no compiler and no disassembler runs."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.native.cuda_loops import (
    JUDGED,
    Code,
    bad_loops,
    bad_memory,
    broken_rules,
    describe,
    needed_share,
    per_1024_scores,
    read_code,
    read_table,
    regressions,
    table_lines,
)
from tests.native.cuda_needs import StepLoop
from tests.native.cuda_resources import ARCHITECTURES, Kernel
from tests.native.cuda_sass import Instruction, count, loops, outermost_with, parse, total

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gpu_model.md"
# Instructions for 1024 scores at the image task's shape, at most.
MOST = {
    ("forward", "F16"): 600,
    ("forward", "TF32x3"): 1200,
    ("backward", "F16"): 1800,
    ("backward", "TF32x3"): 4000,
}
FORWARD = Kernel("forward", "F16", 32, 64, dropout=False)
BACKWARD = Kernel("backward", "BF16", 32, 64, dropout=False)
STEP = StepLoop(505, 64, 16, 8, 68, 1, around=591)

# A prologue, an outer loop around an inner one, a branch that only diverged lanes take, a branch
# around a part, an exit by a "call" of a local label, and an endless loop behind the end.
NESTED = """
	.section	.text.nested,"ax",@progbits
.text.nested:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/              @!P0 BRA `(.L_x_4) ;
.L_x_0:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R7+0x3000], [R30.64], !P2 ;
.L_x_1:
        /*0030*/                   HMMA.16816.F32 R20, R16.reuse, R32, RZ ;
        /*0040*/               @P1 BRA `(.L_x_1) ;
        /*0050*/                   BRA.DIV ~URZ, `(.L_x_3) ;
        /*0060*/                   BSSY B0, `(.L_x_2) ;
        /*0070*/               @P2 BRA `(.L_x_2a) ;
        /*0080*/                   MUFU.EX2 R3, R3 ;
.L_x_2a:
        /*0090*/                   BSYNC B0 ;
.L_x_2:
        /*00a0*/               @P3 CALL.REL.NOINC `(.L_x_4) ;
        /*00b0*/                   BRA `(.L_x_0) ;
.L_x_3:
        /*00c0*/                   WARPSYNC R2 ;
        /*00d0*/                   BRA `(.L_x_2) ;
.L_x_4:
        /*00e0*/                   STG.E.128 [R2.64], R4 ;
        /*00f0*/                   EXIT ;
.L_x_5:
        /*0100*/                   BRA `(.L_x_5);
        /*0110*/                   NOP;
.text.other:
        /*0000*/                   EXIT ;
"""


def test_reads_functions_instructions_and_labels():
    nested, other = parse(NESTED)
    assert (nested.symbol, other.symbol) == ("nested", "other")
    assert len(nested.code) == 18
    assert nested.code[1] == Instruction("BRA", "`(.L_x_4)", is_predicated=True)
    assert nested.labels[".L_x_4"] == 14
    assert other.code == (Instruction("EXIT"),)
    assert count(nested)["NOP"] == 0


def test_finds_nested_loops_and_nothing_else():
    nested, other = parse(NESTED)
    outer, inner = loops(nested)
    assert (outer.head, outer.body) == (2, frozenset(range(2, 12)))
    assert (inner.head, inner.body) == (3, frozenset({3, 4}))
    assert outermost_with(nested, "HMMA") == [outer]
    assert outermost_with(nested, "LDSM") == []
    assert loops(other) == []


def test_a_jump_into_the_middle_is_no_loop():
    # Two ways into the cycle, so that no instruction dominates the rest: not a natural loop.
    text = NESTED.replace("`(.L_x_4) ;\n.L_x_0", "`(.L_x_2) ;\n.L_x_0")
    assert text != NESTED
    assert [loop.head for loop in loops(parse(text)[0])] == [3]


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match=r"nested: BRX\.U goes where no label says"):
        loops(parse(NESTED.replace("WARPSYNC R2", "BRX.U UR4"))[0])


def test_counts_by_name_and_by_prefix():
    code = read_code(parse(NESTED)[0])
    assert code.loops == (StepLoop(10, 1, 0, 1, 1, 0, around=4),)
    assert total(code.names, "BRA") == 7
    assert total(code.names, "BRA.DIV") == 1
    assert total(Counter({"LDG.E": 2, "LDGSTS.E": 1}), "LDG") == 2


def test_share_of_a_step_that_is_needed():
    # 64 + 16 + 8 for the products, 174 for 32 scores and 16 outputs of either tile, 3 for barriers.
    assert needed_share(FORWARD, STEP) == pytest.approx(439 / 505)


def codes(kernel=FORWARD, step=STEP, arch="sm_80", **changes):
    names = {"LDGSTS.E.BYPASS.128": 12, "STG.E.128": 4, "STG.E": 4, "LDG.E.CONSTANT": 6}
    return {arch: {kernel: Code((step,), Counter(names) + Counter(changes))}}


def test_what_is_needed_breaks_no_rule():
    assert broken_rules(codes()) == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (replace(STEP, hmma=32), "a step has 32 hmma, 16 ldsm, 8 ldgsts, 68 ex2, 1 ldg, needed 64"),
        (replace(STEP, ldsm=17), "a step has 64 hmma, 17 ldsm"),
        (replace(STEP, ldgsts=4), "a step has 64 hmma, 16 ldsm, 4 ldgsts"),
        (replace(STEP, ex2=66), "a step has 64 hmma, 16 ldsm, 8 ldgsts, 66 ex2"),
        (replace(STEP, ldg=3), "a step has 64 hmma, 16 ldsm, 8 ldgsts, 68 ex2, 3 ldg"),
        (replace(STEP, instructions=600), "0.73 of the 600 instructions of a step are needed"),
    ],
)
def test_rules_on_a_step(step, problem):
    (found,) = broken_rules(codes(step=step))
    assert found.startswith(f"sm_80 forward F16 D32 R64: {problem}")


@pytest.mark.parametrize(
    ("changes", "step", "problem"),
    [
        ({"padded": True}, {}, "1 ldg, needed 64 hmma, 16 ldsm, 8 ldgsts, 68 ex2, 3 ldg"),
        ({"dropout": True}, {"ldg": 11}, "needed 32 hmma, 16 ldsm, 4 ldgsts, 34 ex2, 3 ldg"),
        ({"precision": "TF32x3"}, {"ldgsts": 16, "hmma": 128}, "needed 384 hmma"),
    ],
)
def test_rules_on_a_step_with_padding_or_dropout_or_in_float32(changes, step, problem):
    kernel = replace(FORWARD, **changes)
    (found,) = [p for p in broken_rules(codes(kernel, replace(STEP, **step))) if "a step has" in p]
    assert problem in found


WIDE = {"width": 64, "precision": "TF32x3", "rows": 32}


@pytest.mark.parametrize(
    ("kernel", "step", "problem"),
    [
        # Padding read for each of the four groups of 8 keys, instead of once for 32.
        (replace(FORWARD, **WIDE, padded=True), (144, 12, 16, 18, 5), "5 ldg, needed 144 hmma, 12"),
        # Kept bits read again where they are used.
        (
            replace(FORWARD, **WIDE, dropout=True),
            (144, 12, 16, 18, 3),
            "3 ldg, needed 144 hmma, 12",
        ),
        (replace(FORWARD, **WIDE), (144, 12, 16, 18, 2), "2 ldg, needed 144 hmma, 12"),
        # q is read in every step.
        (Kernel("sddmm", "F16", 64, 32, False), (16, 12, 4, 0, 1), "12 ldsm, 4 ldgsts, 0 ex2"),
        (Kernel("spmm", "F16", 64, 32, False), (16, 10, 8, 0, 1), "needed 16 hmma, 10 ldsm, 6"),
        (Kernel("dropout", "F16", 0, 32, False), (0, 0, 0, 0, 9), "9 ldg, needed 0 hmma"),
    ],
)
def test_rules_on_a_step_of_wide_heads_and_of_the_pipeline(kernel, step, problem):
    (found,) = bad_loops("sm_80", kernel, (StepLoop(500, *step),))
    assert problem in found


def test_packed_arithmetic_is_not_judged_by_its_share():
    assert broken_rules(codes(step=replace(STEP, instructions=600), arch="sm_100")) == []


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({"STL": 1}, "1 STL, needed 0"),
        ({"LDL.64": 2}, "2 LDL.64, needed 0"),
        ({"LDGSTS.E.64": 4}, "4 LDGSTS.E.64, needed 0"),
        ({"STG.E.U16": 8}, "8 STG.E.U16, needed 0"),
        ({"STG.E": 4}, "8 STG.E, needed 4"),
    ],
)
def test_rules_on_memory(names, problem):
    found = broken_rules(codes(**names))
    # What is copied in another way is missing from the copies that are wanted.
    assert f"sm_80 forward F16 D32 R64: {problem}" in found


def test_wide_heads_may_use_local_memory():
    wide = replace(FORWARD, width=128)
    names = Counter({"LDGSTS.E.BYPASS.128": 48, "STG.E.128": 8, "STG.E": 2, "STL": 1})
    assert bad_memory(wide, names) == []
    assert bad_memory(replace(wide, width=64), names) == [
        "8 STG.E.128, needed 4",
        "1 STL, needed 0",
    ]


def test_a_table_survives_its_file(tmp_path):
    table = {arch: {FORWARD: (STEP,), BACKWARD: (STEP, STEP)} for arch in ("sm_80", "sm_90")}
    (tmp_path / "table.toml").write_text("\n".join(table_lines(table)))
    assert read_table(tmp_path / "table.toml") == table


def test_regressions():
    before = {"sm_80": {FORWARD: (STEP,)}}
    for steps in ((replace(STEP, instructions=530),), (replace(STEP, instructions=100),)):
        assert regressions({"sm_80": {FORWARD: steps}}, before) == []
    for steps in (
        (replace(STEP, instructions=531),),
        (replace(STEP, around=621),),
        (replace(STEP, ldsm=20),),
        (STEP, STEP),
        (),
    ):
        (problem,) = regressions({"sm_80": {FORWARD: steps}}, before)
        assert problem == f"sm_80 forward F16 D32 R64: {describe((STEP,))} -> {describe(steps)}"
    assert len(regressions({"sm_80": {BACKWARD: (STEP,)}}, before)) == 2


def test_the_committed_table_keeps_the_rules():
    table = read_table()
    assert tuple(table) == ARCHITECTURES
    for arch, kernels in table.items():
        assert [
            problem for k, found in kernels.items() for problem in bad_loops(arch, k, found)
        ] == []
        assert FORWARD in kernels
        assert BACKWARD in kernels


def test_instructions_for_1024_scores():
    # 64 x 64 scores by two warps: loops of 3 blocks, and twice the way around them.
    assert per_1024_scores(FORWARD, (STEP,), 2, 3) == 2 * (505 * 3 + 591 * 2) / (3 * 4)


def test_the_documented_instructions_are_those_of_the_table():
    text = DOCUMENT.read_text(encoding="utf-8")
    for (kind, precision), most in MOST.items():
        kernel = Kernel(kind, precision, 32, 32, dropout=False)
        counts = [per_1024_scores(kernel, read_table()[arch][kernel], 32, 73) for arch in JUDGED]
        assert max(counts) <= most
        assert f"| {kind} | {precision} | {' | '.join(f'{n:.0f}' for n in counts)} |" in text
