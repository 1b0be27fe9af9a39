"""SPION-CF beside every other sparse method: a training step, and attention alone.

Rivals run in their own implementation with their own setting. Methods that get SPION's budget, or
SPION's kernel on another pattern, say where a difference comes from and stand in a second table.
"""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.report.cells import (
    Group,
    MethodCells,
    groups,
    is_dense_method,
    is_spion_method,
    provenance,
    source_note,
)
from spion_bench.report.load import RecordSet
from spion_bench.report.sparsity import scores_entry
from spion_bench.report.statistics import Estimate, ratio_of_medians, speedup_verdict
from spion_bench.report.table import Column, Entry, Table, estimate, missing, slug, words
from spion_bench.report.tables import attention_entry, step_entry

CHAMPION = "spion_cf"
"""The variant that the publication recommends, named beforehand."""

STEP, ATTENTION = "train_step_ms", "attention_ms"

# A method whose name has one of these parts shows where a difference comes from; it is no rival.
_ISOLATING = ("@matched", "@window", "@spion_block", "spion+", "flex")


@dataclass(frozen=True)
class Rival:
    """How much faster SPION-CF is than one other sparse method, in one setting."""

    group: Group
    cells: MethodCells
    step: Estimate | None
    attention: Estimate | None

    @property
    def is_isolating(self) -> bool:
        """Whether the method only serves to tell pattern, budget and kernel apart."""
        return any(part in self.cells.method for part in _ISOLATING)


def find_rivals(run: RecordSet) -> list[Rival]:
    """Return every sparse method that was timed beside SPION-CF, setting by setting."""
    found = []
    for group in groups(run, ("speed",)):
        champion = group.methods.get(CHAMPION)
        if champion is None or not champion.ok("speed"):
            continue
        for cells in group.methods.values():
            if is_dense_method(cells.method) or is_spion_method(cells.method):
                continue
            found.append(
                Rival(
                    group,
                    cells,
                    _lead(champion, cells, STEP),
                    _lead(champion, cells, ATTENTION),
                )
            )
    return found


def _lead(champion: MethodCells, cells: MethodCells, metric: str) -> Estimate | None:
    own, other = champion.metric("speed", metric), cells.metric("speed", metric)
    if own is None or other is None:
        return None
    return ratio_of_medians(other, own)


def fastest(rivals: list[Rival], metric: str) -> tuple[Rival, Estimate] | None:
    """Return the rival that comes closest to SPION-CF in ``metric``, and SPION-CF's lead."""
    leads = [(r, r.step if metric == STEP else r.attention) for r in rivals if not r.is_isolating]
    known = [(rival, lead) for rival, lead in leads if lead is not None]
    return min(known, key=lambda item: item[1].value) if known else None


def rival_tables(run: RecordSet) -> list[Table]:
    """Return two tables per setting: rivals at their own settings, then what isolates a cause."""
    tables = []
    rivals = find_rivals(run)
    for group in groups(run, ("speed",)):
        here = [rival for rival in rivals if rival.group.label == group.label]
        own = [rival for rival in here if not rival.is_isolating]
        isolating = [rival for rival in here if rival.is_isolating]
        if own:
            title = f"{group.label}: rivals in their own implementation, as published"
            tables.append(_table("rivals", title, group, own))
        if isolating:
            title = f"{group.label}: other settings, or SPION's kernel on another pattern"
            tables.append(_table("causes", title, group, isolating))
    return tables


def _table(kind: str, title: str, group: Group, rivals: list[Rival]) -> Table:
    champion = group.methods[CHAMPION]
    columns = (
        Column("method", "Method", numeric=False),
        Column("scores_kept_ratio", "Scores computed"),
        Column("train_step_ms", "Training step"),
        Column("train_step_lead", f"{CHAMPION}: step faster by"),
        Column("attention_ms", "Attention alone"),
        Column("attention_lead", f"{CHAMPION}: attention faster by"),
    )
    first = (
        words(champion.method),
        scores_entry(group, champion),
        step_entry(champion),
        words("1\u00d7", note="compared with"),
        attention_entry(champion),
        words("1\u00d7", note="compared with"),
    )
    rows = [
        (
            words(rival.cells.method),
            scores_entry(group, rival.cells),
            step_entry(rival.cells),
            _lead_entry(rival, rival.step, STEP),
            attention_entry(rival.cells),
            _lead_entry(rival, rival.attention, ATTENTION),
        )
        for rival in rivals
    ]
    return Table(
        key=slug(kind, group.label),
        title=title,
        caption=f"{source_note(group)} {_batch_words(champion)}",
        columns=columns,
        rows=(first, *rows),
        provenance=provenance([*champion.outcomes, *(o for r in rivals for o in r.cells.outcomes)]),
        notes=tuple(_fastest_words(rivals)),
    )


def _lead_entry(rival: Rival, lead: Estimate | None, metric: str) -> Entry:
    if lead is None:
        return missing(rival.cells.why_missing("speed", metric))
    return estimate(lead, "times", note=speedup_verdict(lead))


def _batch_words(champion: MethodCells) -> str:
    sizes = {outcome.record.settings.get("batch_size") for outcome in champion.ok("speed")}
    texts = sorted(str(size) for size in sizes if size)
    return f"Batch: {' and '.join(texts)} per step." if texts else ""


def _fastest_words(rivals: list[Rival]) -> list[str]:
    sentences = []
    for metric, what in ((STEP, "training step"), (ATTENTION, "attention alone")):
        best = fastest(rivals, metric)
        if best is not None:
            rival, lead = best
            shown = estimate(lead, "times")
            sentences.append(
                f"Fastest rival in the {what}: {rival.cells.method}; {CHAMPION} is "
                f"{shown.text} {shown.interval} as fast."
            )
    return sentences
