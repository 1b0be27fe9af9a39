"""What a report is made of: tables, figures and sections, independent of HTML and Markdown."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import pandas as pd

from spion_bench.records.statistics import Estimate
from spion_bench.report.words import format_quantity

Row = TypeVar("Row")

Flag = Literal["", "missing", "absent", "warning", "good", "modelled", "greyed"]


class Traceable(Protocol):
    """A record as a table sees it: where the page shows it, and what must be said of its numbers.

    ``caveats`` are few words each; those that hold for some of several records are counted.
    """

    @property
    def anchor(self) -> str:
        """Names its entry on a page."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What must be said of its numbers."""


def caveats_of(records: Iterable[Traceable]) -> tuple[str, ...]:
    """Return what must be said of the numbers of some records, with counts if not of all."""
    found = list(records)
    counts = Counter(caveat for record in found for caveat in record.caveats)
    return tuple(
        caveat if count == len(found) else f"{caveat} ({count} of {len(found)})"
        for caveat, count in counts.items()
    )


@dataclass(frozen=True)
class Entry:
    """One table entry.

    Attributes:
        text: What is shown.
        interval: The 95 % interval, shown smaller; "" if there is none.
        note: A few words below the number: the basis of an interval, the reason of a gap.
        flag: How it is set: ``missing`` (a gap with its reason), ``absent`` (does not apply),
            ``warning``, ``good``, ``modelled`` (computed, not measured), ``greyed`` (measured, but
            says nothing about attention).
        value: What the CSV file holds, in the column's unit; None leaves it empty.
        low: Lower end of the interval, for the CSV file.
        high: Upper end.
        link: Where the page says more: the key of a section; "" for no link.
        caveats: What a reader must know about the number, from the fields of its records.
        sources: Anchors of the records that it comes from.
    """

    text: str
    interval: str = ""
    note: str = ""
    flag: Flag = ""
    value: float | int | str | None = None
    low: float | None = None
    high: float | None = None
    link: str = ""
    caveats: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def drawn_from(self, records: Iterable[Traceable]) -> Entry:
        """Return the entry with the records that its number comes from, and their caveats."""
        found = {record.anchor: record for record in records}
        caveats = dict.fromkeys((*self.caveats, *caveats_of(found.values())))
        return replace(self, caveats=tuple(caveats), sources=tuple(found))

    @property
    def is_untried(self) -> bool:
        """Whether it is empty only because no cell tried, or because it cannot exist."""
        return self.flag == "absent" or (self.flag == "missing" and self.note.startswith("no "))

    @classmethod
    def of_text(cls, text: str, note: str = "", flag: Flag = "") -> Entry:
        """Return an entry of text; the CSV file holds the same text."""
        return cls(text, note=note, flag=flag, value=text)

    @classmethod
    def number(cls, value: float, unit: str, *, note: str = "", flag: Flag = "") -> Entry:
        """Return an entry of one number without an interval."""
        return cls(format_quantity(value, unit)[0], note=note, flag=flag, value=value)

    @classmethod
    def estimate(
        cls, result: Estimate, unit: str, *, note: str | None = None, flag: Flag = ""
    ) -> Entry:
        """Return an entry of a number with its interval; ``note`` replaces the interval's basis."""
        text, interval = format_quantity(result.value, unit, result.low, result.high)
        shown = result.basis if note is None else note
        return cls(text, interval, shown, flag, result.value, result.low, result.high)

    @classmethod
    def missing(cls, reason: str) -> Entry:
        """Return the entry of a number that does not exist; never a 0."""
        return cls("not measured", note=reason, flag="missing")

    @classmethod
    def absent(cls, reason: str, text: str = "\u2013") -> Entry:
        """Return the entry of a number that cannot exist; only CSV and HTML say why."""
        return cls(text, note=reason, flag="absent")


