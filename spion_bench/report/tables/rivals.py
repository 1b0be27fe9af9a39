"""SPION-CF next to every other method that is not dense: a training step, and attention alone.

Rivals run in their own implementation, at published or matched settings. SPION's kernel with a
different pattern says where a difference comes from and stands in a second table.
"""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import TaskCell
from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.statistics import Estimate, speedup_verdict
from spion_bench.report.entries import ATTENTION, STEP, Measure, marked, scores_entry
from spion_bench.report.groups import Group, MethodCells, groups, source_note
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import is_dense
from spion_bench.report.parts import Column, Entry, Table, slug


@dataclass(frozen=True)
class Rival:
    """A method that was timed next to SPION-CF in one setting."""

    group: Group
    champion: MethodCells
    cells: MethodCells

    @property
    def is_rival(self) -> bool:
        """Whether it competes; otherwise it separates pattern and kernel."""
        return self.cells.info.role == "rival"

    def lead(self, measure: Measure) -> Estimate | None:
        """Return how many times faster SPION-CF is; None unless both have a number."""
        own, other = (c.metric("speed", measure.metric) for c in (self.champion, self.cells))
        return None if own is None or other is None else ratio_in_turn(other, own)


def find_rivals(run: RecordSet) -> list[list[Rival]]:
    """Return, per setting, every method timed next to SPION-CF, except dense ones and SPION."""
    return [
        [
            Rival(group, champion, cells)
            for cells in group.methods.values()
            if cells.info.role in ("rival", "isolates") and not is_dense(cells.info)
        ]
        for group in groups(run, ("speed",))
        if (champion := group.champion) is not None and champion.ok("speed")
    ]


def fastest(rivals: list[Rival], measure: Measure) -> tuple[Rival, Estimate] | None:
    """Return the rival that comes closest to SPION-CF in a measure, and SPION-CF's lead."""
    leads = [(rival, rival.lead(measure)) for rival in rivals if rival.is_rival]
    known = [(rival, lead) for rival, lead in leads if lead is not None and lead.value > 0]
    return min(known, key=lambda item: item[1].value) if known else None


def rival_tables(run: RecordSet) -> list[Table]:
    """Return two tables per setting: rivals, then what isolates a cause."""
    tables = []
    for here in find_rivals(run):
        rivals = [rival for rival in here if rival.is_rival]
        others = [rival for rival in here if not rival.is_rival]
        if rivals:
            title = "rivals in their own implementation"
            tables.append(_table("rivals", title, rivals))
        if others:
            title = "SPION's kernel with a different pattern, or a different kernel"
            tables.append(_table("causes", title, others))
    return tables


def _table(kind: str, title: str, rivals: list[Rival]) -> Table:
    group, champion = rivals[0].group, rivals[0].champion
    name = champion.method
    outcomes = [*champion.outcomes, *(o for rival in rivals for o in rival.cells.outcomes)]
    return Table.of(
        [Rival(group, champion, champion), *rivals],
        [
            Column.text("method", "Method", lambda rival: rival.cells.method),
            Column(
                "scores_kept_ratio",
                "Scores computed",
                lambda rival: scores_entry(group, rival.cells),
            ),
            Column("train_step_ms", STEP.label, lambda rival: STEP.entry(rival.cells)),
            Column(
                "train_step_lead", f"{name}: step faster by", lambda rival: _lead_entry(rival, STEP)
            ),
            Column("attention_ms", ATTENTION.label, lambda rival: ATTENTION.entry(rival.cells)),
            Column(
                "attention_lead",
                f"{name}: attention faster by",
                lambda rival: _lead_entry(rival, ATTENTION),
            ),
        ],
        sources=lambda rival: [*champion.ok("speed"), *rival.cells.ok("speed")],
        key=slug(kind, group.label),
        title=f"{group.label}: {title}",
        caption=f"{source_note(group)} {_batch_text(champion)}",
        provenance=provenance(outcomes),
        notes=tuple(_fastest_text(rivals, name)),
    )


def _lead_entry(rival: Rival, measure: Measure) -> Entry:
    if rival.cells is rival.champion:
        return Entry.of_text("1\u00d7", note="compared with")
    lead = rival.lead(measure)
    if lead is None:
        return Entry.missing(rival.cells.why_missing("speed", measure.metric))
    entry = Entry.estimate(lead, "times", note=speedup_verdict(lead))
    return marked(entry, rival.cells.marks("speed"))


def _batch_text(champion: MethodCells) -> str:
    cells = [outcome.cell for outcome in champion.ok("speed")]
    sizes = {cell.batch_size for cell in cells if isinstance(cell, TaskCell)}
    texts = sorted(str(size) for size in sizes if size)
    return f"Batch: {' and '.join(texts)} per step." if texts else ""


def _fastest_text(rivals: list[Rival], champion: str) -> list[str]:
    sentences = []
    for measure, what in ((STEP, "training step"), (ATTENTION, "attention alone")):
        best = fastest(rivals, measure)
        if best is not None:
            shown = Entry.estimate(best[1], "times")
            sentences.append(
                f"Fastest rival, {what}: {best[0].cells.method}; {champion} is "
                f"{shown.text} {shown.interval} as fast."
            )
    return sentences
