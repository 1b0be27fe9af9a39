"""Sections of results: accuracy and what it is worth, time, memory, patterns, kernels."""

from __future__ import annotations

from spion_bench.report.figures.ablation import ablation_figures
from spion_bench.report.figures.breakdown import breakdown_figures
from spion_bench.report.figures.comparison import comparison_figures
from spion_bench.report.figures.curves import curve_figures
from spion_bench.report.figures.growth import growth_blocks
from spion_bench.report.figures.opening import front_figures
from spion_bench.report.figures.patterns import pattern_figures
from spion_bench.report.figures.worth import worth_figures
from spion_bench.report.kernels.cases import kernel_tables
from spion_bench.report.kernels.page import KERNEL_PAGE
from spion_bench.report.kernels.points import is_sweep
from spion_bench.report.layout import Link, Section
from spion_bench.report.load import RecordSet
from spion_bench.report.methods import BASELINE
from spion_bench.report.narrative import overview_items
from spion_bench.report.tables.ablation import ablation_tables
from spion_bench.report.tables.breakdown import breakdown_tables
from spion_bench.report.tables.energy import energy_sentence, energy_tables
from spion_bench.report.tables.evidence import evidence_tables, worth_tables
from spion_bench.report.tables.matrix import matrix_table
from spion_bench.report.tables.published import published_tables
from spion_bench.report.tables.ratios import ratio_tables
from spion_bench.report.tables.rivals import rival_tables
from spion_bench.report.tables.summary import detail_tables, summary_tables
from spion_bench.report.tables.training import block_tables, phase_tables, seed_tables
from spion_bench.report.tables.whole_training import reach_tables
from spion_bench.report.words import plural


def result_sections(run: RecordSet) -> list[Section]:
    """Return the sections of results; those that only some profiles have are left out elsewhere."""
    phases = phase_tables(run)
    no_artifact = "no accuracy cell of this run has a readable artifact"
    sections = [
        Section(
            "accuracy",
            "Accuracy, and what it is worth",
            "Whether a task needs attention at all, what each method reached in what time, and "
            "what the learned pattern is worth.",
            () if phases else ("Training was not measured: this run has no accuracy cell.",),
            (
                *evidence_tables(run),
                *front_figures(run),
                *reach_tables(run),
                *worth_figures(run),
                *worth_tables(run),
            ),
        ),
        Section.of(
            "rivals",
            "Against other attention",
            "How many times faster SPION-CF is than others, and where the difference comes from.",
            [*ratio_tables(run), *rival_tables(run)],
        ),
        Section(
            "summary",
            "Summary by method",
            "Accuracy, time, memory and kept blocks of every method, side by side.",
            (
                "Brackets are 95 % intervals: Student's t over seeds for accuracy, bootstrap of "
                f"the median for times. A speed-up is the time of {BASELINE} over the method's, "
                "the median over the rounds of one run where both took turns, else the ratio of "
                "two medians of one machine; it counts as faster or slower only beyond 5 % and "
                "beyond its interval. A memory saving is the same of peaks.",
                energy_sentence(run),
            ),
            (*summary_tables(run), *comparison_figures(run), *detail_tables(run)),
            tuple(overview_items(run)),
        ),
        Section.of(
            "ablation",
            "One factor at a time",
            "What changes when one thing about SPION changes and nothing else does.",
            [*ablation_figures(run), *ablation_tables(run)],
        ),
        Section.of(
            "growth",
            "Growth with length",
            "How time, memory and kept blocks grow with the length of the sequence.",
            growth_blocks(run),
        ),
        Section.of(
            "breakdown",
            "Where a step goes",
            "Which part of a training step takes how much of it.",
            [*breakdown_figures(run), *breakdown_tables(run)],
        ),
        Section.of(
            "energy",
            "Energy",
            "How many joules a step and a sequence took.",
            energy_tables(run),
        ),
        Section.of(
            "patterns",
            "Patterns by layer",
            "What each layer attended to, and which blocks it kept.",
            pattern_figures(run),
            f"No pictures: {no_artifact} with patterns.",
        ),
        Section.of(
            "blocks",
            "Blocks kept by layer",
            "How many blocks each layer of each run kept.",
            block_tables(run),
            "No record of this run has a pattern.",
        ),
        Section.of(
            "curves",
            "Training curves",
            "How loss and accuracy went over the steps, and when runs turned sparse.",
            curve_figures(run),
            f"No curves: {no_artifact}.",
        ),
        Section.of(
            "training",
            "Training phases",
            "What each phase of training took, and how every single run ended.",
            [*phases, *seed_tables(run)],
        ),
        _kernel_section(run),
        Section.of(
            "published",
            "Published numbers",
            "What others reported, as printed; none of it was measured here.",
            published_tables(run),
        ),
        Section.of(
            "matrix",
            "Methods by task",
            "Whether every method runs on every task and computes what it says.",
            [matrix_table(run)],
        ),
    ]
    return [section for section in sections if section.blocks or section.paragraphs]


def _kernel_section(run: RecordSet) -> Section:
    tables = kernel_tables(run)
    swept = sum(is_sweep(outcome) for outcome in run.outcomes)
    if swept:
        sentences = [f"{plural(swept, 'cell')} of kernel sweeps are on a separate page."]
    elif tables:
        sentences = []
    else:
        sentences = ["Kernels were not measured: this run has no kernel cell."]
    links = (Link(KERNEL_PAGE, "Kernel sweeps: goals, roofline and scaling"),) if swept else ()
    says = "How long single operators take, beside their peers."
    return Section("kernels", "Kernels", says, tuple(sentences), tuple(tables), links=links)
