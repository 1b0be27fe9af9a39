"""Every attention method of the suite, collected from where its code is; no torch.

SPION's own are stated here. A family of baselines states its own at the end of its ``__init__``: a
folder of ``baselines`` with ``METHODS`` is a family, and needs no entry here. ``PEERS`` of a folder
are measured alone, as implementations of kernel cases, and are no methods of a model.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import partial
from typing import get_args

from spion_bench.literals import Blocks
from spion_bench.records.cell import Family
from spion_bench.suite.method import Argument, Method

BASELINE = "dense_sdpa"
"""The method that every ratio is taken over, and that takes two turns in every round. It is
SPION's dense attention, bit for bit, so it also trains the shared dense phase."""

_spion = partial(
    Method,
    factory="spion_bench.model.attention:SpionAttention",
    family="spion",
    native="block_attention",
    variant="CF",
    shares_prefix=True,
)
_PLACES: dict[Blocks, str] = {
    "window": "in a window around the diagonal",
    "random": "at random places",
    "top_mass": "where the unfiltered map has the most attention",
}

SPION_METHODS = (
    _spion("spion_c", "SPION-C: diagonal filter, top-k blocks", role="subject", variant="C"),
    _spion("spion_f", "SPION-F: flood fill on the unfiltered map", role="subject", variant="F"),
    _spion("spion_cf", "SPION-CF: diagonal filter, then flood fill", role="subject"),
    _spion(
        "spion_cf@pipeline",
        "SPION-CF as the published three products, SDDMM, softmax and SpMM",
        role="isolates",
        native="block pipeline",
        arguments={"implementation": Argument("pipeline", "paper")},
    ),
    *(
        _spion(
            f"spion_cf@{blocks}",
            f"SPION-CF's kernel and number of blocks, {where}",
            role="isolates",
            blocks=blocks,
        )
        for blocks, where in _PLACES.items()
    ),
    _spion(
        "spion_cf@per_layer",
        "SPION-CF, each layer turning sparse by itself, as the article describes",
        role="isolates",
        spion={"transition_mode": "per_layer"},
    ),
    _spion(
        "spion_cf@minus_inf",
        "SPION-CF without the zeros that the published softmax counts for pruned scores",
        role="isolates",
        spion={"pruned": "minus_inf"},
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
