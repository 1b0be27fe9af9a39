"""Tables in Markdown pages that a command writes, between two markers that it recognises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spion_bench.records.files import replace_file


@dataclass(frozen=True)
class Section:
    """What stands between two lines of a page.

    Attributes:
        command: The command that writes it, as the markers name it.
        name: Distinguishes the sections of one page; may be empty.
    """

    command: str
    name: str = ""

    @property
    def begin(self) -> str:
        """The line above the section."""
        return self._marker("begin")

    @property
    def end(self) -> str:
        """The line below the section."""
        return self._marker("end")

    def _marker(self, which: str) -> str:
        name = f"{self.name}, " if self.name else ""
        return f"<!-- Written by `{self.command}`: {name}{which} -->"

    def read(self, page: str) -> str:
        """Return the section of a page's text.

        Raises:
            ValueError: If the page does not hold each marker once, in order.
        """
        return self._split(page)[1].strip()

    def replace(self, page: str, text: str) -> str:
        """Return a page's text with the section replaced; see ``read``."""
        before, _, after = self._split(page)
        return f"{before}{self.begin}\n\n{text}\n\n{self.end}{after}"

    def write(self, path: Path, text: str) -> None:
        """Replace the section of a file, which is written whole or not at all; see ``read``."""
        try:
            page = self.replace(path.read_text(encoding="utf-8"), text)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        replace_file(path, page.encode("utf-8"))

    def _split(self, page: str) -> tuple[str, str, str]:
        begin, end = self.begin, self.end
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            raise ValueError(f"expected the lines {begin!r} and {end!r} once each, in order")
        before, _, rest = page.partition(begin)
        within, _, after = rest.partition(end)
        return before, within, after


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
