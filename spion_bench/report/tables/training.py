"""The tables of the accuracy pass: phases, seeds, and the blocks each layer kept."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import PatternInfo, TransitionInfo
from spion_bench.records.statistics import Estimate, mean_over_seeds
from spion_bench.report.entries import METHOD
from spion_bench.report.groups import (
    PATTERN_PASSES,
    Group,
    MethodCells,
    chance_note,
    groups,
    is_what_it_says,
    measured_groups,
    source_note,
)
from spion_bench.report.kernels.points import is_sweep
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.methods import is_dense, is_spion
from spion_bench.report.parts import Column, Entry, Table, slug


@dataclass(frozen=True)
class _PhaseMeasure:
    """A metric of a training phase; only SPION has the phases after the dense one."""

    metric: str
    label: str
    unit: str
    is_dense_phase: bool = False

    def entry(self, cells: MethodCells) -> Entry:
        if not self.is_dense_phase and not is_spion(cells.info):
            return Entry.absent("no such phase")
        found = [o.measured.metrics.get(self.metric) for o in cells.ok("accuracy")]
        values = [metric.value for metric in found if metric is not None]
        if not values:
            return cells.missing("accuracy", self.metric)
        planned = len(cells.of("accuracy"))
        note = "" if len(values) == planned else f"{len(values)} of {planned} seeds"
        # Times and sizes are never below 0.
        return Entry.estimate(mean_over_seeds(values).within(0.0), self.unit, note=note)


_PHASE_MEASURES = (
    _PhaseMeasure("dense_wall_s", "Dense phase", "s", is_dense_phase=True),
    _PhaseMeasure("pattern_wall_s", "Pattern generation", "s"),
    _PhaseMeasure("sparse_wall_s", "Sparse phase", "s"),
    _PhaseMeasure("total_wall_s", "Total", "s", is_dense_phase=True),
    _PhaseMeasure("dense_step_ms", "Dense step", "ms", is_dense_phase=True),
    _PhaseMeasure("sparse_step_ms", "Sparse step", "ms"),
    _PhaseMeasure("dense_peak_bytes", "Peak, dense phase", "bytes", is_dense_phase=True),
    _PhaseMeasure("pattern_peak_bytes", "Peak, pattern generation", "bytes"),
    _PhaseMeasure("sparse_peak_bytes", "Peak, sparse phase", "bytes"),
)


def phase_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, wall time, step time and peak memory of each training phase."""
    return [_phase_table(group) for group in measured_groups(run, ("accuracy",))]


def _phase_table(group: Group) -> Table:
    return Table.of(
        group.methods.values(),
        [
            METHOD,
            Column(
                "seeds", "Seeds", lambda cells: Entry.number(len(cells.ok("accuracy")), "count")
            ),
            *(Column(measure.metric, measure.label, measure.entry) for measure in _PHASE_MEASURES),
        ],
        drop_untried=True,
        sources=lambda cells: cells.ok("accuracy"),
        key=slug("phases", group.label),
        title=f"{group.label}: time and memory by phase",
        caption=(
            "Wall time excludes validation. Means over seeds; [95 % t interval]. A dense phase "
            "that methods share is trained once; its measured time counts for each of them."
        ),
        provenance=provenance(group.outcomes),
    )


