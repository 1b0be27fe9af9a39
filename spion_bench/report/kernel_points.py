"""The kernel sweeps of a run: cases that vary one factor, each with the subjects measured on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from spion_bench.records import Metric
from spion_bench.report.load import BASELINE, Outcome, RecordSet
from spion_bench.report.statistics import Estimate, median_of, ratio_of_medians

OURS = "block_attention"
SGEMM = "sgemm"
SUBJECT_ORDER = (
    *(OURS, "block_attention_float32", "pipeline", "flex", "flex_forward", "csr_pipeline"),
    *("sliding_window", BASELINE, "dense_sdpa_forward", "dense_eager", "dense_xformers"),
    *("pattern_from_qk", SGEMM, "memory_copy"),
)
TASKS = "tasks"
"""The sweep over the tasks' published shapes on a GPU, whose tables stand beside a model."""


@dataclass(frozen=True)
class Point:
    """One kernel case of one records file: a point of the sweeps that it names.

    Attributes:
        label: Name of the case.
        sweeps: Names of its sweeps.
        shape: ``B H L D block_size``.
        subjects: Last outcome of every subject, in the order of every legend.
    """

    label: str
    sweeps: tuple[str, ...]
    shape: dict[str, int]
    subjects: dict[str, Outcome]

    @property
    def batch_heads(self) -> int:
        """Independent attentions B*H."""
        return self.shape["B"] * self.shape["H"]

    @property
    def threads(self) -> int:
        """CPU threads of the case."""
        return next(iter(self.subjects.values())).record.environment.threads

    @property
    def has_numbers(self) -> bool:
        """Whether any subject was measured."""
        return any(outcome.record.status == "ok" for outcome in self.subjects.values())

    @property
    def n_blocks(self) -> int | None:
        """Kept blocks of the case's pattern, or None if no block-sparse subject was measured."""
        for outcome in self.subjects.values():
            pattern = outcome.record.pattern
            if pattern is not None and not outcome.record.method.name.startswith("dense"):
                return pattern.nnzb[0]
        return None

    @property
    def density(self) -> float | None:
        """Kept blocks over all blocks."""
        n_blocks = self.n_blocks
        if n_blocks is None:
            return None
        return n_blocks / (self.shape["L"] // self.shape["block_size"]) ** 2

    def metric(self, subject: str, name: str) -> Metric | None:
        """Return a metric of a subject, or None if it has none."""
        outcome = self.subjects.get(subject)
        return None if outcome is None else outcome.record.metrics.get(name)

    def estimate(self, subject: str, name: str) -> Estimate | None:
        """Return a metric's median and interval, or None if there is none."""
        metric = self.metric(subject, name)
        return None if metric is None else median_of(metric)

    def ratio(self, above: tuple[str, str], below: tuple[str, str]) -> Estimate | None:
        """Return the ratio of two metrics, each given as subject and name; None if one lacks."""
        numerator, denominator = self.metric(*above), self.metric(*below)
        if numerator is None or denominator is None:
            return None
        return ratio_of_medians(numerator, denominator)

    def speedup(self, subject: str, name: str = "forward_backward_ms") -> Estimate | None:
        """Return how many times faster than dense attention a subject is, in this case."""
        return self.ratio((BASELINE, name), (subject, name))

    def setting(self, name: str) -> str:
        """Return a setting that all subjects of the case share, or ""."""
        found = [o.record.settings.get(name) for o in self.subjects.values()]
        return str(next((value for value in found if value), ""))

    def outcomes(self, subjects: Iterable[str] | None = None) -> list[Outcome]:
        """Return the outcomes of some subjects, or of all."""
        names = self.subjects if subjects is None else subjects
        return [self.subjects[name] for name in names if name in self.subjects]


FACTORS: dict[str, Callable[[Point], float | None]] = {
    "length": lambda point: point.shape["L"],
    "per_block": lambda point: point.shape["L"],
    "memory": lambda point: point.shape["L"],
    "head_dim": lambda point: point.shape["D"],
    "block_size": lambda point: point.shape["block_size"],
    "density": lambda point: point.density,
    "heads": lambda point: point.batch_heads,
    "threads": lambda point: point.threads,
}
"""Sweep -> the number that varies in it."""


@dataclass(frozen=True)
class Sweeps:
    """All kernel sweeps of one records file.

    Attributes:
        label: The file, if there are several; "" otherwise.
        points: Every case.
    """

    label: str
    points: tuple[Point, ...]

    def of(self, sweep: str) -> list[Point]:
        """Return the points of one sweep by the factor that varies; others in record order."""
        found = [point for point in self.points if sweep in point.sweeps]
        factor = FACTORS.get(sweep)
        if factor is None:
            return found
        placed = [(factor(point), point) for point in found]
        ordered = [(x, point) for x, point in placed if x is not None]
        return [point for _, point in sorted(ordered, key=lambda pair: pair[0])]

    def find(self, sweep: str, **shape: int) -> Point | None:
        """Return the sweep's point of a shape such as ``L=4096``, or None."""
        for point in self.of(sweep):
            if all(point.shape.get(name) == value for name, value in shape.items()):
                return point
        return None


def is_sweep(outcome: Outcome) -> bool:
    """Whether an outcome belongs to a kernel sweep, which has a page of its own."""
    return bool(outcome.record.settings.get("sweeps"))


def is_at_tasks(outcome: Outcome) -> bool:
    """Whether an outcome belongs to the sweep over the tasks' shapes on a GPU."""
    return outcome.record.settings.get("sweeps") == TASKS


def kernel_sweeps(run: RecordSet) -> list[Sweeps]:
    """Return the sweeps around one base case of every records file that has any."""
    return _sweeps(run, lambda outcome: is_sweep(outcome) and not is_at_tasks(outcome))


def task_sweeps(run: RecordSet) -> list[Sweeps]:
    """Return the cases at the tasks' shapes on a GPU of every records file that has any."""
    return _sweeps(run, is_at_tasks)


def _sweeps(run: RecordSet, is_wanted: Callable[[Outcome], bool]) -> list[Sweeps]:
    wanted = [o for o in run.outcomes if is_wanted(o)]
    sweeps = {o.label: str(o.record.settings["sweeps"]) for o in wanted}
    files = list(dict.fromkeys(o.file for o in wanted))
    return [
        Sweeps(file if len(files) > 1 else "", tuple(_points(run.outcomes, file, sweeps)))
        for file in files
    ]


def _points(outcomes: Sequence[Outcome], file: str, sweeps: dict[str, str]) -> list[Point]:
    """Return the cases of a file; of a subject that was run more than once, the last run."""
    cases: dict[str, dict[str, Outcome]] = {}
    # A worker that died leaves no settings of its own; the case's label still places it.
    members = [o for o in outcomes if o.file == file and o.label in sweeps]
    for outcome in sorted(members, key=lambda o: o.record.ended_at):
        cases.setdefault(outcome.label, {})[outcome.record.method.name] = outcome
    points = []
    for label, found in cases.items():
        shapes = [outcome.shape for outcome in found.values() if outcome.shape]
        if shapes:  # a case that only crashed is told under Statuses
            shape = {name: int(value) for name, value in shapes[0].items()}
            subjects = {name: found[name] for name in sorted(found, key=subject_rank)}
            points.append(Point(label, tuple(sweeps[label].split()), shape, subjects))
    return points


def subject_rank(name: str) -> tuple[int, str]:
    """Sort subjects: ours, the peers, dense attention, the limits."""
    known = SUBJECT_ORDER.index(name) if name in SUBJECT_ORDER else len(SUBJECT_ORDER)
    return known, name
