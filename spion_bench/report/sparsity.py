"""How sparse a method is: blocks kept, scores computed, steps that were sparse."""

from __future__ import annotations

from spion_bench.report.cells import (
    Group,
    MethodCells,
    is_dense_method,
    is_spion_method,
    missing_metric,
)
from spion_bench.report.quantities import format_percent
from spion_bench.report.table import Entry, absent, missing, number

_WORK = "attention_flops_per_step"


def density_entry(group: Group, cells: MethodCells) -> Entry:
    """Return the share of blocks kept: the mean over layers and patterns.

    A method whose pattern is not learned has no recorded pattern; its share is that of its scores.
    """
    if is_dense_method(cells.method):
        return absent("dense method", "all")
    patterns = cells.patterns()
    if not patterns:
        if is_spion_method(cells.method):
            return missing("no pattern recorded")
        return scores_entry(group, cells)
    densities = [density for pattern in patterns for density in pattern.density]
    note = f"mean of {len(densities)} layer patterns" if len(densities) > 1 else ""
    return number(sum(densities) / len(densities), "ratio", note=note)


def scores_entry(group: Group, cells: MethodCells) -> Entry:
    """Return the share of dense attention's scores that a method computes, from modelled work."""
    if is_dense_method(cells.method):
        return absent("dense method", "all")
    own, dense = cells.metric("speed", _WORK), None
    for other in group.methods.values():
        if is_dense_method(other.method):
            dense = dense or other.metric("speed", _WORK)
    if own is None:
        return missing_metric(cells, "speed", _WORK)
    if dense is None:
        return missing("no dense method in this run to count against")
    return number(own.value / dense.value, "ratio", note="of the scores, modelled", flag="modelled")


def sparse_share_entry(cells: MethodCells) -> Entry:
    """Return the share of training steps that were sparse, mean over seeds."""
    if not is_spion_method(cells.method):
        return absent("dense method" if is_dense_method(cells.method) else "trains one phase")
    transitions = [outcome.record.transition for outcome in cells.ok("accuracy")]
    shares = [transition.sparse_step_share for transition in transitions if transition]
    if not shares:
        return missing_metric(cells, "accuracy", "transition")
    spread = f"{format_percent(min(shares))} to {format_percent(max(shares))}"
    note = spread if len(shares) > 1 else ""
    return number(sum(shares) / len(shares), "ratio", note=note)
