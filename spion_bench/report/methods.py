"""What the report reads from a method's facts: its place, and what it is compared with.

Facts are family, role, base and variant, as the registry states them; names are never parsed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

from spion_bench.literals import Variant
from spion_bench.records import MethodInfo
from spion_bench.records.cell import Family, Role
from spion_bench.suite.methods import BASELINE as BASELINE

CHAMPION: Final[Variant] = "CF"
"""The variant that the publication recommends, named beforehand; it speaks for SPION."""

ROLES: tuple[Role, ...] = ("reference", "subject", "rival", "isolates", "control", "limit")
FAMILIES: tuple[Family, ...] = get_args(Family)
_VARIANTS: tuple[Variant | None, ...] = (None, "C", "F", "CF")


def rank(method: MethodInfo) -> tuple[int, bool, int, int, str, str]:
    """Return the place of a method in every table and legend: by role, then by family.

    The baseline comes first among the references, SPION's variants in the order C, F, CF, all
    others by name.
    """
    return (
        ROLES.index(method.role),
        method.name != BASELINE,
        FAMILIES.index(method.family),
        _VARIANTS.index(method.variant),
        method.base,
        method.name,
    )


def ordered(methods: Iterable[MethodInfo]) -> list[str]:
    """Return the names of methods, each once, in the order of every table."""
    by_name = {method.name: method for method in methods}
    return [method.name for method in sorted(by_name.values(), key=rank)]


def is_dense(method: MethodInfo) -> bool:
    """Return whether a method computes every score."""
    return method.family == "dense"


def is_spion(method: MethodInfo) -> bool:
    """Return whether a method is SPION: its patterns are learned, its training has two phases."""
    return method.role == "subject" and method.variant is not None
