"""The kernels' goals: what they are held to, and what this run measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spion_bench.report.cells import provenance
from spion_bench.report.kernel_points import OURS, SGEMM, Point, Sweeps
from spion_bench.report.load import BASELINE, Outcome
from spion_bench.report.quantities import format_quantity
from spion_bench.report.statistics import Estimate, ratio_of_medians
from spion_bench.report.table import Column, Entry, Flag, Table, absent, estimate, missing, words

_TIME = "forward_backward_ms"
_RATE = "flops_rate_gflops"


@dataclass(frozen=True)
class Finding:
    """A measured figure and the outcomes that it was computed from."""

    value: Estimate | None
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Goal:
    """One figure that the kernels are held to.

    Attributes:
        figure: The figure in words.
        unit: ``"times"``, ``"ratio"`` or a word.
        measure: Computes it from a run's sweeps.
        limit: What must be reached, or None if the figure is only told.
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
    return Finding(scaled(ratio, scale), used)


def scaled(value: Estimate, factor: float) -> Estimate:
    """Return an estimate times a number that is known exactly."""
    low = None if value.low is None else value.low * factor
    high = None if value.high is None else value.high * factor
    return Estimate(value.value * factor, low, high, value.n, value.basis)


def _share_of_sgemm(head_dim: int, block_size: int) -> Callable[[Sweeps], Finding]:
    def measure(sweeps: Sweeps) -> Finding:
        point = sweeps.find("rate", D=head_dim, block_size=block_size)
        return _of_point(point, (OURS, _RATE), (SGEMM, _RATE))

    return measure


def _speedup(
    length: int, factor: Callable[[Point], float | None] = lambda point: 1.0
) -> Callable[[Sweeps], Finding]:
    def measure(sweeps: Sweeps) -> Finding:
        return _of_point(sweeps.find("speedup", L=length), (BASELINE, _TIME), (OURS, _TIME), factor)

    return measure


def _first(sweep: str, above: tuple[str, str], below: tuple[str, str]) -> Callable[..., Finding]:
    return lambda sweeps: _of_point(sweeps.find(sweep), above, below)


def _time_per_block_growth(sweeps: Sweeps) -> Finding:
    points = sweeps.of("per_block")
    if len(points) < 2:
        return Finding(None, [])
    short, long = points[0], points[-1]
    used = [*short.outcomes([OURS]), *long.outcomes([OURS])]
    slow, fast = long.metric(OURS, _TIME), short.metric(OURS, _TIME)
    blocks = (short.n_blocks, long.n_blocks)
    if slow is None or fast is None or blocks[0] is None or blocks[1] is None:
        return Finding(None, used)
    return Finding(scaled(ratio_of_medians(slow, fast), blocks[0] / blocks[1]), used)


def _workspace(length: int) -> Callable[[Sweeps], Finding]:
    def measure(sweeps: Sweeps) -> Finding:
        point = sweeps.find("memory", L=length)
        if point is None:
            return Finding(None, [])
        used = point.outcomes([OURS])
        value = point.estimate(OURS, "workspace_bytes")
        if value is None:
            return Finding(None, used)
        per_thread = 4 * point.threads * point.shape["L"] * point.shape["D"]
        return Finding(scaled(value, 1 / per_thread), used)

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
        "Speed-up over dense SDPA times the density (1 is in proportion), L = 4096, D = 32",
        "times",
        _speedup(4096, lambda point: point.density),
        limit=0.9,
        aim=1.1,
    ),
    Goal("Speed-up over dense SDPA, L = 16384, 1 %", "times", _speedup(16384), limit=80, aim=110),
    Goal(
        "Forward pass: speed-up over compiled FlexAttention with the same mask",
        "times",
        _first("base", ("flex_forward", "forward_ms"), (OURS, "forward_ms")),
        limit=1.3,
        aim=2.0,
    ),
    Goal(
        "Time of the paper's pipeline over the fused operator's",
        "times",
        _first("base", ("pipeline", _TIME), (OURS, _TIME)),
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
        _first("dtype", (OURS, _TIME), ("block_attention_float32", _TIME)),
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

_COLUMNS = (
    Column("figure", "Figure", numeric=False),
    Column("value", "Measured"),
    Column("limit", "Limit"),
    Column("aim", "Aim"),
    Column("records", "Records used", numeric=False),
)


def goal_table(sweeps: Sweeps, key: str) -> Table:
    """Return every figure beside what it is held to; a figure without records says so."""
    findings = [(goal, goal.measure(sweeps)) for goal in GOALS]
    used = {o.record.cell_key: o for _, finding in findings for o in finding.outcomes}
    return Table(
        key=key,
        title="What the kernels are held to",
        caption=(
            "Forward and backward unless said. Ratios are ratios of medians between subjects that "
            "took turns in one case; brackets are 95 % intervals."
        ),
        columns=_COLUMNS,
        rows=tuple(_row(goal, finding) for goal, finding in findings),
        provenance=provenance(used.values()),
        notes=(
            "Rates count 14 * D * B * H * kept blocks * block side squared operations per forward "
            "and backward pass, recomputation not counted, on a band of three blocks per row. The "
            "limit of all rates is torch.mm of 2048 x 2048 x 2048 in float32 on the same threads.",
        ),
    )


def _row(goal: Goal, finding: Finding) -> tuple[Entry, ...]:
    return (
        words(goal.figure),
        _value(goal, finding),
        _bound(goal, goal.limit),
        _bound(goal, goal.aim),
        _records(finding.outcomes),
    )


def _value(goal: Goal, finding: Finding) -> Entry:
    if finding.value is None:
        failed = [o.record for o in finding.outcomes if o.record.status != "ok"]
        reasons = [f"{r.method.name}: {r.status}: {r.reason}" for r in failed]
        return missing("; ".join(reasons) or "no record of it in this run")
    is_met = goal.is_met(finding.value.value)
    flag: Flag = "" if is_met is None else "good" if is_met else "warning"
    note = {"good": "reached", "warning": "not reached"}.get(flag, "")
    return estimate(finding.value, goal.unit, note=note, flag=flag)


def _bound(goal: Goal, value: float | None) -> Entry:
    if value is None:
        return absent("only reported")
    side = "at least" if goal.higher_is_better else "at most"
    return Entry(f"{side} {format_quantity(value, goal.unit)[0]}", value=value)


def _records(outcomes: list[Outcome]) -> Entry:
    if not outcomes:
        return absent("none")
    cells = [f"{o.label} {o.record.method.name}" for o in outcomes]
    return words("; ".join(cells))
