"""A partial download: its bytes, and notes on the file that they are of."""

from __future__ import annotations

from pathlib import Path

from pydantic import NonNegativeInt

from spion_bench.records.settings import Settings


class Source(Settings):
    """What is known about a partial download: its address, and the version of the file."""

    url: str
    validator: str | None
    total: NonNegativeInt


def notes_of(partial: Path) -> Path:
    """Return the path of the notes on a partial download."""
    return partial.with_name(partial.name + ".json")


def discard(partial: Path) -> None:
    """Remove a partial download and its notes."""
    partial.unlink(missing_ok=True)
    notes_of(partial).unlink(missing_ok=True)


def resume_point(url: str, partial: Path) -> tuple[int, Source | None]:
    """Return how many bytes of a partial download can be kept, and which file they are of."""
    try:
        known = Source.model_validate_json(notes_of(partial).read_bytes())
    except (OSError, ValueError):
        return 0, None
    start = size_of(partial)
    if known.url != url or not known.validator or start == 0 or start > known.total:
        return 0, None
    return start, known


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
