"""Quoting in messages what came instead of what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def quote(value: Sequence[Any], ends: int = 30) -> str:
    """Return a text, bytes or a list as Python writes it; of a long one both ends and its length.

    What is wrong may stand at either end, for instance a space behind a label.
    """
    if len(value) <= 2 * ends:
        return repr(value)
    return f"{value[:ends]!r} ... {value[-ends:]!r} ({len(value)} in all)"


def shorten(message: str, ends: int = 150) -> str:
    """Return a message of foreign code, which may hold a whole file; of a long one both ends."""
    if len(message) <= 2 * ends:
        return message
    return f"{message[:ends]} ... {message[-ends:]}"
