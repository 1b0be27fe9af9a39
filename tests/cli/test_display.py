import io

import pytest
from rich.console import Console
from rich.progress import Progress

from spion_bench.cli import display
from spion_bench.cli.display import LiveDisplay, PlainDisplay, TimeLeft, columns, showing
from spion_bench.run.messages import Progress as Training
from spion_bench.run.messages import RoundStarted
from tests.cells import metric, record_of, tiny_cell, tiny_cells

STEP = Training(phase="dense", step=3, total_steps=9, loss=1.25)
EVALUATION = STEP.model_copy(update={"step": 4, "dev_accuracy": 0.5})
MESSAGE = STEP.model_copy(update={"message": "kept blocks [by layer]: 5%"})
ROUND = RoundStarted(number=2, rounds=5)


def plain(*events):
    """Play a run of one cell and return the lines that were written."""
    out = io.StringIO()
    cell = tiny_cell("accuracy")
    seconds = {cell.key: 30.0, "next": 95.0, "last": None}
    view = PlainDisplay(Console(file=out, width=200), TimeLeft(seconds))
    view.begin(4, 1)
    view.start([cell])
    for event in events:
        view.event(cell, event)
    view.finish(cell, record_of(cell, "timeout", reason="busy [too] long"))
    return out.getvalue().splitlines()


def test_plain_lines_for_pipes():
    assert plain(STEP, EVALUATION, MESSAGE) == [
        "4 cells, 1 of them already measured (--fresh measures them again)",
        "start accuracy image256 spion_cf seed 0",
        "  accuracy image256 spion_cf seed 0: dense step 4/9, loss 1.250, dev accuracy 0.500",
        "  accuracy image256 spion_cf seed 0: kept blocks [by layer]: 5%",
        "[2/4, over 0:01:35 left] accuracy image256 spion_cf seed 0: timeout busy [too] long",
    ]


def test_plain_steps_are_shown_now_and_then(monkeypatch):
    monkeypatch.setattr(display, "PLAIN_INTERVAL_S", 0.0)
    assert plain(STEP)[2].endswith("dense step 3/9, loss 1.250")


@pytest.fixture
def live():
    """A live display that is drawn when asked, and what was drawn so far."""
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=True)
    with Progress(*columns(), console=console, auto_refresh=False) as progress:

        def drawn():
            progress.refresh()
            text = out.getvalue()
            out.truncate(0)
            return text

        yield LiveDisplay(progress, TimeLeft({"a": 3661.0, "b": 1.0})), drawn


def test_live_display_of_a_training_run(live):
    view, drawn = live
    cell = tiny_cell("accuracy")
    view.begin(4, 1)
    view.start([cell])
    assert "starting" in (text := drawn())
    assert "1:01:02 left" in text
    view.event(cell, EVALUATION)
    assert "4/9" in (text := drawn())
    assert "dense, loss 1.250, dev accuracy 0.500" in text
    view.event(cell, MESSAGE)
    assert "accuracy image256 spion_cf seed 0: kept blocks [by layer]: 5%" in drawn()
    view.finish(cell, record_of(cell, "timeout", reason="busy [too] long"))
    assert "busy [too] long" in (text := drawn())
    assert "2/4" in text
    assert "dev accuracy" not in text


def test_live_display_of_cells_side_by_side(live):
    view, drawn = live
    first, second = tiny_cells("accuracy")
    view.begin(2, 0)
    view.start([first])
    view.start([second])
    view.event(first, EVALUATION)
    view.event(second, STEP)
    assert "4/9" in (text := drawn())
    assert "3/9" in text
    view.finish(first, record_of(first, "timeout", reason="busy too long"))
    drawn()  # the bars that were drawn once more before
    assert "3/9" in (text := drawn())
    assert "4/9" not in text


def test_live_display_of_a_turn(live):
    view, drawn = live
    cells = tiny_cells("speed")
    view.begin(2, 0)
    view.event(cells[0], ROUND)  # nothing is being measured yet
    view.start(cells)
    view.event(cells[0], ROUND)
    assert "speed image256" in (text := drawn())
    assert "dense_sdpa: round 2 of 5" in text
    view.finish(cells[0], record_of(cells[0], metrics={"train_step_ms": metric(2.0)}))
    view.event(cells[1], ROUND)
    assert "2 ms" in drawn()


def test_time_left_counts_what_runs_once(monkeypatch):
    now = 100.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    cells = tiny_cells("speed")
    left = TimeLeft({cells[0].key: 20.0, cells[1].key: 40.0, "later": 60.0})
    left.start(cells)
    assert left.text() == "0:02:00 left"
    now = 130.0
    assert left.text() == "0:01:30 left"
    now = 500.0  # slower than expected: what follows is still to come
    assert left.text() == "0:01:00 left"
    for cell in cells:
        left.finish(cell)
    assert left.text() == "0:01:00 left"
    assert TimeLeft({"a": None}).text() == ""


def test_time_left_of_cells_side_by_side(monkeypatch):
    now = 100.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    gates, timed = tiny_cells("gate"), tiny_cells("speed")[0]
    seconds = {gates[0].key: 20.0, gates[1].key: 60.0, timed.key: 30.0}
    left = TimeLeft(seconds, {cell.key: 2 for cell in gates})
    for cell in gates:
        left.start([cell])
    assert left.text() == "0:01:10 left"
    now = 110.0
    assert left.text() == "0:01:00 left"
    for cell in gates:
        left.finish(cell)
    left.start([timed])
    now = 120.0
    assert left.text() == "0:00:20 left"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("file", "display"), [(Terminal(), LiveDisplay), (io.StringIO(), PlainDisplay)]
)
def test_a_terminal_gets_the_live_display_and_a_file_never(file, display, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with showing(Console(file=file), {}) as view:
        assert isinstance(view, display)
