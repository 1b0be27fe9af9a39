"""The four ratios that always stand together, and what attention costs; from records of one turn.

How many times faster SPION-CF is than (1) the fastest rival, whatever its setting; (2) the fastest
at the setting of its origin; (3) its own kernel on a rival's pattern; (4) its own kernel on as many
blocks in a window, with the same convention for pruned scores: near 1, the rest is the cost of the
pattern's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spion_bench.records.cell import MethodInfo, TaskCell
from spion_bench.records.metric import Metric
from spion_bench.records.paired import p_value_in_turn, ratio_in_turn, round_values
from spion_bench.records.schema import Record
from spion_bench.records.statistics import Estimate

Kind = Literal["fastest", "origin", "pattern", "blocks"]
KINDS: Final[dict[Kind, str]] = {
    "fastest": "fastest rival, whatever its setting",
    "origin": "fastest rival at its origin's setting",
    "pattern": "same kernel, a rival's pattern",
    "blocks": "same kernel, as many blocks in a window",
}
TRAINING: Final = "training"
MEASURES: Final = {
    TRAINING: "whole training",
    "train_step_ms": "training step",
    "attention_ms": "attention alone",
}
"""What is compared; whole training is computed from the times of steps, see ``_training``."""

CHAMPION: Final = "spion_cf"
FLOOR: Final = "no_attention"
REFERENCE: Final = "dense_sdpa"


@dataclass(frozen=True)
class Comparison:
    """How many times faster SPION-CF is than the closest method of a kind.

    Attributes:
        kind: Which of the four ratios.
        measure: One of ``MEASURES``.
        against: The method.
        ratio: The ratio of times, paired by round.
        p_value: One-sided chance of such rounds if SPION-CF were not faster.
        marks: Why it takes no part in a headline; empty if it may.
    """

    kind: Kind
    measure: str
    against: str
    ratio: Estimate
    p_value: float = 1.0
    marks: tuple[str, ...] = ()


def speed_turns(records: Iterable[Record]) -> list[list[Record]]:
    """Return the good records of the speed pass, turn by turn."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        cell = record.cell
        if cell.pass_name == "speed" and record.is_ok:
            where = record.environment
            run = (where.machine, cell.device, str(cell.threads), where.git_sha or "", where.torch)
            key = (cell.profile, cell.label, str(cell.seed), cell.turn, *run)
            found.setdefault(key, []).append(record)
    return list(found.values())


def four_ratios(turn: Sequence[Record], trained: Iterable[Record] = ()) -> list[Comparison]:
    """Return every ratio of one turn that its records give, by measure and kind.

    Args:
        turn: Good records of the speed pass that took turns.
        trained: Records of the accuracy pass, for whole training: those of SPION-CF on the same
            task and length say how many steps were dense and what the patterns cost.
    """
    by_name = {record.cell.method.name: record for record in turn}
    champion = by_name.get(CHAMPION)
    if champion is None:
        return []
    own_runs = [
        record
        for record in trained
        if record.is_ok
        and (record.cell.pass_name, record.cell.label) == ("accuracy", champion.cell.label)
        and record.cell.method.name == CHAMPION
        and (record.environment.machine, record.cell.device)
        == (champion.environment.machine, champion.cell.device)
        and record.measurement.transition is not None
        and record.measurement.transition.is_spion
        and compile_of(record) == compile_of(champion)
        and not (isinstance(record.cell, TaskCell) and record.cell.factor)
    ]
    found = []
    for measure in MEASURES:
        own = _metric(champion, measure, by_name, own_runs)
        for kind, belongs in _BELONGS.items():
            leads = [
                (ratio_in_turn(metric, own), name, metric)
                for name, record in by_name.items()
                if own is not None
                and belongs(record.cell.method)
                and took_turns(champion, record)
                and (metric := _metric(record, measure, by_name, own_runs)) is not None
            ]
            known = [lead for lead in leads if lead[0].value > 0]
            if own is not None and known:
                ratio, name, metric = min(known, key=lambda lead: lead[0].value)
                p_value = p_value_in_turn(metric, own)
                found.append(Comparison(kind, measure, name, ratio, p_value, _marks(champion)))
    return found


