"""Checking the names a user types, with the nearest known name as a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from spion_bench.records.quote import quote, shorten


class UsageError(ValueError):
    """A user's input is wrong; the message says what was expected and how to fix it."""


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known.

    Args:
        kind: What is named, for the message: ``"method"``, ``"task"``, ...
        name: What the user typed.
        known: Every valid name.

    Raises:
        UsageError: If it is not, suggesting the nearest name.
    """
    choices = sorted(known)
    if name in choices:
        return name
    near = suggestion(name, choices)
    listed = shorten(", ".join(choices), ends=300)
    raise UsageError(f"unknown {kind} {quote(name)}: {near}known: {listed}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'? `` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""
