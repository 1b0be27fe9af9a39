"""The kernel sweeps of a run: cases that vary one factor, each with what was measured on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from spion_bench.records import KernelCell, KernelShape, MethodInfo, Metric
from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.statistics import Estimate, median_of
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.methods import BASELINE, is_dense, ordered
from spion_bench.report.style import Look, looks_of

FUSED: Final = "block_attention"
"""The fused operator, whose figures the goals are about."""

SGEMM: Final = "sgemm"
COPY: Final = "memory_copy"
BOTH: Final = "forward_backward_ms"
RATE: Final = "flops_rate_gflops"

TASKS: Final = "tasks"
"""The sweep over the tasks' published shapes on a GPU, whose tables stand next to a model."""

PEERS: Final = "peers"
"""The sweep over shapes that other projects' kernels take, on a GPU."""


@dataclass(frozen=True)
class Point:
    """One kernel case of one records file: a point of the sweeps that it names.

    Attributes:
        cell: The case, as any of its cells states it.
        implementations: Last outcome of every implementation, in the order of every legend.
    """

    cell: KernelCell
    implementations: dict[str, Outcome]

    @property
    def shape(self) -> KernelShape:
        """The shape of the case."""
        return self.cell.shape

    @property
    def batch_heads(self) -> int:
        """Independent attentions B*H."""
        return self.shape.batch * self.shape.heads

    @property
    def threads(self) -> int:
        """CPU threads of the case."""
        return self.cell.threads

    @property
    def has_numbers(self) -> bool:
        """Whether any implementation was measured."""
        return any(outcome.is_ok for outcome in self.implementations.values())

    def metric(self, implementation: str, name: str) -> Metric | None:
        """Return a metric of an implementation, or None if it has none."""
        outcome = self.implementations.get(implementation)
        return None if outcome is None else outcome.measured.metric(name)

    def estimate(self, implementation: str, name: str) -> Estimate | None:
        """Return a metric's median and interval, or None if there is none."""
        metric = self.metric(implementation, name)
        return None if metric is None else median_of(metric)

    def ratio(self, above: tuple[str, str], below: tuple[str, str]) -> Estimate | None:
        """Return the ratio of two metrics of two implementations; None if one is missing."""
        numerator, denominator = self.metric(*above), self.metric(*below)
        if numerator is None or denominator is None:
            return None
        return ratio_in_turn(numerator, denominator)

    def speedup(self, implementation: str, name: str = BOTH) -> Estimate | None:
        """Return how many times faster than dense attention an implementation is, in this case."""
        return self.ratio((BASELINE, name), (implementation, name))

    def outcomes(self, implementations: Iterable[str] | None = None) -> list[Outcome]:
        """Return the outcomes of some implementations, or of all."""
        names = self.implementations if implementations is None else implementations
        return [self.implementations[name] for name in names if name in self.implementations]


FACTORS: dict[str, Callable[[Point], float | None]] = {
    "length": lambda point: point.shape.length,
    "per_block": lambda point: point.shape.length,
    "memory": lambda point: point.shape.length,
    "head_dim": lambda point: point.shape.head_dim,
    "block_size": lambda point: point.shape.block_size,
    "density": lambda point: point.shape.density,
    "heads": lambda point: point.batch_heads,
    "threads": lambda point: point.threads,
}
"""Sweep -> the number that varies in it."""


@dataclass(frozen=True)
class Sweeps:
    """All kernel sweeps of one records file: one machine, one code, one number of threads.

    Attributes:
        label: The file and what else tells it from others; "" if there is only one.
        points: Every case.
    """

    label: str
    points: tuple[Point, ...]

    @property
    def suffix(self) -> str:
        """What follows a title to say which file it is about."""
        return f", {self.label}" if self.label else ""

    @property
    def outcomes(self) -> list[Outcome]:
        """Every outcome, case by case."""
        return [outcome for point in self.points for outcome in point.implementations.values()]

    @cached_property
    def methods(self) -> dict[str, MethodInfo]:
        """Every implementation, in the order of every legend."""
        infos = {outcome.method.name: outcome.method for outcome in self.outcomes}
        return {name: infos[name] for name in ordered(infos.values())}

    @cached_property
    def looks(self) -> dict[str, Look]:
        """The colour and marker of every implementation, the same in all figures."""
        return looks_of(self.methods.values())

    @property
    def attention(self) -> list[str]:
        """The implementations of attention: all but other operators and the machine's limits."""
        return [n for n, m in self.methods.items() if m.family not in ("operator", "limit")]

    @property
    def sparse(self) -> list[str]:
        """The implementations of attention that do not compute every score."""
        return [name for name in self.attention if not is_dense(self.methods[name])]

    def of(self, sweep: str) -> list[Point]:
        """Return the points of one sweep by the factor that varies; others in record order."""
        found = [point for point in self.points if sweep in point.cell.sweeps]
        factor = FACTORS.get(sweep)
        if factor is None:
            return found
        placed = [(factor(point), point) for point in found]
        known = [(x, point) for x, point in placed if x is not None]
        return [point for _, point in sorted(known, key=lambda pair: pair[0])]

    def find(self, sweep: str, **shape: int) -> Point | None:
        """Return the sweep's point of a shape such as ``length=4096``, or None."""
        for point in self.of(sweep):
            if all(getattr(point.shape, name) == value for name, value in shape.items()):
                return point
        return None


