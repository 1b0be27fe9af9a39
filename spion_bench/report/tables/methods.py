"""The table of methods: kind, kernel, exactness, arguments and their origins, caveats."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import MethodInfo
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import rank
from spion_bench.report.parts import Column, Entry, Table


@dataclass(frozen=True)
class _Described:
    """A method with the arguments it ran with, and how its attention describes itself."""

    info: MethodInfo
    exact: bool | None
    caveats: str

    @property
    def arguments(self) -> str:
        shown = dict(self.info.arguments)
        if self.info.variant is not None:
            shown = {"variant": self.info.variant, **shown}
        origins = {name: f" ({origin})" for name, origin in self.info.origins.items()}
        return ", ".join(
            f"{name} = {value}{origins.get(name, '')}" for name, value in shown.items()
        )


def method_table(run: RecordSet) -> Table:
    """Return each method's kind, kernel, exactness and caveats, a row per set of arguments."""
    described = {o.method.name for o in run.outcomes if o.measured.attention is not None}
    found: dict[str, tuple[_Described, dict[str, None]]] = {}
    for outcome in run.outcomes:
        attention = outcome.measured.attention
        # A cell that failed early has no description of its attention.
        if attention is None and outcome.method.name in described:
            continue
        exact, caveats = (attention.exact, attention.caveats) if attention else (None, [])
        row = _Described(outcome.method, exact, "; ".join(caveats))
        key = f"{row.info.name} {row.arguments} {exact} {row.caveats}"
        found.setdefault(key, (row, {}))[1][outcome.pass_name] = None
    return Table.of(
        sorted(found.values(), key=lambda item: rank(item[0].info)),
        [
            Column.text(
                "method",
                "Method",
                lambda item: Entry.of_text(item[0].info.name, item[0].info.summary),
            ),
            Column.text("kind", "Kind", lambda item: f"{item[0].info.family}, {item[0].info.role}"),
            Column.text(
                "kernel", "Kernel", lambda item: item[0].info.native or Entry.absent("not recorded")
            ),
            Column.text("exact", "Exact", lambda item: _exact(item[0].exact)),
            Column.text("passes", "Used by", lambda item: ", ".join(item[1])),
            Column.text("parameters", "Parameters", lambda item: item[0].arguments or "none"),
            Column.text("caveats", "Caveats", lambda item: item[0].caveats or "none stated"),
        ],
        key="methods",
        title="Parameters and caveats",
        caption=(
            "Encoder, projections, heads and parameter count are the same for all methods. In "
            "parentheses: where a parameter's value comes from."
        ),
        provenance=provenance(run.outcomes),
    )


def _exact(is_exact: bool | None) -> Entry:
    if is_exact is None:
        return Entry.absent("every cell ended before it was known")
    return Entry.of_text("yes" if is_exact else "approximate")
