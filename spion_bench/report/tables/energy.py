"""The tables of energy, and of what a GPU did while cells were measured."""

from __future__ import annotations

from typing import Final

from spion_bench.records import GpuReadings, Spread
from spion_bench.report.entries import METHOD, Measure, clock_entry, spread_text
from spion_bench.report.groups import Group, measured_groups
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import join_words

STEP_ENERGY: Final = Measure("step_joules", "A training step", "energy", "J")
_MEASURES: Final = (
    STEP_ENERGY,
    Measure("sequence_joules", "A sequence", "energy", "J"),
    Measure("power_w", "Mean power", "energy", "W"),
    Measure("step_dram_joules", "Memory (DRAM), a step", "energy", "J"),
)


def energy_tables(run: RecordSet) -> list[Table]:
    """Return, per setting with energy cells that gave numbers, the joules of each method."""
    return [_energy_table(group) for group in measured_groups(run, ("energy",))]


def energy_sentence(run: RecordSet) -> str:
    """Say whether energy was measured, and if not, why."""
    cells = [outcome for outcome in run.outcomes if outcome.pass_name == "energy"]
    if run.ok("energy"):
        return "Energy has a section of its own."
    if not cells:
        return "Energy was not measured: this run has no energy cell."
    reasons = sorted({outcome.measured.reason or "no reason recorded" for outcome in cells})
    return f"Energy was not measured: {join_words(reasons)}."


def _energy_table(group: Group) -> Table:
    methods = sorted({o.measured.energy_method for o in group.outcomes if o.measured.energy_method})
    return Table.of(
        group.methods.values(),
        [
            METHOD,
            *(measure.column for measure in _MEASURES if _was_measured(group, measure)),
            Column(
                "energy_saving",
                f"Energy saving over {BASELINE}",
                lambda cells: STEP_ENERGY.ratio(group, cells, verdict=False),
            ),
        ],
        sources=lambda cells: cells.ok("energy"),
        key=slug("energy", group.label),
        title=group.label,
        caption=f"By {join_words(methods)}. Each round counts at least five seconds of steps.",
        provenance=provenance(group.outcomes),
    )


def _was_measured(group: Group, measure: Measure) -> bool:
    return any(measure.metric in outcome.measured.metrics for outcome in group.outcomes)


def gpu_table(run: RecordSet) -> Table | None:
    """Return what the GPU did while each cell was measured; None without a GPU."""
    outcomes = [outcome for outcome in run.outcomes if outcome.measured.gpu is not None]
    if not outcomes:
        return None

    def column(name: str, label: str) -> Column[Outcome]:
        return Column.text(name, label, lambda outcome: _reading(_gpu(outcome), name))

    return Table.of(
        outcomes,
        [
            Column.text("cell", "Cell", lambda o: f"{o.pass_name} {o.cell.label}"),
            Column.text("method", "Method", lambda o: o.method.name),
            Column.text("sm_clock_mhz", "SM clock (MHz)", lambda o: clock_entry(_gpu(o))),
            column("memory_clock_mhz", "Memory clock (MHz)"),
            column("temperature_c", "Temperature (\u00b0C)"),
            column("power_w", "Power (W)"),
            column("utilisation_percent", "Utilisation (%)"),
            Column("readings", "Readings", lambda o: _gpu(o).readings),
        ],
        sources=lambda outcome: [outcome],
        key="gpu",
        title="The GPU while cells were measured",
        caption=(
            "Median and range of readings by NVML from a second process, taken only while work "
            "ran; those that found the GPU idle are left out."
        ),
        provenance=provenance(outcomes),
        collapsed=True,
    )


def _gpu(outcome: Outcome) -> GpuReadings:
    assert outcome.measured.gpu is not None
    return outcome.measured.gpu


def _reading(gpu: GpuReadings, name: str) -> Entry:
    spread: Spread | None = getattr(gpu, name)
    if spread is None:
        return Entry.missing(gpu.problem or gpu.problems.get(name) or "not recorded")
    return Entry.of_text(spread_text(spread))
