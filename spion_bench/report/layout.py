"""What a page is laid out from: its first screen, and sections of tables and figures in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from spion_bench.report.parts import Entry, Figure, Table


@dataclass(frozen=True)
class Link:
    """A link to another page of the report: the stem of its files, and the text of the link."""

    stem: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the report: one sentence that says what it shows, then the rest in order."""

    key: str
    title: str
    says: str
    paragraphs: tuple[str, ...] = ()
    blocks: tuple[Table | Figure, ...] = ()
    items: tuple[str, ...] = ()
    code: str = ""
    links: tuple[Link, ...] = ()

    @classmethod
    def of(
        cls, key: str, title: str, says: str, blocks: Iterable[Table | Figure | None], *instead: str
    ) -> Self:
        """Return a section of the blocks that are there, or else of the sentences ``instead``."""
        shown = tuple(block for block in blocks if block is not None)
        return cls(key, title, says, () if shown else instead, shown)


@dataclass(frozen=True)
class Headline:
    """One number of the opening: the number, what it is, and what it is based on."""

    label: str
    value: str
    interval: str
    basis: str


@dataclass(frozen=True)
class ClaimLine:
    """A claim on one line, and what stands behind it.

    Attributes:
        key: Its anchor.
        title: The claim in plain words.
        form: In which form it is judged: "" as it was made.
        verdict: The verdict.
        found: The number that decided, or the one that does not count.
        reason: Why, in a few words.
        details: What is folded away, by what it is.
        link: The section with the evidence; "" if there is none.
    """

    key: str
    title: str
    form: str
    verdict: Entry
    found: Entry
    reason: str
    details: dict[str, str]
    link: str


@dataclass(frozen=True)
class FirstScreen:
    """What a reader sees first: a question and its answer, claims on a line each, one picture.

    ``table`` says the same as ``lines``, for Markdown and CSV; where there are no lines, the page
    shows it. There is no picture without numbers to draw.
    """

    question: str
    answer: str
    lines: tuple[ClaimLine, ...]
    table: Table
    picture: Figure | None


@dataclass(frozen=True)
class Page:
    """The whole report.

    ``methods`` are those that a reader may hide, ``records`` what a number shows of its records
    (``catalogue.facts.record_facts``).
    """

    title: str
    stamp: str
    lede: tuple[str, ...]
    headlines: tuple[Headline, ...]
    sections: tuple[Section, ...] = ()
    links: tuple[Link, ...] = ()
    first: FirstScreen | None = None
    methods: tuple[str, ...] = ()
    records: str = ""