def seed_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, one row per training run: accuracy, transition, and its label."""
    return [_seed_table(group) for group in groups(run, ("accuracy",))]


def _seed_table(group: Group) -> Table:
    return Table.of(
        [outcome for cells in group.methods.values() for outcome in cells.of("accuracy")],
        [
            Column.text("method", "Method", lambda outcome: outcome.method.name),
            Column("seed", "Seed", lambda outcome: outcome.cell.seed),
            Column.text("status", "Status", _status),
            Column("dev_accuracy_ratio", "Dev accuracy", lambda o: _metric(o, "dev_accuracy")),
            Column("test_accuracy_ratio", "Test accuracy", lambda o: _metric(o, "test_accuracy")),
            Column(
                "final_train_loss",
                "Final training loss",
                lambda outcome: _metric(outcome, "final_train_loss"),
            ),
            Column.text("transition", "Dense to sparse", _transition_entry),
            Column("sparse_step_ratio", "Sparse steps", _sparse_share),
            Column("density_ratio", "Blocks kept", _density),
        ],
        sources=lambda outcome: [outcome],
        key=slug("seeds", group.label),
        title=f"{group.label}: every training run",
        caption=(
            f"{source_note(group)} Accuracies with [95 % Wilson interval]. {chance_note(group)}"
        ).rstrip(),
        provenance=provenance(group.outcomes),
    )


def _status(outcome: Outcome) -> Entry:
    return Entry.of_text(outcome.measured.status, flag="" if outcome.is_ok else "warning")


def _metric(outcome: Outcome, name: str) -> Entry:
    metric = outcome.measured.metrics.get(name)
    if metric is None:
        return _gap(outcome, f"the record has no {name}")
    return Entry.estimate(Estimate(metric.value, metric.low, metric.high), metric.unit)


def _gap(outcome: Outcome, reason_if_ok: str) -> Entry:
    return Entry.missing(reason_if_ok if outcome.is_ok else outcome.measured.status)


def _transition_entry(outcome: Outcome) -> Entry:
    transition = outcome.measured.transition
    if transition is None:
        return _no_pattern(outcome, "no transition recorded")
    shown = describe_transition(transition)
    if is_what_it_says(outcome):
        return Entry.of_text(shown, note=_layer_steps(transition))
    return Entry.of_text(shown, note="not SPION: under 40 % sparse steps", flag="warning")


def _no_pattern(outcome: Outcome, gap: str, shown: str = "\u2013") -> Entry:
    """Return the entry of what only a run with learned patterns has."""
    if is_spion(outcome.method):
        return _gap(outcome, gap)
    return Entry.absent("dense method" if is_dense(outcome.method) else "trains one phase", shown)


def describe_transition(transition: TransitionInfo) -> str:
    """Return when and why a run turned sparse."""
    if transition.step is None:
        return "never"
    return f"step {transition.step} ({transition.reason})"


def _layer_steps(transition: TransitionInfo) -> str:
    steps = transition.layer_steps
    if len(set(steps)) <= 1:
        return ""
    return "layers at steps " + ", ".join("never" if s is None else str(s) for s in steps)


def _sparse_share(outcome: Outcome) -> Entry:
    transition = outcome.measured.transition
    if transition is None:
        return _no_pattern(outcome, "no transition recorded")
    return Entry.number(transition.sparse_step_share, "ratio")


def _density(outcome: Outcome) -> Entry:
    pattern = outcome.measured.pattern
    if pattern is None or not pattern.density:
        shown = "all" if is_dense(outcome.method) else "\u2013"
        return _no_pattern(outcome, "no pattern recorded", shown)
    return Entry.number(sum(pattern.density) / len(pattern.density), "ratio")


def block_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, how many blocks each layer kept, for every pattern in use."""
    tables = [_block_table(group) for group in groups(run, (*PATTERN_PASSES, "kernel"))]
    return [table for table in tables if table.rows]


@dataclass(frozen=True)
class _LayerPattern:
    """One layer of a pattern, and the cells that use it."""

    pattern: PatternInfo
    layer: int
    users: list[Outcome]

    @property
    def blocks(self) -> int:
        return (self.pattern.length // self.pattern.block_size) ** 2

    @property
    def kept(self) -> int:
        return self.pattern.nnzb[self.layer]

    @property
    def passes(self) -> str:
        return ", ".join(dict.fromkeys(outcome.pass_name for outcome in self.users))


def _block_table(group: Group) -> Table:
    users: dict[tuple[str, int, str], list[Outcome]] = {}
    for outcome in group.outcomes:
        pattern = outcome.measured.pattern
        if pattern is not None and not is_sweep(outcome):
            key = (outcome.method.name, outcome.cell.seed, pattern.model_dump_json())
            users.setdefault(key, []).append(outcome)
    rows = [
        _LayerPattern(pattern, layer, same)
        for same in users.values()
        if (pattern := same[0].measured.pattern) is not None
        for layer in range(len(pattern.nnzb))
    ]
    return Table.of(
        rows,
        [
            Column.text("method", "Method", lambda row: row.users[0].method.name),
            Column("seed", "Seed", lambda row: row.users[0].cell.seed),
            Column("layer", "Layer", lambda row: row.layer + 1),
            Column("kept_blocks", "Blocks kept", lambda row: Entry.number(row.kept, "count")),
            Column("all_blocks", "of", lambda row: Entry.number(row.blocks, "count")),
            Column(
                "density_ratio", "Density", lambda row: Entry.number(row.kept / row.blocks, "ratio")
            ),
            Column(
                "block_size",
                "Block size (tokens)",
                lambda row: Entry.number(row.pattern.block_size, "count"),
            ),
            Column.text("pattern_source", "Pattern from", lambda row: row.pattern.source),
            Column.text("passes", "Used by", lambda row: row.passes),
        ],
        sources=lambda row: row.users,
        key=slug("blocks", group.label),
        title=group.label,
        caption="One row per layer. All heads and all examples of a layer share its pattern.",
        provenance=provenance(outcome for same in users.values() for outcome in same),
    )
