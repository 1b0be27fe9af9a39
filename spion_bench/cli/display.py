"""What a user sees of a run: live bars on a terminal, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from spion_bench.records import FAILED_STATUSES, Record
from spion_bench.records.statistics import mean_with_interval
from spion_bench.run.runner import Display
from spion_bench.suite.plan import Cell

PLAIN_INTERVAL_S = 10.0
STYLES = {"ok": "green", "unsupported": "cyan", "skipped": "yellow"}


class PlainDisplay:
    """One line per cell and event, for pipes and log files; training steps at long intervals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._number = 0
        self._last = 0.0

    def begin(self, total: int, done: int) -> None:
        """Say how much there is to do."""
        self._total, self._number = total, done
        self._line(opening(total, done))

    def start(self, cells: Sequence[Cell]) -> None:
        """Name the cells that start."""
        self._last = time.monotonic()
        self._line("start " + ", ".join(name_of(cell) for cell in cells))

    def event(self, cell: Cell, event: dict[str, Any]) -> None:
        """Print messages and evaluations at once, training steps now and then."""
        is_worth_a_line = event.get("message") or event.get("dev_accuracy") is not None
        if is_worth_a_line or time.monotonic() - self._last >= PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            self._line(f"  {name_of(cell)}: {describe(event)}")

    def finish(self, cell: Cell, record: Record) -> None:
        """Print the outcome."""
        self._number += 1
        self._line(f"[{self._number}/{self._total}] {name_of(cell)}: {verdict(record)}")

    def _line(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)


class LiveDisplay:
    """A bar over all cells and one for the current cell, with its phase, loss and time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._overall: TaskID = progress.add_task("cells", total=None, detail="")
        self._current: TaskID | None = None

    def begin(self, total: int, done: int) -> None:
        """Set the overall bar's range."""
        self._progress.console.print(escape(opening(total, done)), highlight=False)
        self._progress.update(self._overall, total=total, completed=done)

    def start(self, cells: Sequence[Cell]) -> None:
        """Show the cells that start."""
        self._drop_current()
        names = name_of(cells[0]) if len(cells) == 1 else f"{cells[0].pass_name} {cells[0].label}"
        self._current = self._progress.add_task(escape(names), total=None, detail="starting")

    def event(self, cell: Cell, event: dict[str, Any]) -> None:
        """Move the current cell's bar."""
        if self._current is None:
            return
        if event.get("message"):
            line = f"{name_of(cell)}: {event['message']}"
            self._progress.console.print(escape(line), highlight=False, style="dim")
        done, total = event.get("step"), event.get("total_steps")
        if event["event"] == "round":
            done, total = event["round"] - 1, event["rounds"]
        self._progress.update(
            self._current, completed=done, total=total, detail=escape(describe(event, cell))
        )

    def finish(self, cell: Cell, record: Record) -> None:
        """Print the outcome and move the overall bar."""
        self._drop_current()
        style = STYLES.get(record.status, "red")
        line = f"[{style}]{record.status:>11}[/] {escape(name_of(cell))} {escape(result(record))}"
        self._progress.console.print(line, highlight=False)
        self._progress.advance(self._overall)

    def _drop_current(self) -> None:
        if self._current is not None:
            self._progress.remove_task(self._current)
            self._current = None


@contextmanager
def showing(console: Console) -> Iterator[Display]:
    """Give the display that suits ``console``."""
    if not console.is_terminal:
        yield PlainDisplay(console)
        return
    with Progress(*columns(), console=console, expand=True) as progress:
        yield LiveDisplay(progress)


def columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of the live bars."""
    return (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        # On a narrow terminal this column gives way.
        TextColumn("{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True)),
    )


def opening(total: int, done: int) -> str:
    """Say how many cells there are and how many are already measured."""
    known = f", {done} of them measured before (--fresh measures them again)" if done else ""
    return f"{total} cells{known}"


def name_of(cell: Cell) -> str:
    """Return a cell's readable name."""
    return f"{cell.pass_name} {cell.label} {cell.method} seed {cell.seed}"


