"""What a user sees of a run: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from spion_bench.cli.console import is_live
from spion_bench.cli.summary import STYLES, result, verdict
from spion_bench.records import CellBase, Record
from spion_bench.run.conduct import SECOND
from spion_bench.run.executors.executor import Planned
from spion_bench.run.messages import Progress as TrainingProgress
from spion_bench.run.messages import RoundStarted
from spion_bench.run.runner import Display

Event = TrainingProgress | RoundStarted

PLAIN_INTERVAL_S = 10.0


class TimeLeft:
    """How long a run goes on, from how long its cells should take.

    Args:
        seconds: Key of each cell that is to be run -> how long it should take; None if unknown.
        lanes: Key of each cell that runs side by side with others -> how many run at a time.
    """

    def __init__(
        self, seconds: Mapping[str, float | None], lanes: Mapping[str, int] | None = None
    ) -> None:
        self._left = dict(seconds)
        self._lanes = lanes or {}
        self._running: list[tuple[Sequence[Planned], float]] = []

    def start(self, cells: Sequence[Planned]) -> None:
        """Cells start, together if they take turns."""
        self._running.append((cells, time.monotonic()))

    def finish(self, cell: CellBase) -> None:
        """A cell has its record."""
        self._left.pop(cell.key, None)
        self._running = [
            turn for turn in self._running if any(each.key in self._left for each in turn[0])
        ]

    def text(self) -> str:
        """Return the time left, "over" it if some cells' is unknown; "" if all is."""
        known = {key: seconds for key, seconds in self._left.items() if seconds is not None}
        if not known:
            return ""
        left = sum(seconds / self._lanes.get(key, 1) for key, seconds in known.items())
        for cells, since in self._running:
            expected = sum(known.get(cell.key, 0.0) for cell in cells)
            lanes = self._lanes.get(cells[0].key, 1)
            left -= min(expected, time.monotonic() - since) / lanes
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        least = "over " if len(known) < len(self._left) else ""
        return f"{least}{hours}:{minutes:02d}:{seconds:02d} left"


class PlainDisplay:
    """One line per cell and event, for pipes and log files; training steps at long intervals."""

    def __init__(self, console: Console, left: TimeLeft) -> None:
        self._console = console
        self._left = left
        self._total = 0
        self._number = 0
        self._last = 0.0

    def begin(self, total: int, done: int) -> None:
        """Say how much there is to do."""
        self._total, self._number = total, done
        self._line(opening(total, done))

    def start(self, cells: Sequence[Planned]) -> None:
        """Name the cells that start."""
        self._last = time.monotonic()
        self._left.start(cells)
        self._line("start " + ", ".join(name_of(cell) for cell in cells))

    def event(self, cell: CellBase, event: Event) -> None:
        """Print messages and evaluations at once, training steps at intervals."""
        is_worth_a_line = isinstance(event, TrainingProgress) and (
            event.message or event.dev_accuracy is not None
        )
        if is_worth_a_line or time.monotonic() - self._last >= PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            self._line(f"  {name_of(cell)}: {describe(event)}")

    def finish(self, cell: CellBase, record: Record) -> None:
        """Print the outcome."""
        self._number += 1
        self._left.finish(cell)
        place = f"{self._number}/{self._total}"
        left = self._left.text() if self._number < self._total else ""
        place = f"[{place}, {left}]" if left else f"[{place}]"
        self._line(f"{place} {name_of(cell)}: {verdict(record)}")

    def _line(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)


