"""The summary: one table per setting, with quality, time, memory and sparsity side by side."""

from __future__ import annotations

from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.ratios import FLOOR
from spion_bench.report.entries import (
    ATTENTION,
    METHOD,
    PEAK,
    PROCESS_PEAK,
    STEP,
    SUMMARY_PASSES,
    WORK,
    Measure,
    accuracy_entry,
    density_entry,
    marked,
    no_number,
    process_peak_entry,
    sparse_share_entry,
)
from spion_bench.report.evidence.of_group import evidence_of, graded
from spion_bench.report.groups import Group, MethodCells, groups, measured_groups, source_note
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import join_words

_DETAILS = (
    Measure("forward_ms", "Forward pass", "speed", "ms"),
    ATTENTION,
    WORK,
    Measure("parameters", "Parameters", "memory", "count"),
    Measure("model_bytes", "Model size", "memory", "bytes"),
)


def summary_tables(run: RecordSet) -> list[Table]:
    """Return one summary table per setting: quality, time, memory and sparsity side by side."""
    return [_summary_table(group) for group in groups(run, SUMMARY_PASSES)]


def _summary_table(group: Group) -> Table:
    columns: list[Column[MethodCells]] = [
        Column.text("method", "Method", _method_entry),
        Column(
            "test_accuracy_ratio",
            "Test accuracy",
            lambda cells: graded(group, accuracy_entry(cells)),
        ),
        STEP.column,
        Column(
            "train_step_speedup",
            f"Speed-up over {BASELINE}",
            lambda cells: STEP.ratio(group, cells),
        ),
        Column(
            "attention_cost_ratio", "Over no attention", lambda cells: _cost_entry(group, cells)
        ),
        PEAK.column,
        Column("process_peak_bytes", PROCESS_PEAK.label, process_peak_entry),
        Column(
            "peak_saving",
            f"Memory saving over {BASELINE}",
            lambda cells: PEAK.ratio(group, cells, verdict=False),
        ),
        Column("density_ratio", "Blocks kept", lambda cells: density_entry(group, cells)),
        Column("sparse_step_ratio", "Sparse steps", sparse_share_entry),
    ]
    methods = list(group.methods.values())
    table = Table.of(
        methods,
        columns,
        drop_untried=True,
        sources=lambda cells: cells.outcomes,
        key=slug("summary", group.label),
        title=group.label,
        caption=" ".join(filter(None, (source_note(group), _worth(group)))),
        provenance=provenance(group.outcomes),
        notes=(),
    )
    kept = {column.key for column in table.columns}
    dropped = [c.label.lower() for c in columns if c.key not in kept and _is_missed(c, methods)]
    if not dropped:
        return table
    gap = f"Not measured in this setting (no such cell): {join_words(dropped)}."
    return Table(**{**vars(table), "notes": (gap,)})


def _worth(group: Group) -> str:
    evidence = evidence_of(group)
    if evidence is None:
        return ""
    greyed = "" if evidence.measures_attention else " Its accuracies are greyed and not compared."
    return f"{evidence.sentence}{greyed}"


def _is_missed(column: Column[MethodCells], methods: list[MethodCells]) -> bool:
    """Return whether a column could have a number for some method."""
    entries = [column.entry(cells) for cells in methods]
    return any(isinstance(entry, Entry) and entry.flag == "missing" for entry in entries)


def _method_entry(cells: MethodCells) -> Entry:
    attention = [outcome.measured.attention for outcome in cells.outcomes]
    notes = ["approximate attention"] if any(a and not a.exact for a in attention) else []
    if cells.ok("accuracy") and not cells.proven():
        notes.append("not SPION: too few sparse steps")
    return Entry.of_text(cells.method, note="; ".join(notes))


def detail_tables(run: RecordSet) -> list[Table]:
    """Return, per setting with speed or memory cells, where a step's time and memory go."""
    return [_detail_table(group) for group in measured_groups(run, ("speed", "memory"))]


def _detail_table(group: Group) -> Table:
    return Table.of(
        group.methods.values(),
        [
            METHOD,
            *(measure.column for measure in _DETAILS),
            Column(
                "attention_speedup",
                f"Attention: speed-up over {BASELINE}",
                lambda cells: ATTENTION.ratio(group, cells),
            ),
        ],
        sources=lambda cells: [*cells.ok("speed"), *cells.ok("memory")],
        key=slug("details", group.label),
        title=f"{group.label}: cost in detail",
        caption="Attention work is modelled: the products of attention, from the kept blocks.",
        provenance=provenance(group.outcomes),
        collapsed=True,
    )


def _cost_entry(group: Group, cells: MethodCells) -> Entry:
    """Return how much longer a step takes than that of the same model without attention."""
    if cells.method == FLOOR:
        return Entry.absent("the floor", "floor")
    floor = group.methods.get(FLOOR)
    own, least = (c.metric("speed", STEP.metric) if c else None for c in (cells, floor))
    if own is None or least is None:
        return Entry.missing(no_number(FLOOR) if own else cells.why_missing("speed", STEP.metric))
    entry = Entry.estimate(ratio_in_turn(own, least).minus_one(), "ratio", note="more time")
    return marked(entry, cells.marks("speed"))