Content = Entry | str | int


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table, and how its entries are made.

    Attributes:
        key: Names it in the CSV file, with its unit.
        label: Heads it on the page.
        entry: Makes a row's entry; a text or a whole number stands for the entry that shows it.
        numeric: Whether it holds numbers.
    """

    key: str
    label: str
    entry: Callable[[Row], Content]
    numeric: bool = True

    @classmethod
    def text(cls, key: str, label: str, entry: Callable[[Row], Content]) -> Column[Row]:
        """Return a column of texts."""
        return cls(key, label, entry, numeric=False)


@dataclass(frozen=True)
class Table:
    """A table, what it is about, and which records it was made from.

    ``row_keys`` are the rows' anchors where they have names of their own.
    """

    key: str
    title: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Entry, ...], ...]
    provenance: str
    notes: tuple[str, ...] = ()
    collapsed: bool = False
    row_keys: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        columns: Sequence[Column[Row]],
        *,
        drop_untried: bool = False,
        sources: Callable[[Row], Iterable[Traceable]] | None = None,
        **parts: Any,
    ) -> Table:
        """Return the table that has a row for each of ``rows``.

        Args:
            rows: What the rows are about.
            columns: The columns, each with how its entries are made.
            drop_untried: Whether to leave out columns of which every entry is untried.
            sources: The records of a row, for numbers that do not say their own.
            parts: The other parts of the table.
        """
        entries = []
        for row in rows:
            known = tuple(each.anchor for each in sources(row)) if sources else ()
            shown = [_entry(column.entry(row)) for column in columns]
            entries.append(
                [
                    replace(entry, sources=known)
                    if known and column.numeric and entry.value is not None and not entry.sources
                    else entry
                    for column, entry in zip(columns, shown, strict=True)
                ]
            )
        keep = [
            i
            for i in range(len(columns))
            if not (drop_untried and all(row[i].is_untried for row in entries))
        ]
        return cls(
            columns=tuple(columns[i] for i in keep),
            rows=tuple(tuple(row[i] for i in keep) for row in entries),
            **parts,
        )

    @property
    def anchors(self) -> list[str]:
        """An anchor for each row: its key, or one from its first entry."""
        seen: Counter[str] = Counter()
        found = []
        for place, row in enumerate(self.rows):
            key = self.row_keys[place] if self.row_keys else slug(self.key, row[0].text)
            seen[key] += 1
            found.append(f"{key}-{seen[key]}" if seen[key] > 1 else key)
        return found

    def methods(self) -> list[str]:
        """Return the method of each row; "" where a row is not about one."""
        place = next((i for i, column in enumerate(self.columns) if column.key == "method"), None)
        return ["" if place is None else row[place].text for row in self.rows]

    @property
    def file(self) -> str:
        """Path of the table's CSV file, relative to the report."""
        return f"tables/{self.key}.csv"

    def to_frame(self) -> pd.DataFrame:
        """Return the raw numbers: intervals and notes of a column become columns of their own."""
        columns: dict[str, list[float | int | str | None]] = {}
        for index, column in enumerate(self.columns):
            entries = [row[index] for row in self.rows]
            columns[column.key] = [_stored(entry.value) for entry in entries]
            if any(entry.low is not None for entry in entries):
                columns[f"{column.key}_low"] = [entry.low for entry in entries]
                columns[f"{column.key}_high"] = [entry.high for entry in entries]
            if any(entry.caveats for entry in entries):
                columns[f"{column.key}_caveats"] = ["; ".join(e.caveats) or None for e in entries]
            if any(entry.note for entry in entries):
                columns[f"{column.key}_note"] = [entry.note or None for entry in entries]
        return pd.DataFrame(columns)


def rows_of_frame(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame by column name."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _entry(content: Content) -> Entry:
    if isinstance(content, Entry):
        return content
    return Entry(str(content), value=content)


def _stored(value: float | int | str | None) -> float | int | str | None:
    """Return what the CSV file holds; an empty field is a number that does not exist, not NaN."""
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True)
class Figure:
    """A figure: inline SVG for the page, the same as a file, its text, and its records."""

    key: str
    title: str
    caption: str
    alt: str
    svg: str
    provenance: str
    collapsed: bool = False

    @property
    def file(self) -> str:
        """Path of the figure's file, relative to the report."""
        return f"figures/{self.key}.svg"


def slug(*parts: str) -> str:
    """Return a name for a file or an anchor: lower case letters, digits and hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", " ".join(parts).lower()))
