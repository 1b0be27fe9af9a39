"""Runs a plan: resume, gate before timing, prefix before its forks, one record per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from spion_bench.measure.machine import OMP_WAIT_POLICY, available_cores, load_average
from spion_bench.passes.session import Job
from spion_bench.records import (
    CellBase,
    Environment,
    KernelCell,
    Measurement,
    Record,
    TaskCell,
    now,
)
from spion_bench.records.store import Store
from spion_bench.run.executors.executor import Begun, Executor, OneByOne, Planned
from spion_bench.run.interrupts import deferred_interrupts
from spion_bench.run.messages import Progress, RoundStarted
from spion_bench.suite.cases import find_case
from spion_bench.suite.cases.limits import refusal
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.passes import PASSES
from spion_bench.suite.plan import turns


class Display(Protocol):
    """Shows a run to its user."""

    def begin(self, total: int, done: int) -> None:
        """A run of ``total`` cells begins, of which ``done`` need no new run."""

    def start(self, cells: Sequence[Planned]) -> None:
        """These cells are now being measured."""

    def event(self, cell: CellBase, event: Progress | RoundStarted) -> None:
        """A worker reports something, or takes its turn."""

    def finish(self, cell: CellBase, record: Record) -> None:
        """A cell has its record."""


@dataclass(frozen=True)
class Runner:
    """Turns the cells of a plan into records.

    Attributes:
        store: Where records and files go.
        environment: What is common to all records of the run.
        display: Shows the progress.
        fresh: Whether to measure cells again that already have a good record.
        executor: Runs the turns.
    """

    store: Store
    environment: Environment
    display: Display
    fresh: bool = False
    executor: Executor = field(default_factory=OneByOne)

    def run(self, cells: Sequence[Planned]) -> list[Record]:
        """Run what is still to be run and return the last record of every cell, in plan order.

        An interleaved turn is measured again as a whole if one of its cells is missing: ratios
        are only fair between methods that took turns. A shared prefix is trained again only if a
        cell that continues it is to be run.
        """
        if self.fresh:
            self.store.forget(cells)
        else:
            for cell in cells:
                self._adopt(cell)
        pending = pending_turns(cells, self.store, fresh=self.fresh)
        self.display.begin(len(cells), len(cells) - sum(len(group) for group in pending))
        self.executor.run(pending, self)
        records = [self.store.latest(cell.key) for cell in cells]
        return [record for record in records if record is not None]

    def _adopt(self, cell: Planned) -> None:
        """Store what another profile measured here as this one's: a key says nothing of profiles.

        Reports compare within a profile, so dense attention that `calibrate` trained is `study`'s.
        """
        record = self.store.latest(cell.key) if self.store.is_done(cell) else None
        if record is not None and record.cell.profile != cell.profile:
            self.store.append(record.model_copy(update={"cell": cell}))

    def begin(self, cells: Sequence[Planned]) -> Begun:
        """Return what is to be done for a turn, and show it."""
        started = now()
        barred = {cell.key: reason for cell in cells if (reason := self._barred(cell))}
        open_cells = [cell for cell in cells if cell.key not in barred]
        self.display.start(open_cells or cells)
        for cell in open_cells:
            for name in self.store.discard_damaged(cell):
                message = f"artifact {name} is damaged or gone; its cell is measured again"
                self.event(cell, Progress.message_only(message))
        return Begun(cells, [self._job(cell) for cell in open_cells], barred, started)

    def event(self, cell: CellBase, event: Progress | RoundStarted) -> None:
        """Show what a worker reports."""
        self.display.event(cell, event)

    def end(self, begun: Begun, found: Mapping[str, Measurement]) -> None:
        """Store what came of a turn's jobs, a record per cell."""
        found = {**begun.barred, **found}
        for cell in begun.cells:
            self._store(cell, found[cell.key], begun.started)

    def _barred(self, cell: Planned) -> Measurement | None:
        """Return why a cell is left out, or None: its limits, its gate, or what it continues."""
        if isinstance(cell, KernelCell):
            refused = refusal(
                find_case(cell.case),
                find_implementation(cell.method.name),
                cores=available_cores(),
                device=cell.device,
                gpu=self.environment.gpu,
            )
            return (
                None if refused is None else Measurement(status="unsupported", **refused._asdict())
            )
        for what, key in (("gate", cell.gate), ("dense prefix", cell.parent)):
            record = None if key is None else self.store.latest(key)
            if record is not None and not record.is_ok:
                return _barred_by(what, record)
        return None

    def _job(self, cell: Planned) -> Job:
        job = Job(cell=cell, out=str(self.store.out.resolve()))
        if isinstance(cell, KernelCell):
            return job
        if cell.gate is not None and self.store.latest(cell.gate) is None:
            job = job.model_copy(update={"check_first": True})
        learned = self._learned_patterns(cell)
        if learned is None:
            return job
        (name, sha256), *_ = learned.measurement.artifacts.items()
        # The gate cell checked a synthetic pattern; a learned one is checked where it is used.
        return job.model_copy(
            update={
                "check_first": True,
                "pattern_artifact": str(self.store.artifact(name).resolve()),
                "pattern_sha256": sha256,
                "pattern_cell": learned.key,
            }
        )

    def _learned_patterns(self, cell: TaskCell) -> Record | None:
        """Return the accuracy record whose patterns fit ``cell``: same task, seed and method."""
        if not PASSES[cell.pass_name].uses_pattern or cell.method.variant is None:
            return None
        block_size = cell.resolved().spion.block_size
        is_learned = cell.method.blocks in ("own", "top_mass")
        method = cell.method.name if is_learned else cell.method.base
        wanted = ("accuracy", method, cell.seed, cell.label, cell.machine, block_size)
        for record in reversed(self.store.records):
            asked, pattern = record.cell, record.measurement.pattern
            if not record.is_ok or pattern is None:
                continue
            learned = (asked.pass_name, asked.method.name, asked.seed, asked.label, asked.machine)
            left = record.measurement.artifacts
            if (*learned, pattern.block_size) == wanted and left and not self.store.damaged(record):
                return record
        return None

    def _store(self, cell: Planned, measurement: Measurement, started: datetime) -> None:
        here = {
            "load_average": load_average(),
            "threads": cell.threads,
            "omp_wait_policy": OMP_WAIT_POLICY,
        }
        record = Record(
            cell=cell,
            measurement=measurement,
            environment=self.environment.model_copy(update=here),
            started_at=started,
            ended_at=now(),
        )
        with deferred_interrupts():  # a Ctrl-C during the write takes effect after it
            self.store.append(record)
        self.display.finish(cell, record)


def pending_turns(cells: Sequence[Planned], store: Store, *, fresh: bool) -> list[list[Planned]]:
    """Return the turns that are to be run, in plan order."""
    if fresh:
        return list(turns(cells))
    undone = {cell.key for cell in cells if not store.is_done(cell)}
    continued = {c.parent for c in cells if isinstance(c, TaskCell) and c.key in undone}
    idle = {c.key for c in cells if c.pass_name == "prefix" and _is_idle(c, store, continued)}
    return [group for group in turns(cells) if any(c.key in undone - idle for c in group)]


def _is_idle(cell: Planned, store: Store, continued: set[str | None]) -> bool:
    """Return whether a prefix was trained once and nothing is left that continues it."""
    record = store.latest(cell.key)
    return record is not None and record.is_ok and cell.key not in continued


def _barred_by(what: str, record: Record) -> Measurement:
    found = record.measurement
    reason = f"{what} cell {record.key}: {found.reason}"
    if found.status in ("gate_failed", "unsupported"):
        return Measurement(status=found.status, reason=reason, is_final=found.is_final)
    return Measurement(status="skipped", reason=f"{found.status} of the {reason}")