def is_sweep(outcome: Outcome) -> bool:
    """Return whether an outcome belongs to a kernel sweep, which has a page of its own."""
    return isinstance(outcome.cell, KernelCell) and bool(outcome.cell.sweeps)


def is_on_gpu(outcome: Outcome) -> bool:
    """Return whether an outcome belongs to a GPU's tables, at tasks' shapes or beside peers."""
    return isinstance(outcome.cell, KernelCell) and bool({TASKS, PEERS} & {*outcome.cell.sweeps})


def kernel_sweeps(run: RecordSet) -> list[Sweeps]:
    """Return the sweeps around one base case of every records file that has any."""
    return _sweeps(run, lambda outcome: is_sweep(outcome) and not is_on_gpu(outcome))


def gpu_sweeps(run: RecordSet) -> list[Sweeps]:
    """Return the cases of a GPU's tables of every records file that has any."""
    return _sweeps(run, is_on_gpu)


def shape_text(shape: KernelShape) -> str:
    """Return a shape in the letters of the documentation."""
    return ", ".join(f"{name} = {value}" for name, value in shape_letters(shape).items())


def shape_letters(shape: KernelShape) -> dict[str, int]:
    """Return a shape's numbers by the letters of the documentation."""
    return {
        **{"B": shape.batch, "H": shape.heads, "L": shape.length, "D": shape.head_dim},
        "block_size": shape.block_size,
    }


def _sweeps(run: RecordSet, is_wanted: Callable[[Outcome], bool]) -> list[Sweeps]:
    by_run: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in run.outcomes:
        if is_wanted(outcome):
            s = outcome.setting
            place = (s.file, s.device, s.profile, s.machine, s.version)
            by_run.setdefault(place, []).append(outcome)
    parts = [
        ((*place, threads), points)
        for place, outcomes in by_run.items()
        for threads, points in _by_threads(outcomes).items()
    ]
    differing = [
        len(set(column)) > 1 for column in zip(*(place for place, _ in parts), strict=True)
    ]
    return [
        Sweeps(
            ", ".join(part for part, differs in zip(place, differing, strict=True) if differs),
            _points(outcomes),
        )
        for place, outcomes in parts
    ]


def _by_threads(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return a run's outcomes by its number of threads; cases that set their own are in each."""
    threads: dict[str, set[int]] = {}
    for outcome in outcomes:
        threads.setdefault(outcome.cell.label, set()).add(outcome.cell.threads)
    several = sorted({n for found in threads.values() if len(found) > 1 for n in found})
    if not several:
        return {"": list(outcomes)}
    return {
        f"{n} thread{'s' if n > 1 else ''}": [
            o for o in outcomes if len(threads[o.cell.label]) == 1 or o.cell.threads == n
        ]
        for n in several
    }


def _points(outcomes: Iterable[Outcome]) -> tuple[Point, ...]:
    """Return the cases of a run, each with every implementation."""
    cases: dict[str, dict[str, Outcome]] = {}
    cells: dict[str, KernelCell] = {}
    for outcome in outcomes:
        if isinstance(outcome.cell, KernelCell):
            cases.setdefault(outcome.cell.case, {})[outcome.method.name] = outcome
            cells.setdefault(outcome.cell.case, outcome.cell)
    return tuple(
        Point(cells[case], {n: found[n] for n in ordered(o.method for o in found.values())})
        for case, found in cases.items()
    )
