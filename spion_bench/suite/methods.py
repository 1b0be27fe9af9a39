"""Every attention method of the suite, collected from where its code is; no torch.

SPION's own are stated here. A family of baselines states its own at the end of its ``__init__``: a
folder of ``baselines`` with ``METHODS`` is a family, and needs no entry here. ``PEERS`` of a folder
are measured alone, as implementations of kernel cases, and are no methods of a model.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import get_args

from spion_bench.literals import Blocks, Variant
from spion_bench.records.cell import Family
from spion_bench.records.names import check_name
from spion_bench.suite.method import Argument, Method

BASELINE = "dense_sdpa"
"""The method that every ratio is taken over, and that takes two turns in every round. It is
SPION's dense attention, bit for bit, so it also trains the shared dense phase."""

_SPION = "spion_bench.model.attention:SpionAttention"

_VARIANTS: tuple[tuple[str, str, Variant], ...] = (
    ("spion_c", "SPION-C: diagonal filter, top-k blocks", "C"),
    ("spion_f", "SPION-F: flood fill on the unfiltered map", "F"),
    ("spion_cf", "SPION-CF: diagonal filter, then flood fill", "CF"),
)

_ELSEWHERE: tuple[tuple[Blocks, str], ...] = (
    ("window", "in a window around the diagonal"),
    ("random", "at random places"),
    ("top_mass", "where the unfiltered map has the most attention"),
)

_CHANGED: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "spion_cf@per_layer",
        "SPION-CF, each layer turning sparse by itself, as the article describes",
        {"transition_mode": "per_layer"},
    ),
    (
        "spion_cf@minus_inf",
        "SPION-CF without the zeros that the published softmax counts for pruned scores",
        {"pruned": "minus_inf"},
    ),
)


SPION_METHODS = (
    *(
        Method(
            name,
            summary,
            _SPION,
            family="spion",
            role="subject",
            native="block_attention",
            variant=variant,
            shares_prefix=True,
        )
        for name, summary, variant in _VARIANTS
    ),
    Method(
        "spion_cf@pipeline",
        "SPION-CF as the published three products, SDDMM, softmax and SpMM",
        _SPION,
        family="spion",
        role="isolates",
        native="block pipeline",
        variant="CF",
        arguments={"implementation": Argument("pipeline", "paper")},
        shares_prefix=True,
    ),
    *(
        Method(
            f"spion_cf@{blocks}",
            f"SPION-CF's kernel and number of blocks, {where}",
            _SPION,
            family="spion",
            role="isolates",
            native="block_attention",
            variant="CF",
            blocks=blocks,
            shares_prefix=True,
        )
        for blocks, where in _ELSEWHERE
    ),
    *(
        Method(
            name,
            summary,
            _SPION,
            family="spion",
            role="isolates",
            native="block_attention",
            variant="CF",
            shares_prefix=True,
            spion=settings,
        )
        for name, summary, settings in _CHANGED
    ),
)


def _collect(what: str) -> Iterator[Method]:
    """Yield what every family of baselines states under a name, by folder."""
    baselines = importlib.import_module("baselines")
    for folder in sorted(pkgutil.iter_modules(baselines.__path__), key=lambda found: found.name):
        family = importlib.import_module(f"baselines.{folder.name}")
        yield from getattr(family, what, ())


def _by_name(methods: Iterable[Method]) -> dict[str, Method]:
    """Return methods by name, ordered by family."""
    families = get_args(Family)
    found: dict[str, Method] = {}
    for method in sorted(methods, key=lambda method: families.index(method.family)):
        if method.name in found:
            raise ValueError(f"method {method.name} is defined twice")
        found[method.name] = method
    return found


METHODS: dict[str, Method] = _by_name((*SPION_METHODS, *_collect("METHODS")))
PEERS: dict[str, Method] = _by_name(_collect("PEERS"))


def find_method(name: str) -> Method:
    """Return the method called ``name``; UsageError suggests the nearest name."""
    return METHODS[check_name("method", name, METHODS)]
