"""What the sources of the text task return."""

from __future__ import annotations

from dataclasses import dataclass

Document = tuple[bytes, int]
"""A text and its label."""


@dataclass(frozen=True)
class Documents:
    """Documents of three splits.

    Attributes:
        train: What the model learns from.
        dev: None: the source has no such split.
        test: What the result is measured on.
        version: Version of the source.
        description: What was read, for a report.
    """

    train: list[Document]
    dev: list[Document] | None
    test: list[Document]
    version: str
    description: str
