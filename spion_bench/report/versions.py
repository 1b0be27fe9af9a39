"""Which code records come from, where a file holds those of several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spion_bench.records import Record


def versions_of(records: Iterable[Record]) -> dict[str, str]:
    """Return, by key, the code of the records of a task or case of which some cell has several.

    A cell that is measured again after an edit has another key, and its old record stays.
    """
    askers: dict[str, list[Record]] = {}
    for record in records:
        askers.setdefault(f"{record.cell.profile}/{record.cell.label}", []).append(record)
    found: dict[str, str] = {}
    for those in askers.values():
        by_asked: dict[str, set[tuple[str, str]]] = {}
        for record in those:
            code = (record.cell.code, record.environment.torch)
            by_asked.setdefault(_asked(record), set()).add(code)
        if any(len(codes) > 1 for codes in by_asked.values()):
            found |= {record.key: _version(record) for record in those}
    return found


def _asked(record: Record) -> str:
    """Return what a record's cell asks, whatever code answers."""
    facts = {"family", "role", "base", "summary", "native", "devices", "origins", "factory"}
    placed = {"key", "code", "turn", "gate", "parent", "timeout_s", "data_dir"}
    exclude: dict[str, Any] = {**dict.fromkeys(placed, True), "method": facts}
    return record.environment.machine + record.cell.model_dump_json(exclude=exclude)


def _version(record: Record) -> str:
    where = record.environment
    commit = "unknown commit" if where.git_sha is None else f"commit {where.git_sha[:10]}"
    return f"{commit}{' with changes' if where.git_dirty else ''}, torch {where.torch}"
