"""Runs a plan: resume, gate before clock, one worker per cell, one record per cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from spion_bench.measure.machine import available_cores, load_average
from spion_bench.records import Environment, MethodInfo, Record, now
from spion_bench.records.store import Store
from spion_bench.run.conduct import OMP_WAIT_POLICY, Conducted, Tell, conduct
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.cases import find_case
from spion_bench.suite.cases.case import subject_dtype
from spion_bench.suite.cases.limits import refusal
from spion_bench.suite.methods import METHODS
from spion_bench.suite.plan import Cell, gate_cell, turns
from spion_bench.suite.settings import task_settings

Conduct = Callable[[Sequence[Job], Tell], dict[str, Conducted]]


class Display(Protocol):
    """Shows a run to its user."""

    def begin(self, total: int, done: int) -> None:
        """A run of ``total`` cells begins, of which ``done`` need no new run."""

    def start(self, cells: Sequence[Cell]) -> None:
        """These cells are now being measured."""

    def event(self, cell: Cell, event: dict[str, Any]) -> None:
        """A worker reports something."""

    def finish(self, cell: Cell, record: Record) -> None:
        """A cell has its record."""


@dataclass(frozen=True)
class Runner:
    """Turns the cells of a plan into records.

    Attributes:
        store: Where records and files go.
        environment: What is common to all records of the run.
        display: Who shows the progress.
        fresh: Whether to measure cells again that already have a good record.
        conduct: Runs the workers; tests replace it.
    """

    store: Store
    environment: Environment
    display: Display
    fresh: bool = False
    conduct: Conduct = conduct

    def run(self, cells: Sequence[Cell]) -> list[Record]:
        """Run what is to be run and return the last record of every cell, in plan order.

        An interleaved turn is measured again as a whole if one of its cells is missing: ratios
        are only fair between methods that took turns.
        """
        if self.fresh:
            self.store.forget(cells)
        groups = list(turns(cells))
        pending = [
            group
            for group in groups
            if self.fresh or not all(self.store.is_done(cell) for cell in group)
        ]
        self.display.begin(len(cells), len(cells) - sum(len(group) for group in pending))
        for group in pending:
            self._run_turn(group)
        records = [self.store.latest(cell.key) for cell in cells]
        return [record for record in records if record is not None]

    def _run_turn(self, cells: Sequence[Cell]) -> None:
        started = now()
        barred = {cell.key: outcome for cell in cells if (outcome := self._barred(cell))}
        open_cells = [cell for cell in cells if cell.key not in barred]
        self.display.start(open_cells or cells)
        jobs = [self._job(cell) for cell in open_cells]
        conducted = self.conduct(jobs, self.display.event) if jobs else {}
        for cell in cells:
            done = conducted.get(cell.key) or Conducted(barred[cell.key], 0.0)
            company = ", ".join(other.method for other in open_cells) if len(cells) > 1 else None
            self._store(cell, done, started, company)

    def _barred(self, cell: Cell) -> Outcome | None:
        """Return the outcome of a cell that is left out or whose gate does not open, or None."""
        if cell.case is not None:
            case = find_case(cell.case)
            gpu = self.environment.gpu
            refused = refusal(
                case, cell.method, cores=available_cores(), device=cell.device, gpu=gpu
            )
            if refused is None:
                return None
            return Outcome(status="unsupported", reason=refused, settings=case.settings())
        gate = gate_cell(cell)
        record = self.store.latest(gate.key) if gate else None
        if record is None or record.status == "ok":
            return None
        reason = f"gate cell {record.cell_key}: {record.reason}"
        if record.status in ("gate_failed", "unsupported"):
            return Outcome(status=record.status, reason=reason)
        return Outcome(status="skipped", reason=f"{record.status} of the {reason}")

    def _job(self, cell: Cell) -> Job:
        gate = gate_cell(cell)
        job = Job(
            cell=cell,
            out=str(self.store.out.resolve()),
            check_first=gate is not None and self.store.latest(gate.key) is None,
        )
        if cell.pass_name not in ("speed", "memory") or METHODS[cell.method].variant is None:
            return job
        settings = task_settings(cell)
        block_size, length = settings.spion.block_size, settings.model.max_length
        learned = self.store.learned_patterns(cell, length, block_size)
        if learned is None:
            return job
        # The gate cell checked a synthetic pattern; a learned one is checked where it is used.
        return job.model_copy(
            update={
                "check_first": True,
                "pattern_artifact": str(self.store.artifact(learned).resolve()),
                "pattern_cell": learned.cell_key,
            }
        )

    def _store(self, cell: Cell, done: Conducted, started: datetime, company: str | None) -> None:
        outcome = done.outcome
        settings = {
            "label": cell.label,
            **outcome.settings,
            "busy_s": round(done.busy_s, 3),
            "code": cell.code,
            "omp_wait_policy": OMP_WAIT_POLICY,
        }
        if company:
            settings |= {"measured_in_turns_with": company, "rounds": cell.measure.rounds}
        slowed = outcome.settings.get("throttle_reasons")  # absent where nobody looked
        record = Record(
            cell_key=cell.key,
            pass_name=cell.pass_name,
            profile=cell.profile,
            task=outcome.task,
            method=outcome.method or MethodInfo(name=cell.method),
            seed=cell.seed,
            device=cell.device,
            dtype=subject_dtype(find_case(cell.case), cell.method) if cell.case else "float32",
            started_at=started,
            ended_at=now(),
            environment=self.environment.model_copy(
                update={
                    "load_average": load_average(),
                    "threads": cell.threads,
                    "gpu_throttle_reasons": None if slowed is None else str(slowed).split(),
                }
            ),
            **{
                name: getattr(outcome, name)
                for name in (
                    "status",
                    "reason",
                    "metrics",
                    "gate_errors",
                    "pattern",
                    "transition",
                    "deviations",
                    "artifacts",
                )
            },
            settings=settings,
        )
        self.store.append(record)
        self.display.finish(cell, record)
