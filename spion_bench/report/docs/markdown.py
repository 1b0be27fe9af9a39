"""Entries and tables of a report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from spion_bench.report.parts import Entry, Table
from spion_bench.suite.pages import markdown_table


def shown(entry: Entry, *, noted: bool = False) -> str:
    """Return an entry with its interval, and with its note if it is ``noted`` or needs it."""
    note = f"({entry.note})" if noted or entry.flag in ("warning", "modelled") else ""
    text = f"*{entry.text}*" if entry.flag == "greyed" else entry.text
    return " ".join(part for part in (text, entry.interval, note) if part)


def short_table(table: Table, columns: Sequence[str] | None = None) -> str:
    """Return a table of methods, its title in the corner: the named columns, or all."""
    places = [i for i, c in enumerate(table.columns) if columns is None or c.key in columns]
    header = [table.columns[i].label for i in places]
    header[0] = table.title
    rows = [
        (f"`{row[places[0]].text}`", *(shown(row[i]) for i in places[1:])) for row in table.rows
    ]
    return markdown_table(header, rows)
