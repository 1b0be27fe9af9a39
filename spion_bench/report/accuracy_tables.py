"""The tables of the accuracy pass: phases, seeds, and the blocks each layer kept."""

from __future__ import annotations

from spion_bench.records import TransitionInfo
from spion_bench.report.cells import (
    PATTERN_PASSES,
    Group,
    MethodCells,
    chance_note,
    groups,
    is_spion_method,
    is_untried,
    is_what_it_says,
    missing_metric,
    provenance,
    source_note,
)
from spion_bench.report.kernel_points import is_sweep
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.statistics import Estimate, mean_over_seeds
from spion_bench.report.table import (
    Column,
    Entry,
    Table,
    absent,
    estimate,
    missing,
    number,
    slug,
    words,
)

# Metric, heading, unit, and the phase without which the metric cannot exist.
_PHASE_MEASURES = (
    ("dense_wall_s", "Dense phase", "s", "dense"),
    ("pattern_wall_s", "Pattern generation", "s", "pattern"),
    ("sparse_wall_s", "Sparse phase", "s", "sparse"),
    ("total_wall_s", "Total", "s", "dense"),
    ("dense_step_ms", "Dense step", "ms", "dense"),
    ("sparse_step_ms", "Sparse step", "ms", "sparse"),
    ("dense_peak_bytes", "Peak, dense phase", "bytes", "dense"),
    ("pattern_peak_bytes", "Peak, pattern generation", "bytes", "pattern"),
    ("sparse_peak_bytes", "Peak, sparse phase", "bytes", "sparse"),
)


def phase_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, wall time, step time and peak memory of each training phase."""
    return [
        _phase_table(group)
        for group in groups(run, ("accuracy",))
        if any(outcome.record.metrics for outcome in group.outcomes)
    ]


def _phase_table(group: Group) -> Table:
    columns = [Column("method", "Method", numeric=False), Column("seeds", "Seeds")]
    columns += [Column(metric, label) for metric, label, _, _ in _PHASE_MEASURES]
    rows = [
        [
            words(cells.method),
            number(len(cells.ok("accuracy")), "count"),
            *(_phase_entry(cells, *measure) for measure in _PHASE_MEASURES),
        ]
        for cells in group.methods.values()
    ]
    keep = [i for i in range(len(columns)) if not all(is_untried(row[i]) for row in rows)]
    return Table(
        key=slug("phases", group.label),
        title=f"{group.label}: time and memory by phase",
        caption=(
            "Wall time excludes validation. Means over seeds; [95 % t interval]. A dense phase "
            "that methods share is trained once; its measured time counts for each of them."
        ),
        columns=tuple(columns[i] for i in keep),
        rows=tuple(tuple(row[i] for i in keep) for row in rows),
        provenance=provenance(group.outcomes),
    )


def _phase_entry(cells: MethodCells, metric: str, _label: str, unit: str, phase: str) -> Entry:
    if phase != "dense" and not is_spion_method(cells.method):
        return absent("no such phase")
    values = [
        outcome.record.metrics[metric].value
        for outcome in cells.ok("accuracy")
        if metric in outcome.record.metrics
    ]
    if not values:
        return missing_metric(cells, "accuracy", metric)
    result = mean_over_seeds(values)
    if result.low is not None and result.low < 0:  # a time or a size below 0 does not exist
        result = Estimate(result.value, 0.0, result.high, result.n, result.basis)
    planned = len(cells.of("accuracy"))
    note = "" if len(values) == planned else f"{len(values)} of {planned} seeds"
    return estimate(result, unit, note=note)


def seed_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, one row per training run: accuracy, transition, and its label."""
    return [_seed_table(group) for group in groups(run, ("accuracy",))]


def _seed_table(group: Group) -> Table:
    columns = (
        Column("method", "Method", numeric=False),
        Column("seed", "Seed"),
        Column("status", "Status", numeric=False),
        Column("dev_accuracy_ratio", "Dev accuracy"),
        Column("test_accuracy_ratio", "Test accuracy"),
        Column("final_train_loss", "Final training loss"),
        Column("transition", "Dense to sparse", numeric=False),
        Column("sparse_step_ratio", "Sparse steps"),
        Column("density_ratio", "Blocks kept"),
    )
    return Table(
        key=slug("seeds", group.label),
        title=f"{group.label}: every training run",
        caption=(
            f"{source_note(group)} Accuracies with [95 % Wilson interval]. {chance_note(group)}"
        ).rstrip(),
        columns=columns,
        rows=tuple(
            tuple(_seed_row(outcome))
            for cells in group.methods.values()
            for outcome in cells.of("accuracy")
        ),
        provenance=provenance(group.outcomes),
    )