class LiveDisplay:
    """A bar over all cells and one for each that runs, with its phase, loss and time left."""

    def __init__(self, progress: Progress, left: TimeLeft) -> None:
        self._progress = progress
        self._left = left
        self._overall: TaskID = progress.add_task("cells", total=None, detail="", left=left)
        self._bars: dict[str, TaskID] = {}  # those of one turn share one

    def begin(self, total: int, done: int) -> None:
        """Set the overall bar's range."""
        self._progress.console.print(escape(opening(total, done)), highlight=False)
        self._progress.update(self._overall, total=total, completed=done)

    def start(self, cells: Sequence[Planned]) -> None:
        """Show the cells that start."""
        self._left.start(cells)
        names = name_of(cells[0]) if len(cells) == 1 else f"{cells[0].pass_name} {cells[0].label}"
        bar = self._progress.add_task(escape(names), total=None, detail="starting")
        self._bars |= {cell.key: bar for cell in cells}

    def event(self, cell: CellBase, event: Event) -> None:
        """Move the cell's bar."""
        bar = self._bars.get(cell.key.removesuffix(SECOND))
        if bar is None:
            return
        if isinstance(event, RoundStarted):
            done, total = event.number - 1, event.rounds
        else:
            done, total = event.step, event.total_steps
            if event.message:
                line = f"{name_of(cell)}: {event.message}"
                self._progress.console.print(escape(line), highlight=False, style="dim")
        self._progress.update(
            bar, completed=done, total=total, detail=escape(describe(event, cell))
        )

    def finish(self, cell: CellBase, record: Record) -> None:
        """Print the outcome and move the overall bar."""
        self._drop_bar(cell)
        self._left.finish(cell)
        status = record.measurement.status
        shown = f"[{STYLES.get(status, 'red')}]{status:>11}[/]"
        line = f"{shown} {escape(name_of(cell))} {escape(result(record))}"
        self._progress.console.print(line, highlight=False)
        self._progress.advance(self._overall)

    def _drop_bar(self, cell: CellBase) -> None:
        bar = self._bars.get(cell.key)
        if bar is not None:
            self._progress.remove_task(bar)
            self._bars = {key: other for key, other in self._bars.items() if other != bar}


class TimeLeftColumn(TimeRemainingColumn):
    """The time left: of the whole run from its cells' expected times, of a cell from its steps."""

    def render(self, task: Task) -> Text:
        """Return the time left of a bar."""
        left: TimeLeft | None = task.fields.get("left")
        text = left.text() if left is not None else ""
        return Text(text, style="progress.remaining") if text else super().render(task)


@contextmanager
def showing(
    console: Console,
    seconds: Mapping[str, float | None],
    lanes: Mapping[str, int] | None = None,
) -> Iterator[Display]:
    """Give the display that suits ``console``, for cells that take what ``TimeLeft`` is given."""
    left = TimeLeft(seconds, lanes)
    if not is_live(console):
        yield PlainDisplay(console, left)
        return
    with Progress(*columns(), console=console, expand=True) as progress:
        yield LiveDisplay(progress, left)


def columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of the live bars."""
    return (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TimeLeftColumn(table_column=Column(no_wrap=True)),
        # On a narrow terminal this column gives way.
        TextColumn("{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True)),
    )


def opening(total: int, done: int) -> str:
    """Say how many cells there are and how many are already measured."""
    known = f", {done} of them already measured (--fresh measures them again)" if done else ""
    return f"{total} cells{known}"


def name_of(cell: CellBase) -> str:
    """Return a cell's readable name."""
    return f"{cell.pass_name} {cell.label} {cell.method.name} seed {cell.seed}"


def describe(event: Event, cell: CellBase | None = None) -> str:
    """Return one line about a worker's event; with ``cell``, as a bar's text that moves itself."""
    if isinstance(event, RoundStarted):
        who = f"{cell.method.name}: " if cell else ""
        return f"{who}round {event.number} of {event.rounds}"
    if event.message:
        return event.message
    step = "" if cell else f" step {event.step}/{event.total_steps}"
    parts = [f"{event.phase}{step}"]
    if event.loss is not None:
        parts.append(f"loss {event.loss:.3f}")
    if event.dev_accuracy is not None:
        parts.append(f"dev accuracy {event.dev_accuracy:.3f}")
    return ", ".join(parts)
