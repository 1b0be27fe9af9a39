"""Records checked: artifacts are hashed again, and a random sample of cells is measured once more.

What must agree to the bit (accuracies, losses, errors of the gate, patterns, artifacts) is asked
only of a machine of the same class, with the same threads, code and libraries. A time is compared
as a ratio to a reference of the same turn, which is measured again with it. Where neither can be
asked, the reason is the finding.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from spion_bench.records import Environment, KernelCell, Record, TaskCell
from spion_bench.records.ratios import took_turns
from spion_bench.records.store import Store
from spion_bench.run.agreement import Again, Finding, compare
from spion_bench.run.conduct import conduct
from spion_bench.run.executors.executor import Conduct, OneByOne
from spion_bench.run.runner import Display, Runner
from spion_bench.suite.keys import with_code, with_key
from spion_bench.suite.passes import PASSES
from spion_bench.suite.plan import most_processes

LEARNED: Final = "accuracy cell "


def latest(store: Store) -> list[Record]:
    """Return the last record of every cell of a folder."""
    keys = dict.fromkeys(record.key for record in store.records)
    return [record for key in keys if (record := store.latest(key)) is not None]


def damaged_artifacts(stores: Sequence[Store]) -> tuple[int, list[str]]:
    """Hash every artifact; return how many there are, and one sentence for each that is damaged."""
    kept = [(store, record) for store in stores for record in latest(store)]
    problems = [
        f"{store.artifact(name)}: missing or not what was recorded; it belongs to {record.key}"
        for store, record in kept
        for name in store.damaged(record)
    ]
    return sum(len(record.measurement.artifacts) for _, record in kept), problems


def draw(stores: Sequence[Store], n: int, seed: int) -> list[Again]:
    """Draw at most ``n`` of the cells that have numbers, at random."""
    good = [(store, record) for store in stores for record in latest(store) if record.is_ok]
    chosen = random.Random(seed).sample(good, min(n, len(good)))
    return [
        Again(record, _reference(record, store), tuple(_needed(record, store)), store)
        for store, record in chosen
    ]


def _reference(record: Record, store: Store) -> Record | None:
    """Return the baseline of a record's turn; of the baseline's own record, another method's."""
    asked = record.cell
    if not PASSES[asked.pass_name].interleaved:
        return None
    mates = [
        other
        for other in latest(store)
        if other.is_ok
        and other.key != record.key
        and (other.cell.turn, other.cell.profile) == (asked.turn, asked.profile)
        and other.environment
        == record.environment.model_copy(update={"load_average": other.environment.load_average})
        and took_turns(record, other)
    ]
    turn = record.measurement.turn
    baseline = None if turn is None else turn.baseline
    return min(mates, key=lambda mate: mate.cell.method.name != baseline, default=None)


def _needed(record: Record, store: Store) -> Iterator[Record]:
    parent = record.cell.parent if isinstance(record.cell, TaskCell) else None
    pattern = record.measurement.pattern
    _, is_learned, learner = (pattern.source if pattern else "").partition(LEARNED)
    for key in (parent, learner if is_learned else None):
        found = None if key is None else store.latest(key)
        if found is not None:
            yield found


def verify(
    again: Again,
    here: Environment,
    display: Display,
    folder: Path,
    *,
    data_dir: Path | None = None,
    conduct: Conduct = conduct,
) -> Finding:
    """Measure a cell again and compare.

    Args:
        again: The cell.
        here: This machine and its software.
        display: Shows the progress.
        folder: An empty folder for what is measured.
        data_dir: Where downloaded data sets are; None: where the record says.
        conduct: Runs the workers; tests replace it.
    """
    record = again.record
    if (reason := why_not(again, here)) is not None:
        return Finding(record.key, "cannot be told", reason)
    fresh = Store(folder)
    for needed in again.needed:
        if needed.cell.pass_name == "accuracy":  # its patterns are used, not trained again
            _carry(needed, again.store, fresh)
    prefixes = [needed for needed in again.needed if needed.cell.pass_name == "prefix"]
    wanted = [record, *([again.reference] if again.reference else [])]
    cells = [_placed(one.cell, data_dir) for one in [*prefixes, *wanted]]
    Runner(fresh, here, display, executor=OneByOne(conduct)).run(cells)
    found = [fresh.latest(one.key) for one in wanted]
    own, other = found[0], found[1] if len(found) > 1 else None
    assert own is not None, "the runner stores a record of every cell"
    return compare(again, own, other)


def _placed(cell: TaskCell | KernelCell, data_dir: Path | None) -> TaskCell | KernelCell:
    """Return a cell that reads its data here; the gate of its plan is not measured again."""
    if isinstance(cell, KernelCell):
        return cell
    place = cell.data_dir if data_dir is None else str(data_dir.resolve())
    return cell.model_copy(update={"data_dir": place})


def _carry(record: Record, source: Store, target: Store) -> None:
    for name in record.measurement.artifacts:
        target.artifact(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.artifact(name), target.artifact(name))
    target.append(record)


def why_not(again: Again, here: Environment) -> str | None:
    """Return why a record cannot be asked to reproduce here; None if it can."""
    record, cell = again.record, again.record.cell
    if isinstance(cell, TaskCell) and cell.settings is None:
        return "a record of schema 1, which did not keep its settings"
    for name in ("machine", "gpu", "cpu_capability", "compiler", "compiler_flags", "torch"):
        then, now = getattr(record.environment, name), getattr(here, name)
        if then != now:
            return f"{name}: it was measured with {then}, here is {now}"
    threads = cell.threads * most_processes([cell])
    if threads > here.cores:
        return f"threads: it was measured with {threads}, here are {here.cores} cores"
    try:
        current = with_key(with_code(cell))
    except (KeyError, ValueError) as error:
        return f"it names what is unknown here: {error}"
    if current.code != cell.code:
        return f"code: its sources have changed since ({cell.code}, now {current.code})"
    if current.key != cell.key:
        return "key: it is not that of what the cell asks, with the libraries that are here"
    for needed in again.needed:
        if again.store.damaged(needed) and needed.cell.pass_name == "accuracy":
            return f"the patterns of cell {needed.key} are damaged or gone"
    pattern = record.measurement.pattern
    learned = pattern is not None and LEARNED in pattern.source
    if learned and not any(needed.cell.pass_name == "accuracy" for needed in again.needed):
        return "the record of the run that learned its patterns is gone"
    return None


def summary(findings: Sequence[Finding]) -> str:
    """Return how many cells have each verdict."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no cell"