def _seed_row(outcome: Outcome) -> list[Entry]:
    record = outcome.record
    is_ok = record.status == "ok"
    return [
        words(record.method.name),
        Entry(str(record.seed), value=record.seed),
        words(record.status, flag="" if is_ok else "warning"),
        _metric(outcome, "dev_accuracy", "ratio"),
        _metric(outcome, "test_accuracy", "ratio"),
        _metric(outcome, "final_train_loss", "nat"),
        _transition_entry(outcome),
        _sparse_share(outcome),
        _density(outcome),
    ]


def _metric(outcome: Outcome, name: str, unit: str) -> Entry:
    metric = outcome.record.metrics.get(name)
    if metric is None:
        return _gap(outcome, f"the record has no {name}")
    result = Estimate(metric.value, metric.low, metric.high, max(1, len(metric.samples)), "")
    return estimate(result, unit)


def _gap(outcome: Outcome, reason_if_ok: str) -> Entry:
    record = outcome.record
    return missing(reason_if_ok if record.status == "ok" else record.status)


def _transition_entry(outcome: Outcome) -> Entry:
    transition = outcome.record.transition
    if transition is None:
        if is_spion_method(outcome.record.method.name):
            return _gap(outcome, "no transition recorded")
        return absent("dense method")
    text = describe_transition(transition)
    if is_what_it_says(outcome):
        return words(text, note=_layer_steps(transition))
    return words(text, note="not SPION: under 40 % sparse steps", flag="warning")


def describe_transition(transition: TransitionInfo) -> str:
    """Say when and why a run turned sparse."""
    if transition.step is None:
        return "never"
    return f"step {transition.step} ({transition.reason})"


def _layer_steps(transition: TransitionInfo) -> str:
    steps = transition.layer_steps
    if len(set(steps)) <= 1:
        return ""
    return "layers at steps " + ", ".join("never" if s is None else str(s) for s in steps)


def _sparse_share(outcome: Outcome) -> Entry:
    transition = outcome.record.transition
    if transition is None:
        if is_spion_method(outcome.record.method.name):
            return _gap(outcome, "no transition recorded")
        return absent("dense method")
    return number(transition.sparse_step_share, "ratio")


def _density(outcome: Outcome) -> Entry:
    pattern = outcome.record.pattern
    if pattern is None or not pattern.density:
        if is_spion_method(outcome.record.method.name):
            return _gap(outcome, "no pattern recorded")
        return absent("dense method", "all")
    return number(sum(pattern.density) / len(pattern.density), "ratio")


def block_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, how many blocks each layer kept, for every pattern in use."""
    tables = [_block_table(group) for group in groups(run, (*PATTERN_PASSES, "kernel"))]
    return [table for table in tables if table.rows]


def _block_table(group: Group) -> Table:
    users: dict[tuple[str, int, str], list[Outcome]] = {}
    for outcome in group.outcomes:
        record = outcome.record
        if record.pattern is not None and not is_sweep(outcome):
            key = (record.method.name, record.seed, record.pattern.model_dump_json())
            users.setdefault(key, []).append(outcome)
    return Table(
        key=slug("blocks", group.label),
        title=group.label,
        caption="One row per layer. All heads and all examples of a layer share its pattern.",
        columns=(
            Column("method", "Method", numeric=False),
            Column("seed", "Seed"),
            Column("layer", "Layer"),
            Column("kept_blocks", "Blocks kept"),
            Column("all_blocks", "of"),
            Column("density_ratio", "Density"),
            Column("block_size", "Block side (tokens)"),
            Column("pattern_source", "Pattern from", numeric=False),
            Column("passes", "Used by", numeric=False),
        ),
        rows=tuple(row for same in users.values() for row in _block_rows(same)),
        provenance=provenance(outcome for same in users.values() for outcome in same),
    )


def _block_rows(same: list[Outcome]) -> list[tuple[Entry, ...]]:
    """Return one row per layer of a pattern that all of ``same`` use."""
    record = same[0].record
    if record.pattern is None:
        return []
    pattern = record.pattern
    blocks = (pattern.length // pattern.block_size) ** 2
    return [
        (
            words(record.method.name),
            Entry(str(record.seed), value=record.seed),
            Entry(str(layer + 1), value=layer + 1),
            number(kept, "count"),
            number(blocks, "count"),
            number(kept / blocks, "ratio"),
            number(pattern.block_size, "count"),
            words(pattern.source),
            words(", ".join(dict.fromkeys(outcome.record.pass_name for outcome in same))),
        )
        for layer, kept in enumerate(pattern.nnzb)
    ]
