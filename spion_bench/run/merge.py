"""Stores that several hosts wrote, merged by cell key into one.

Every writer has a folder of its own, so hosts share no lock. A key names the machine's class, so
machines of one class share cells, and those of different classes do not. Of different records of a
cell one is kept, by one rule whatever the order of the folders: a turn is taken as a whole; one
without failures comes before one with failures, and then the one that ended later.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spion_bench.records import Record, latest_by_cell
from spion_bench.records.files import replace_file
from spion_bench.records.names import UsageError
from spion_bench.records.store import Store
from spion_bench.suite.passes import PASSES


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        machines: Class of a machine -> how many cells were measured there.
        n_records: How many records were added.
        n_artifacts: How many files were copied.
        conflicts: One sentence for each cell that had different records.
        problems: One sentence for each artifact that no folder holds as it was recorded.
    """

    machines: Mapping[str, int]
    n_records: int
    n_artifacts: int
    conflicts: Sequence[str]
    problems: Sequence[str]


def merge(sources: Sequence[Store], target: Store) -> Merged:
    """Add to ``target``, whose lock is held, what ``sources`` have and it lacks.

    Artifacts are copied before the record that names them, and only with the recorded content. A
    merge that was interrupted, or that was done before, is completed by another one.

    Raises:
        UsageError: If keys do not tell apart what machines of different classes measured: their
            CPUs have one name but different vector instructions, or the records are from before
            keys named the machine. Nothing is written then.
        OSError: If a file cannot be written.
    """
    stores = [*sources, target]
    found: dict[str, list[tuple[Record, Store]]] = defaultdict(list)
    for turn, store in sorted(_measured_turns(stores), key=lambda one: _rank(*one)):
        for record in turn:
            found[record.key].append((record, store))
    _check_machines(found)
    conflicts: list[str] = []
    problems: list[str] = []
    n_records = n_artifacts = 0
    for key, candidates in found.items():
        record, store = candidates[-1]
        if n_different := len({one.model_dump_json() for one, _ in candidates}) - 1:
            ended = record.ended_at.isoformat(timespec="seconds")
            conflicts.append(
                f"{key}: kept that of {ended} from {store.out} ({record.measurement.status}), "
                f"not {n_different} other"
            )
        for name in target.damaged(record):
            if _copied(record, name, [store, *sources], target):
                n_artifacts += 1
            else:
                problems.append(f"{name}: missing or damaged in every folder; cell {key} is undone")
        present = target.latest(key)
        if present is None or present.model_dump_json() != record.model_dump_json():
            target.append(record)
            n_records += 1
    machines = Counter(candidates[-1][0].environment.machine for candidates in found.values())
    return Merged(machines, n_records, n_artifacts, conflicts, problems)


def _measured_turns(stores: Iterable[Store]) -> Iterable[tuple[list[Record], Store]]:
    """Yield the records that count in each store; those of one turn, measured together, at once."""
    for store in stores:
        turns: dict[tuple[object, ...], list[Record]] = defaultdict(list)
        for record in latest_by_cell(store.records).values():
            cell = record.cell
            together = (cell.profile, cell.turn) if PASSES[cell.pass_name].interleaved else ()
            turns[(record.started_at, *together) if together else (record.key,)].append(record)
        for turn in turns.values():
            yield turn, store


def _rank(turn: Sequence[Record], store: Store) -> tuple[object, ...]:
    """Return what orders turns, the one to keep last; texts settle what is equal otherwise."""
    return (
        all(store.is_settled(record) for record in turn),
        max(record.ended_at for record in turn),
        sorted(record.model_dump_json() for record in turn),
    )


def _check_machines(found: Mapping[str, Sequence[tuple[Record, Store]]]) -> None:
    """Refuse what keys do not tell apart, and one store could not either."""
    for key, candidates in found.items():
        _check_one(f"cell {key}", {r.environment.machine: s for r, s in candidates})
    paths: dict[str, dict[str, Store]] = defaultdict(dict)
    for record, store in (one for candidates in found.values() for one in candidates):
        if record.environment.cpu_capability:
            paths[record.environment.machine][record.environment.cpu_capability] = store
    for machine, known in paths.items():
        _check_one(machine or "an unknown machine", known)


def _check_one(what: str, classes: Mapping[str, Store]) -> None:
    if len(classes) > 1:
        listed = " and ".join(
            f"{name!r} ({store.out})" for name, store in sorted(classes.items(), key=lambda c: c[0])
        )
        raise UsageError(
            f"{what}: expected one class of machine, got {listed}; merge each into a folder of its "
            "own"
        )


def _copied(record: Record, name: str, stores: Sequence[Store], target: Store) -> bool:
    """Copy an artifact from the first store that has it with the recorded content."""
    for store in stores:
        try:
            content = store.artifact(name).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(content).hexdigest() == record.measurement.artifacts[name]:
            path = target.artifact(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
            return True
    return False
