"""Folders of records whose values are odd though their form is right, at what compares them."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError

from spion_bench.compare.folders import compare_folders
from spion_bench.compare.show import Comparison
from spion_bench.records import Record, frame
from spion_bench.records.store import open_stores, read_records
from spion_bench.report.claims.table import as_data, judgements
from spion_bench.report.load import load_records
from spion_bench.run import verify
from tests import ROOT

_ODD = (
    *(0, -1, 1, 2**31, 2**63, 10**30, -0.0, -1.5, 1e308, 5e-324),
    *(float("nan"), float("inf"), -float("inf"), "NaN", "-Infinity", None, True, False),
    *("", "x" * 300, "../../x", "a\nb", "cuda", "dense_sdpa", "2020-01-01T00:00:00Z"),
    *([], {}, [0], [0.0] * 8, [1.0, -1.0] * 4),
)


@cache
def _runs() -> list[list[str]]:
    files = sorted((ROOT / "results" / "records").rglob("records.jsonl"))
    return [[record.model_dump_json() for record in read_records(file)[0]] for file in files]


def folders(random: Random, folder: Path) -> None:
    """Compare, judge, draw and tabulate two folders of the same records, changed here and there."""
    lines = random.choice(_runs())
    start = random.randrange(len(lines))
    lines = [*lines[start : start + 8], *random.sample(lines, 4)]
    base, head = folder / "base", folder / "head"
    for side in (base, head):
        side.mkdir()
        text = "".join(f"{_changed(line, random)}\n" for line in lines)
        (side / "records.jsonl").write_text(text, encoding="utf-8")
    found, apart, _ = compare_folders(base, head)
    result = Comparison("base", "head", {}, found, apart)
    assert result.to_json()
    assert result.to_markdown()
    run = load_records(base)
    assert json.dumps([as_data(judgement) for judgement in judgements([run])])
    assert not frame.records_frame(head).empty
    stores = open_stores(head)
    verify.damaged_artifacts(stores)
    for again in verify.draw(stores, 3, seed=0):
        verify.why_not(again, again.record.environment)


def _changed(line: str, random: Random) -> str:
    """Return a record's line, in half of all cases with up to three odd values that are allowed."""
    for _ in range(random.choice((0, 0, 4, 8))):
        tree = json.loads(line)
        for _ in range(random.randint(1, 3)):
            holder, key = random.choice(list(_places(tree)))
            holder[key] = random.choice(_ODD)
        changed = json.dumps(tree)
        try:
            Record.model_validate_json(changed)
        except ValidationError:
            continue
        return changed
    return line


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree[:20]))
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
