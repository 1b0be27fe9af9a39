"""The kernels' goals: what they should reach, and what this run measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spion_bench.records.paired import ratio_of_medians
from spion_bench.records.statistics import Estimate
from spion_bench.report.kernels.points import BOTH, FUSED, RATE, SGEMM, Point, Sweeps
from spion_bench.report.load import Outcome, provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Column, Entry, Flag, Table
from spion_bench.report.words import format_quantity


@dataclass(frozen=True)
class Finding:
    """A measured figure and the outcomes that it was computed from."""

    value: Estimate | None
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Goal:
    """One figure with a goal for the kernels.

    Attributes:
        figure: The figure in words.
        unit: ``"times"``, ``"ratio"`` or a word.
        measure: Computes it from a run's sweeps.
        limit: What must be reached, or None if the figure is only reported.
        aim: What is aimed at.
        higher_is_better: Whether the limit is a lower one.
    """

    figure: str
    unit: str
    measure: Callable[[Sweeps], Finding]
    limit: float | None = None
    aim: float | None = None
    higher_is_better: bool = True

    def is_met(self, value: float) -> bool | None:
        """Return whether ``value`` reaches the limit, or None without a limit."""
        if self.limit is None:
            return None
        return value >= self.limit if self.higher_is_better else value <= self.limit


def _of_point(
    point: Point | None,
    above: tuple[str, str],
    below: tuple[str, str],
    factor: Callable[[Point], float | None] = lambda point: 1.0,
) -> Finding:
    """Return a ratio within one case, times a number known from the case."""
    if point is None:
        return Finding(None, [])
    ratio, scale = point.ratio(above, below), factor(point)
    used = point.outcomes((above[0], below[0]))
    if ratio is None or scale is None:
        return Finding(None, used)
    return Finding(ratio.scaled(scale), used)


def _share_of_sgemm(head_dim: int, block_size: int) -> Callable[[Sweeps], Finding]:
    def measure(sweeps: Sweeps) -> Finding:
        point = sweeps.find("rate", head_dim=head_dim, block_size=block_size)
        return _of_point(point, (FUSED, RATE), (SGEMM, RATE))

    return measure


def _speedup(
    length: int, factor: Callable[[Point], float | None] = lambda point: 1.0
) -> Callable[[Sweeps], Finding]:
    def measure(sweeps: Sweeps) -> Finding:
        point = sweeps.find("speedup", length=length)
        return _of_point(point, (BASELINE, BOTH), (FUSED, BOTH), factor)

    return measure


def _first(sweep: str, above: tuple[str, str], below: tuple[str, str]) -> Callable[..., Finding]:
    return lambda sweeps: _of_point(sweeps.find(sweep), above, below)


def _time_per_block_growth(sweeps: Sweeps) -> Finding:
    points = sweeps.of("per_block")
    if len(points) < 2:
        return Finding(None, [])
    short, long = points[0], points[-1]
    used = [*short.outcomes([FUSED]), *long.outcomes([FUSED])]
    slow, fast = long.metric(FUSED, BOTH), short.metric(FUSED, BOTH)
    blocks = (short.shape.n_blocks, long.shape.n_blocks)
    if slow is None or fast is None or blocks[0] is None or blocks[1] is None:
        return Finding(None, used)
    return Finding(ratio_of_medians(slow, fast).scaled(blocks[0] / blocks[1]), used)


def _workspace(length: int) -> Callable[[Sweeps], Finding]:
    def measure(sweeps: Sweeps) -> Finding:
        point = sweeps.find("memory", length=length)
        if point is None:
            return Finding(None, [])
        used = point.outcomes([FUSED])
        value = point.estimate(FUSED, "workspace_bytes")
        if value is None:
            return Finding(None, used)
        per_thread = 4 * point.threads * point.shape.length * point.shape.head_dim
        return Finding(value.scaled(1 / per_thread), used)

    return measure


GOALS = (
    Goal(
        "Rate over SGEMM's rate, D = 64, block 64",
        "ratio",
        _share_of_sgemm(64, 64),
        limit=0.65,
        aim=0.80,
    ),
    Goal(
        "Rate over SGEMM's rate, D = 32, block 64",
        "ratio",
        _share_of_sgemm(32, 64),
        limit=0.60,
        aim=0.75,
    ),
    Goal(
        "Rate over SGEMM's rate, D = 32, block 32",
        "ratio",
        _share_of_sgemm(32, 32),
        limit=0.45,
        aim=0.60,
    ),
    Goal(
        "Speed-up over dense SDPA times the density (1 is proportional), L = 4096, D = 32",
        "times",
        _speedup(4096, lambda point: point.shape.density),
        limit=0.9,
        aim=1.1,
    ),
    Goal("Speed-up over dense SDPA, L = 16384, 1 %", "times", _speedup(16384), limit=80, aim=110),
    Goal(
        "Forward pass: speed-up over compiled FlexAttention with the same mask",
        "times",
        _first("base", ("flex_forward", "forward_ms"), (FUSED, "forward_ms")),
        limit=1.3,
        aim=2.0,
    ),
    Goal(
        "Time of the paper's pipeline over the fused operator's",
        "times",
        _first("base", ("pipeline", BOTH), (FUSED, BOTH)),
    ),
    Goal(
        "Time per kept block, longest band over shortest",
        "times",
        _time_per_block_growth,
        limit=1.25,
        aim=1.10,
        higher_is_better=False,
    ),
    *(
        Goal(
            f"Fused workspace per thread over L*D float32 values, L = {length}",
            "values",
            _workspace(length),
        )
        for length in (1024, 4096, 16384)
    ),
    Goal(
        "Time with bfloat16 inputs over float32",
        "times",
        _first("dtype", (FUSED, BOTH), ("block_attention_float32", BOTH)),
        limit=1.15,
        aim=1.0,
        higher_is_better=False,
    ),
    Goal(
        "Pattern generation from q and k over one dense forward pass",
        "times",
        _first(
            "from_qk",
            ("pattern_from_qk", "pattern_from_qk_ms"),
            ("dense_sdpa_forward", "forward_ms"),
        ),
        limit=1.0,
        higher_is_better=False,
    ),
)


def goal_table(sweeps: Sweeps, key: str) -> Table:
    """Return every figure next to its goal; a figure without records says so."""
    findings = [(goal, goal.measure(sweeps)) for goal in GOALS]
    used = {o.record.key: o for _, finding in findings for o in finding.outcomes}
    return Table.of(
        findings,
        [
            Column.text("figure", "Figure", lambda item: item[0].figure),
            Column("value", "Measured", lambda item: _value(*item)),
            Column("limit", "Limit", lambda item: _bound(item[0], item[0].limit)),
            Column("aim", "Aim", lambda item: _bound(item[0], item[0].aim)),
            Column.text("records", "Records used", lambda item: _records(item[1].outcomes)),
        ],
        key=key,
        title="Goals of the kernels",
        caption=(
            "Forward and backward unless stated. Ratios are ratios of medians between "
            "implementations that took turns in one case; brackets are 95 % intervals."
        ),
        provenance=provenance(used.values()),
        notes=(
            "Rates count 14 * D * B * H * kept blocks * block size squared operations per forward "
            "and backward pass, recomputation not counted, on a band of three blocks per row. The "
            "limit of all rates is torch.mm of 2048 x 2048 x 2048 in float32 on the same threads.",
        ),
    )


def _value(goal: Goal, finding: Finding) -> Entry:
    if finding.value is None:
        failed = [outcome for outcome in finding.outcomes if not outcome.is_ok]
        reasons = [f"{o.method.name}: {o.measured.status}: {o.measured.reason}" for o in failed]
        return Entry.missing("; ".join(reasons) or "no record in this run")
    is_met = goal.is_met(finding.value.value)
    flag: Flag = "" if is_met is None else "good" if is_met else "warning"
    note = {"good": "reached", "warning": "not reached"}.get(flag, "")
    return Entry.estimate(finding.value, goal.unit, note=note, flag=flag)


def _bound(goal: Goal, value: float | None) -> Entry:
    if value is None:
        return Entry.absent("only reported")
    side = "at least" if goal.higher_is_better else "at most"
    return Entry(f"{side} {format_quantity(value, goal.unit)[0]}", value=value)


def _records(outcomes: list[Outcome]) -> Entry:
    if not outcomes:
        return Entry.absent("none")
    return Entry.of_text("; ".join(f"{o.cell.label} {o.method.name}" for o in outcomes))
