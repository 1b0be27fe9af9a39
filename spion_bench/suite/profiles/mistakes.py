"""What is wrong with a profile: file, line and field, in plain words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from spion_bench.records.names import suggestion
from spion_bench.records.quote import shorten
from spion_bench.records.settings import describe_problem

_GROUP = re.compile(r"\s*\[\[\s*cells\s*\]\]")
_SHOWN_MISTAKES = 5
_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def describe_syntax(error: tomllib.TOMLDecodeError, text: str) -> str:
    """Return where a file is no TOML, and why."""
    reason, place = str(error), _LINE.search(str(error))
    number = place[1] if place and place[1] else len(text.splitlines())
    return f"line {number}: {_LINE.sub('', reason)}"


def describe_mistakes(
    error: ValidationError, text: str, fields: Mapping[str, Iterable[str]]
) -> str:
    """Return the first mistakes: the line, the field, what was expected and what came.

    Args:
        error: What validation found.
        text: The file.
        fields: The fields that are known within a field, by its name; "" is the file itself.
    """
    found = []
    problems = error.errors()
    for problem in problems[:_SHOWN_MISTAKES]:
        place = problem["loc"]
        reason = describe_problem(problem)
        if problem["type"] == "extra_forbidden":
            holder = next((str(part) for part in reversed(place[:-1]) if isinstance(part, str)), "")
            known = sorted(fields[holder])
            near = suggestion(str(place[-1]), known)
            reason = f"unknown field; {near}known: {', '.join(known)}"
        found.append(f"line {line_of(text, place)}: {name_of(place)}: {reason}")
    if len(problems) > _SHOWN_MISTAKES:
        found.append(f"and {len(problems) - _SHOWN_MISTAKES} more mistakes")
    return "; ".join(found)


def name_of(place: Sequence[int | str]) -> str:
    """Return how a message calls a field: ``cells[1].methods``, counted from 1."""
    name = "".join(
        f"[{part + 1}]" if isinstance(part, int) else f".{shorten(part, ends=30)}" for part in place
    )
    return name.removeprefix(".") or "the profile"


def line_of(text: str, place: Sequence[int | str]) -> int:
    """Return the number of the line that a field stands in, or where it should have stood."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines, start=1) if _GROUP.match(line)]
    first, last, names = 1, starts[0] if starts else len(lines) + 1, list(place)
    if names[:1] == ["cells"]:
        if len(names) == 1 or not isinstance(names[1], int) or names[1] >= len(starts):
            return starts[0] if starts else 1
        first = starts[names[1]]
        last = next((number for number in starts if number > first), len(lines) + 1)
        names = names[2:]
    if not names:
        return first
    field = re.compile(rf"\s*[\"']?{re.escape(str(names[0]))}[\"']?\s*[=.]")
    return next((n for n in range(first, last) if field.match(lines[n - 1])), first)
