"""What must agree for a cell to count as reproduced, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from spion_bench.records import KernelCell, Metric, Record
from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.settings import MeasureSettings
from spion_bench.records.statistics import Estimate
from spion_bench.records.store import Store
from spion_bench.suite.passes import PASSES

Verdict = Literal["reproduces", "differs", "cannot be told"]

EXACT_UNITS: Final = ("ratio", "nat", "count", "FLOP")
RELATIVE_UNITS: Final = ("ms", "s", "bytes")
NOT_MEASURED: Final = ("skipped", "unsupported", "timeout")


@dataclass(frozen=True)
class Finding:
    """What came of one cell, and why."""

    key: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Again:
    """A sampled record, and what must be there to measure it again.

    Attributes:
        record: The record.
        reference: Another one of its turn, to which its times are compared; None without turns.
        needed: Records that it builds on: its dense prefix, the run that learned its patterns.
        store: The folder that they come from.
    """

    record: Record
    reference: Record | None
    needed: tuple[Record, ...]
    store: Store


def compare(again: Again, own: Record, reference: Record | None) -> Finding:
    """Compare a record with what was measured now."""
    record = again.record
    key, now = record.key, own.measurement
    if now.status in NOT_MEASURED:
        return Finding(key, "cannot be told", f"{now.status}: {now.reason}")
    if now.status != "ok":
        return Finding(key, "differs", f"{now.status}: {now.reason}")
    exact, different = exact_facts(record), []
    current = exact_facts(own)
    for name, value in exact.items():
        if name not in current:
            different.append(f"{name} is gone")
        elif not _same(value, current[name]):
            different.append(f"{name}: {value} then, {current[name]} now")
    if different:
        return Finding(key, "differs", "; ".join(different))
    agreed = [f"{len(exact)} values to the bit"] if exact else []
    relative = [*_relative(again, own, reference)]
    if off := [text for is_near, text in relative if not is_near]:
        return Finding(key, "differs", "; ".join(off))
    marks = [one.measurement.turn for one in (record, own) if one.measurement.turn]
    if PASSES[record.cell.pass_name].interleaved:
        said = [mark for turn in marks for mark in turn.marks]
        if said or not relative:
            why = f"marked: {said[0]}" if said else "nothing of its turn is there to compare with"
            return Finding(key, "cannot be told", "; ".join([*agreed, f"its times: {why}"]))
    return Finding(key, "reproduces", "; ".join([*agreed, *(text for _, text in relative)]))


def exact_facts(record: Record) -> dict[str, object]:
    """Return what must agree to the bit, by name."""
    found = record.measurement
    facts: dict[str, object] = {
        name: metric.value
        for name, metric in found.metrics.items()
        if metric.unit in EXACT_UNITS or name == "model_bytes"
    }
    facts |= {f"gate {error.name}": error.error for error in found.gate}
    facts |= {
        f"artifact {name}": sha256
        for name, sha256 in found.artifacts.items()
        if not name.endswith("manifest.json")  # a checkpoint's holds the times of its steps
    }
    if found.task is not None:
        facts["fingerprint of the data"] = found.task.fingerprint
    if found.pattern is not None:
        facts["blocks"] = found.pattern.nnzb
    if found.transition is not None:
        facts["transition"] = (found.transition.layer_steps, found.transition.reason)
    return facts


def _same(then: object, now: object) -> bool:
    if isinstance(then, float) and isinstance(now, float) and math.isnan(then):
        return math.isnan(now)
    return then == now


def _relative(again: Again, own: Record, reference: Record | None) -> Iterator[tuple[bool, str]]:
    """Yield, per time or peak, whether its ratio to the reference is what it was, and both."""
    if again.reference is None or reference is None or not reference.is_ok:
        return
    if any(one.measurement.turn and one.measurement.turn.marks for one in (again.record, own)):
        return
    name_of = again.reference.cell.method.name
    for name in again.record.measurement.metrics:
        pairs = [
            (one.measurement.metric(name), other.measurement.metric(name))
            for one, other in ((again.record, again.reference), (own, reference))
        ]
        ratios = [_ratio(*pair) for pair in pairs]
        then, now = ratios
        if then is not None and now is not None:
            yield (
                is_near(then, now, _width(again.record)),
                (f"{name} over {name_of}'s: {then.shown()} then, {now.shown()} now"),
            )


def _ratio(above: Metric | None, below: Metric | None) -> Estimate | None:
    if above is None or below is None or above.modelled or above.unit not in RELATIVE_UNITS:
        return None
    return ratio_in_turn(above, below) if above.samples and below.samples else None


def _width(record: Record) -> float:
    """Return to which share a turn was to know its ratios."""
    cell = record.cell
    measure = cell.measure if isinstance(cell, KernelCell) else cell.resolved().measure
    return (measure or MeasureSettings()).half_width


def is_near(then: Estimate, now: Estimate, width: float) -> bool:
    """Return whether two ratios agree: within ``width``, or their intervals share a value."""
    if not (then.value > 0 and now.value > 0):
        return then.value == now.value
    if abs(math.log(now.value / then.value)) <= width:
        return True
    ends = (then.low, then.high, now.low, now.high)
    if any(end is None for end in ends):
        return False
    low, high, other_low, other_high = (end or 0.0 for end in ends)
    return low <= other_high and other_low <= high
