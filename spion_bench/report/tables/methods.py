"""The table of methods: kind, kernel, exactness, arguments and their origins, caveats."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import CellBase, MethodInfo
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import rank
from spion_bench.report.parts import Entry, Table, absent, make_table, text, words


@dataclass
class _Described:
    """A method, what its attention says of itself, and the cells that ran it so."""

    info: MethodInfo
    exact: bool | None
    caveats: list[str]
    cells: list[CellBase]

    @property
    def passes(self) -> str:
        return ", ".join(dict.fromkeys(cell.pass_name for cell in self.cells))

    @property
    def arguments(self) -> str:
        """Every argument; values that differ between cells are all shown."""
        found: dict[str, dict[str, None]] = {}
        for cell in self.cells:
            method = cell.method
            variant = {} if method.variant is None else {"variant": method.variant}
            for name, value in {**variant, **method.arguments}.items():
                origin = f" ({method.origins[name]})" if name in method.origins else ""
                found.setdefault(name, {})[f"{value}{origin}"] = None
        return ", ".join(f"{name} = {' / '.join(values)}" for name, values in found.items())


def method_table(run: RecordSet) -> Table:
    """Return each method's kind, arguments, exactness and caveats."""
    described = {o.method.name for o in run.outcomes if o.measured.attention is not None}
    found: dict[str, _Described] = {}
    for outcome in run.outcomes:
        attention = outcome.measured.attention
        # A cell that failed early does not know what its attention says of itself.
        if attention is None and outcome.method.name in described:
            continue
        exact, caveats = (attention.exact, attention.caveats) if attention else (None, [])
        row = _Described(outcome.method, exact, caveats, [])
        found.setdefault(f"{row.info.name} {exact} {caveats}", row).cells.append(outcome.cell)
    return make_table(
        sorted(found.values(), key=lambda row: rank(row.info)),
        [
            text("method", "Method", lambda row: words(row.info.name, row.info.summary)),
            text("kind", "Kind", lambda row: f"{row.info.family}, {row.info.role}"),
            text("kernel", "Kernel", lambda row: row.info.native or absent("not recorded")),
            text("exact", "Exact", lambda row: _exact(row.exact)),
            text("passes", "Used by", lambda row: row.passes),
            text("parameters", "Parameters", lambda row: row.arguments or "none"),
            text("caveats", "Caveats", lambda row: "; ".join(row.caveats) or "none stated"),
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
        return absent("no cell got far enough to know it")
    return words("yes" if is_exact else "approximate")