def describe(event: dict[str, Any], cell: Cell | None = None) -> str:
    """Return one line about a worker's event; with ``cell``, as a bar's text that moves itself."""
    if event["event"] == "round":
        who = f"{cell.method}: " if cell else ""
        return f"{who}round {event['round']} of {event['rounds']}"
    if event.get("message"):
        return str(event["message"])
    step = "" if cell else f" step {event['step']}/{event['total_steps']}"
    parts = [f"{event['phase']}{step}"]
    if event.get("loss") is not None:
        parts.append(f"loss {event['loss']:.3f}")
    if event.get("dev_accuracy") is not None:
        parts.append(f"dev accuracy {event['dev_accuracy']:.3f}")
    return ", ".join(parts)


# What a line about a record shows: the first of these metrics that it has.
MAIN_METRICS = (
    "test_accuracy",
    "train_step_ms",
    "train_step_peak_bytes",
    "forward_backward_ms",
    "forward_ms",
    "matmul_ms",
    "copy_ms",
    "workspace_bytes",
    "pattern_from_qk_ms",
    "generate_pattern_ms",
    "walk_ms",
)


def result(record: Record) -> str:
    """Return a record's main number with its interval, or its reason."""
    if record.status != "ok":
        return record.reason or ""
    if record.pass_name in ("gate", "steps"):
        return gate_result(record)
    name = next(name for name in MAIN_METRICS if name in record.metrics)
    metric = record.metrics[name]
    scale, unit = (1e-6, "MB") if metric.unit == "bytes" else (1.0, metric.unit)
    unit = "test accuracy" if name == "test_accuracy" else unit
    bounds = ""
    if metric.low is not None and metric.high is not None:
        bounds = f" [{metric.low * scale:.4g}, {metric.high * scale:.4g}]"
    return f"{metric.value * scale:.4g} {unit}{bounds}"


def gate_result(record: Record) -> str:
    """Say what the gate of a record found, and the loss after two steps if it did any."""
    found = "not exact; its properties hold"
    if "out" in record.gate_errors:
        found = f"largest output error {record.gate_errors['out']:.1e}"
    loss = record.metrics.get("final_train_loss")
    return found if loss is None else f"{found}; loss of the second step {loss.value:.3g}"


def verdict(record: Record) -> str:
    """Return a record's status and main number or reason."""
    return f"{record.status} {result(record)}".strip()


def print_summary(console: Console, records: Sequence[Record]) -> None:
    """Print one row per cell and the totals by status."""
    table = Table(title="Cells of this run", title_justify="left")
    for name in ("pass", "case", "method", "seed", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("result [95 % interval] or reason", overflow="fold")
    for record in records:
        label = str(record.settings.get("label", ""))
        style = STYLES.get(record.status, "red")
        table.add_row(
            record.pass_name,
            label,
            record.method.name,
            str(record.seed),
            f"[{style}]{record.status}[/]",
            escape(result(record)),
        )
    console.print(table)
    for line in mean_accuracies(records):
        console.print(escape(line), highlight=False)
    totals = Counter(record.status for record in records)
    parts = [f"{count} {status}" for status, count in sorted(totals.items())]
    console.print(f"{len(records)} cells: {', '.join(parts)}", highlight=False)


def mean_accuracies(records: Sequence[Record]) -> list[str]:
    """Return one line per case and method that was trained with several seeds."""
    runs: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if "test_accuracy" in record.metrics:
            key = (str(record.settings["label"]), record.method.name)
            runs.setdefault(key, []).append(record.metrics["test_accuracy"].value)
    lines = []
    for (label, method), values in runs.items():
        mean, low, high = mean_with_interval(values)
        if low is not None and high is not None:
            lines.append(
                f"{label} {method}: test accuracy {mean:.4g} [{low:.4g}, {high:.4g}], mean of "
                f"{len(values)} seeds"
            )
    return lines


def exit_code(records: Sequence[Record]) -> int:
    """Return 0 if every cell gave numbers or is honestly unsupported, else 1."""
    return int(any(r.status in FAILED_STATUSES or r.status == "skipped" for r in records))