def compile_of(record: Record) -> str:
    """Return whether the encoder was compiled, by the name that its setting has."""
    settings = record.cell.settings if isinstance(record.cell, TaskCell) else None
    return "none" if settings is None else settings.compile


def attention_cost(turn: Sequence[Record], method: str) -> Estimate | None:
    """Return a training step's time over that of the same model without attention, paired."""
    metrics = {r.cell.method.name: r.measurement.metric("train_step_ms") for r in turn}
    own, floor = metrics.get(method), metrics.get(FLOOR)
    return None if own is None or floor is None else ratio_in_turn(own, floor)


_BELONGS: Final[dict[Kind, Callable[[MethodInfo], bool]]] = {
    "fastest": lambda method: method.role == "rival",
    # Records of schema 1 state no origins, so they have no rival at its origin's setting.
    "origin": lambda method: (
        method.role == "rival" and bool(method.origins) and "ours" not in method.origins.values()
    ),
    "pattern": lambda method: (
        method.role == "isolates" and method.native == "block_attention" and method.variant is None
    ),
    "blocks": lambda method: method.base == CHAMPION and method.blocks == "window",
}


def took_turns(first: Record, second: Record) -> bool:
    """Return whether two records are of one run of a turn; unknown counts as yes.

    Methods that are added to a turn later are measured without those that were measured before.
    """
    turns = first.measurement.turn, second.measurement.turn
    if turns[0] is None or turns[1] is None:
        return True
    names = first.cell.method.name, second.cell.method.name
    return names[1] in turns[0].methods and names[0] in turns[1].methods


def _marks(record: Record) -> tuple[str, ...]:
    return tuple(record.measurement.turn.marks) if record.measurement.turn else ()


def _metric(
    record: Record, measure: str, by_name: dict[str, Record], own_runs: Sequence[Record]
) -> Metric | None:
    if measure != TRAINING:
        return record.measurement.metric(measure)
    return whole_training(record, by_name.get(REFERENCE), own_runs)


def whole_training(
    record: Record, reference: Record | None, own_runs: Sequence[Record]
) -> Metric | None:
    """Return the seconds of a whole training, round by round, from the times of single steps.

    A method with patterns trains densely first: dense steps, the patterns, sparse steps. Others
    take every step alike. None where a part is not known.

    Args:
        record: Of the speed pass.
        reference: Of dense attention in the same turn.
        own_runs: Trainings of a method with patterns, on the same task and length.
    """
    cell = record.cell
    step = record.measurement.metric("train_step_ms")
    transitions = [run.measurement.transition for run in own_runs]
    shares = [found.sparse_step_share for found in transitions if found is not None]
    patterns = [run.measurement.metrics.get("pattern_wall_s") for run in own_runs]
    costs = [metric.value for metric in patterns if metric is not None]
    trained = own_runs[0].cell if own_runs else None
    if step is None or not shares or not costs or not isinstance(trained, TaskCell):
        return None
    if trained.settings is None or not isinstance(cell, TaskCell):
        return None
    if cell.batch_size != trained.batch_size:
        return None  # times of steps of another size say nothing about this training
    steps = trained.settings.train.steps
    times = round_values(step)
    if cell.method.variant is not None:
        dense = reference.measurement.metric("train_step_ms") if reference else None
        if dense is None or len(round_values(dense)) != len(times):
            return None
        sparse_steps = steps * sum(shares) / len(shares)
        pattern_ms = 1e3 * sum(costs) / len(costs)
        pairs = zip(times, round_values(dense), strict=True)
        totals = [(steps - sparse_steps) * d + pattern_ms + sparse_steps * s for s, d in pairs]
    else:
        totals = [steps * time for time in times]
    if not totals:
        return None
    seconds = sorted(total / 1e3 for total in totals)
    return Metric(
        value=seconds[len(seconds) // 2],
        unit="s",
        lower_is_better=True,
        samples=[total / 1e3 for total in totals],
        round_sizes=[1] * len(totals),
    )
