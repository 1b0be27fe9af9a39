"""When dense training ends: SPION's test of how much the attention maps still change.

SPION code (main_conv.py and its siblings): at every evaluation each layer's attention map is
compared with a reference map, and a layer is settled when the distance changes little from one
evaluation to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from spion_bench.literals import TransitionMode


class LogEntry(TypedDict):
    """What one evaluation measured; one number per layer, None where there is none."""

    evaluation: int
    distance: list[float | None]
    change_percent: list[float | None]


def change_percent(previous: float, current: float) -> float:
    """Return ``|current - previous| / previous`` in percent.

    After a distance of 0 the change is 0 if the distance stays 0 and infinite otherwise. (The
    published code raises there: a division by zero, or the int of an infinity or a NaN.)
    """
    if previous == 0:
        return 0.0 if current == 0 else math.inf
    return abs(current - previous) / previous * 100


class TransitionMonitor:
    """Watches the attention maps of all layers and says which layers have settled.

    With ``A_e`` a layer's map at evaluation e = 1, 2, ... and ``R`` its reference map:

    - e = 1: ``R = A_1``.
    - e = 2: the distance ``d = ||R - A_2||`` (Frobenius) is noted; ``R`` stays ``A_1``.
    - e >= 3: with ``d' = ||R - A_e||`` the change is ``|d' - d| / d`` in percent. A layer passes if
      the whole-number part of its change is below ``threshold_percent``. Layers that do not settle
      here get ``R = A_e``, ``d = d'``.

    So the third evaluation is the earliest at which anything settles.

    Attributes:
        n_layers: Number of layers.
        mode: ``"joint"`` (the published code): all layers settle together, at the first evaluation
            at which every layer passes. ``"per_layer"``: a layer settles as soon as it passes.
        threshold_percent: The bound on the change; 15 in the published code, for every task.
        settled: For each layer, whether it has settled.
        log: One ``LogEntry`` per evaluation.

    Reference maps are kept without a copy: do not change a map after ``observe`` has seen it.
    """

    def __init__(
        self, n_layers: int, *, mode: TransitionMode = "joint", threshold_percent: float = 15
    ) -> None:
        if n_layers < 1:
            raise ValueError(f"n_layers: expected at least 1, got {n_layers}")
        if mode not in ("joint", "per_layer"):
            raise ValueError(f"mode: expected 'joint' or 'per_layer', got {mode!r}")
        if not threshold_percent > 0:
            raise ValueError(
                f"threshold_percent: expected a positive number, got {threshold_percent}; "
                "the published value is 15"
            )
        self.n_layers = n_layers
        self.mode: TransitionMode = mode
        self.threshold_percent = threshold_percent
        self.settled = [False] * n_layers
        self.log: list[LogEntry] = []
        self._references: list[Tensor | None] = [None] * n_layers

    def observe(self, maps: Sequence[Tensor | None]) -> list[bool]:
        """Take in the maps of one evaluation and return, for each layer, whether it settled now.

        Args:
            maps: One ``[L, L]`` map per layer; None for the layers that have already settled.

        Returns:
            One bool per layer; in joint mode all are equal.

        Raises:
            ValueError: If the number of maps is not ``n_layers``, a map is missing, unexpected or
                not finite, or has a different shape than before. The monitor then stays as it was.
        """
        self._check(maps)
        distances = [
            None if current is None or reference is None else _distance(reference, current)
            for current, reference in zip(maps, self._references, strict=True)
        ]
        self._append_to_log(distances)
        passed = [self._passes(change) for change in self.log[-1]["change_percent"]]
        newly = [all(passed)] * self.n_layers if self.mode == "joint" else passed
        self.settled = [old or new for old, new in zip(self.settled, newly, strict=True)]

        keeps_reference = len(self.log) == 2  # the second evaluation only notes the distance
        for layer, current in enumerate(maps):
            if self.settled[layer]:
                self._references[layer] = None
            elif current is not None and not keeps_reference:
                self._references[layer] = current.detach()
        return newly

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything needed to continue later: tensors, and values that fit JSON."""
        tensors = {
            f"reference.{layer}": reference
            for layer, reference in enumerate(self._references)
            if reference is not None
        }
        values = {
            "n_layers": self.n_layers,
            "mode": self.mode,
            "threshold_percent": self.threshold_percent,
            "settled": list(self.settled),
            "distances": [entry["distance"] for entry in self.log],
        }
        return tensors, values

    def load_state_dict(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of a monitor with the same settings.

        Raises:
            ValueError: If the state was saved with other settings, naming the first that differs.
        """
        for name in ("n_layers", "mode", "threshold_percent"):
            if values[name] != getattr(self, name):
                raise ValueError(
                    f"{name}: expected {getattr(self, name)!r}, got a state saved with "
                    f"{values[name]!r}; build the monitor with the settings of the saved run"
                )
        self.settled = [bool(settled) for settled in values["settled"]]
        self._references = [tensors.get(f"reference.{layer}") for layer in range(self.n_layers)]
        self.log = []
        for distances in values["distances"]:
            self._append_to_log(distances)

    def _check(self, maps: Sequence[Tensor | None]) -> None:
        if len(maps) != self.n_layers:
            raise ValueError(f"maps: expected {self.n_layers} maps, one per layer, got {len(maps)}")
        for layer, current in enumerate(maps):
            if self.settled[layer]:
                if current is not None:
                    raise ValueError(f"maps[{layer}]: expected None, the layer has settled")
                continue
            if current is None:
                raise ValueError(
                    f"maps[{layer}]: expected a map, got None; the layer has not settled"
                )
            reference = self._references[layer]
            if reference is not None and current.shape != reference.shape:
                raise ValueError(
                    f"maps[{layer}]: expected shape {list(reference.shape)} as at the earlier "
                    f"evaluations, got {list(current.shape)}"
                )
            if not math.isfinite(_norm(current)):
                raise ValueError(
                    f"maps[{layer}]: expected finite numbers, got NaN or infinity; "
                    "the training has probably diverged"
                )

    def _append_to_log(self, distances: Sequence[float | None]) -> None:
        previous = self.log[-1]["distance"] if self.log else [None] * self.n_layers
        changes = [
            None if old is None or new is None else change_percent(old, new)
            for old, new in zip(previous, distances, strict=True)
        ]
        self.log.append(
            {
                "evaluation": len(self.log) + 1,
                "distance": list(distances),
                "change_percent": changes,
            }
        )

    def _passes(self, change: float | None) -> bool:
        if change is None or math.isinf(change):
            return False
        return int(change) < self.threshold_percent


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix.detach(), dtype=torch.float64))


def _distance(reference: Tensor, current: Tensor) -> float:
    """Frobenius norm of the difference, its squares summed in float64."""
    return _norm(reference.to(current.device) - current.detach())
