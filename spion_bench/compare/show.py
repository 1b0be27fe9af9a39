"""A comparison as a table's rows, as data, or as Markdown that fits a pull request."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from spion_bench.compare.verdict import LEVEL, SAME_WITHIN, Compared, Verdict

HEADINGS = ("case", "verdict", "HEAD / BASE", "BASE / BASE", "BASE", "HEAD")
NOTE = (
    f"Ratios of times with {LEVEL:.0%} intervals; above 1 HEAD is slower. FASTER or SLOWER: the "
    "interval excludes 1 and lies outside that of BASE over itself. SAME: it contains 1 and lies "
    f"within {SAME_WITHIN:.0%}. UNCLEAR: neither."
)


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison says.

    Attributes:
        base: What BASE is.
        head: What HEAD is.
        facts: Where and how it was measured.
        compared: The cases on both sides.
        apart: Case -> why it is not compared.
    """

    base: str
    head: str
    facts: dict[str, str]
    compared: list[Compared]
    apart: dict[str, str] = field(default_factory=dict)

    @property
    def is_slower(self) -> bool:
        """Whether any case is."""
        return any(one.verdict == "SLOWER" for one in self.compared)

    def summary(self) -> str:
        """Return how many cases have each verdict."""
        counts = Counter(one.verdict for one in self.compared)
        found = [f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict]]
        left = [f"{len(self.apart)} not compared"] if self.apart else []
        return ", ".join([*found, *left]) or "nothing to compare"

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows."""
        return [
            (
                one.case,
                one.verdict,
                one.ratio.shown(),
                "unknown" if one.null is None else one.null.shown(),
                f"{one.base_ms:.4g} ms",
                f"{one.head_ms:.4g} ms",
            )
            for one in self.compared
        ]

    def as_data(self) -> dict[str, Any]:
        """Return everything, for a program to read."""
        return {**asdict(self), "level": LEVEL}

    def to_markdown(self) -> str:
        """Return the table with what it means, slower cases first."""
        order = {"SLOWER": 0, "UNCLEAR": 1, "FASTER": 2, "SAME": 3}
        rows = sorted(self.rows(), key=lambda row: order[row[1]])
        lines = [
            f"**{self.summary()}**: `{self.head}` against `{self.base}`",
            "",
            f"| {' | '.join(HEADINGS)} |",
            f"|{' --- |' * 2}{' ---: |' * 4}",
            *(f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows),
            "",
            NOTE,
            "",
            "; ".join(f"{name}: {value}" for name, value in self.facts.items()) + ".",
        ]
        if self.apart:
            lines += ["", "Not compared:", ""]
            lines += [f"- `{case}`: {reason}" for case, reason in self.apart.items()]
        return "\n".join(lines)
