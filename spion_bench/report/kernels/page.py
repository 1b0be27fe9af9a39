"""The page of the kernel sweeps: goals, roofline, scaling, GPU tables, and every number."""

from __future__ import annotations

from spion_bench.report.kernels.goals import GOALS, goal_table
from spion_bench.report.kernels.gpu import gpu_headlines, gpu_lede, gpu_section
from spion_bench.report.kernels.points import (
    FUSED,
    Sweeps,
    gpu_sweeps,
    is_on_gpu,
    is_sweep,
    kernel_sweeps,
)
from spion_bench.report.kernels.roofline import roofline_figure
from spion_bench.report.kernels.scaling import scaling_figures
from spion_bench.report.kernels.sweeps import sweep_tables
from spion_bench.report.layout import Headline, Link, Page, Section
from spion_bench.report.load import RecordSet
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import slug
from spion_bench.report.words import format_quantity, join_words, plural

KERNEL_PAGE = "kernels"
"""Stem of the page's files."""

_HEADLINES = (0, 4, 5, 9)  # goals that open the page


def build_kernel_page(run: RecordSet, stamp: str) -> Page | None:
    """Return the page of a run's kernel sweeps, or None if it has none.

    Args:
        run: All records.
        stamp: First line of every generated file.
    """
    found, on_gpu = kernel_sweeps(run), gpu_sweeps(run)
    if not found and not on_gpu:
        return None
    kinds = [*(["CPU"] if found else []), *(["GPU"] if on_gpu else [])]
    return Page(
        title=f"{join_words(kinds)} kernels against their peers and limits",
        stamp=stamp,
        lede=(*([_lede(run)] if found else []), *map(gpu_lede, on_gpu)),
        headlines=(
            *(_headlines(found[0]) if found else []),
            *(headline for sweeps in on_gpu for headline in gpu_headlines(sweeps)),
        ),
        sections=(
            *(section for sweeps in found for section in _sections(sweeps)),
            *map(gpu_section, on_gpu),
        ),
        links=(Link("index", "Whole report"),),
    )


def _lede(run: RecordSet) -> str:
    swept = [o for o in run.outcomes if is_sweep(o) and not is_on_gpu(o)]
    machines = join_words(sorted({outcome.record.environment.machine for outcome in swept}))
    n_cases = len({outcome.cell.label for outcome in swept})
    ok = sum(outcome.is_ok for outcome in swept)
    return (
        f"{plural(n_cases, 'kernel case')} on {machines}: {FUSED} is the fused operator, pipeline "
        f"the paper's three steps, {BASELINE} PyTorch's dense attention, flex_forward its compiled "
        "block-mask attention (forward only on the CPU), sliding_window plain PyTorch, sgemm the "
        f"limit. Attention passed the gate before it was timed. {ok} of "
        f"{plural(len(swept), 'cell')} gave numbers; the tables give the reasons for the "
        "others."
    )


def _headlines(sweeps: Sweeps) -> list[Headline]:
    found = []
    for goal in (GOALS[place] for place in _HEADLINES):
        value = goal.measure(sweeps).value
        if value is None:
            continue
        text, interval = format_quantity(value.value, goal.unit, value.low, value.high)
        limit = "" if goal.limit is None else format_quantity(goal.limit, goal.unit)[0]
        side = "at least" if goal.higher_is_better else "at most"
        basis = f"goal: {side} {limit}" if limit else "reported"
        found.append(Headline(goal.figure, text, interval, basis))
    return found


def _sections(sweeps: Sweeps) -> list[Section]:
    prefix = slug("kernels", sweeps.label)
    return [
        Section.of(
            slug("goals", sweeps.label),
            f"Fractions of the limit{sweeps.suffix}",
            "What share of the limit each kernel reaches, beside what was aimed at.",
            [goal_table(sweeps, slug(prefix, "goals"))],
        ),
        Section.of(
            slug("roofline", sweeps.label),
            f"Roofline{sweeps.suffix}",
            "How near to compute and memory limits each kernel runs.",
            [roofline_figure(sweeps, slug(prefix, "roofline"))],
            "No rate was measured.",
        ),
        Section(
            slug("scaling", sweeps.label),
            f"Scaling{sweeps.suffix}",
            "How times change with one factor at a time.",
            (
                "One factor at a time around L = 4096, D = 64, blocks of 64, 4 % of the blocks, "
                "B * H = 8; the implementations of a case took turns in random order. Of a case "
                "that was run more than once, the last run counts.",
            ),
            tuple(scaling_figures(sweeps, prefix)),
        ),
        Section.of(
            slug("numbers", sweeps.label),
            f"Every sweep in numbers{sweeps.suffix}",
            "Every time of every sweep.",
            sweep_tables(sweeps, prefix),
        ),
    ]
