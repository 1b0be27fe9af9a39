"""Watches a converted model's attention maps, decides when layers turn sparse, and turns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.conversion.layer import ConvertedAttention
from spion_bench.literals import Variant
from spion_bench.pattern.generate import PatternStages, pattern_stages
from spion_bench.pattern.transition import LogEntry, TransitionMonitor
from spion_bench.records.settings import SpionConfig
from spion_bench.train.checkpoint import CheckpointError, CheckpointStore

Switch = Literal["joint", "per_layer", "by_hand"] | int


@dataclass(frozen=True)
class When:
    """When layers turn sparse; see ``sparsify``."""

    switch: Switch
    observe_every: int | None
    latest_step: int | None


@dataclass
class SpionController:
    """Takes a model through SPION's phases; ``step()`` after every optimiser step is all it needs.

    Attributes:
        layers: The converted attention of every layer, by module name, in the model's order.
        variant: ``"C"``, ``"F"`` or ``"CF"``.
        settings: How patterns are made, and the criterion's threshold and mode.
        when: When layers turn sparse.
        steps: Completed optimiser steps.
        layer_steps: After which step each layer turned sparse, by module name.
        stages: What each pattern was made from, by module name; not part of the state dict.
    """

    layers: dict[str, ConvertedAttention]
    variant: Variant
    settings: SpionConfig
    when: When
    steps: int = 0
    layer_steps: dict[str, int] = field(default_factory=dict)
    stages: dict[str, PatternStages] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.monitor = TransitionMonitor(
            len(self.layers),
            mode=self.settings.transition_mode,
            threshold_percent=self.settings.transition_threshold_percent,
        )
        self._requested = False
        self._watch_if_due()

    @property
    def phase(self) -> Literal["dense", "mixed", "sparse"]:
        """``"mixed"`` while some layers, not all, have a pattern."""
        n_sparse = len(self.patterns)
        if n_sparse == 0:
            return "dense"
        return "sparse" if n_sparse == len(self.layers) else "mixed"

    @property
    def patterns(self) -> dict[str, BlockPattern]:
        """The patterns of the sparse layers, by module name."""
        found = {name: layer.pattern for name, layer in self.layers.items()}
        return {name: pattern for name, pattern in found.items() if pattern is not None}

    @property
    def log(self) -> list[LogEntry]:
        """The distances between attention maps, an entry for each observation."""
        return self.monitor.log

    def step(self) -> list[str]:
        """Count an optimiser step; where it was observed, turn the layers sparse that are due.

        The map of an observed step is that of its first forward pass in training mode, averaged
        over batch, heads and, under ``torch.distributed``, ranks.

        Returns:
            The names of the layers that turned sparse.

        Raises:
            RuntimeError: If the first step, or an observed one, had no forward pass in training
                mode.
            ValueError: If a map is not finite, or the sparse phase cannot do what a compiled model
                asks for.
        """
        for layer in self._dense().values():
            layer.check_used()
        self.steps += 1
        leaving: list[str] = []
        if self._is_due(self.steps):
            maps = {name: _average(layer.take_map()) for name, layer in self._dense().items()}
            leaving = self._leaving(maps)
            for name in leaving:
                self._turn_sparse(name, maps[name])
            self._requested = False
        self._watch_if_due()
        return leaving

    def switch_after_next_step(self) -> None:
        """Turn all dense layers sparse at the next ``step()``, with the map of the step between."""
        self._requested = True
        self._watch_if_due()

    def state_dict(self) -> dict[str, Any]:
        """Return what goes on besides the patterns, which are in the model's state dict."""
        maps, values = self.monitor.state_dict()
        return {
            "steps": self.steps,
            "requested": self._requested,
            "layer_steps": dict(self.layer_steps),
            "maps": maps,
            "monitor": values,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict``; load the model's own first, it holds the patterns.

        Raises:
            ValueError: If it is no such state, was saved with a different number of layers,
                threshold or mode, or if the model lacks the patterns that the state speaks of.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(
                f"state: expected what SpionController.state_dict returns, got one without "
                f"{', '.join(missing)}"
            )
        without = [name for name in state["layer_steps"] if name not in self.patterns]
        if without:
            raise ValueError(
                f"state: layers {without} were sparse when it was saved and have no pattern in "
                "this model; load the model's state dict of the same moment first"
            )
        self.monitor.load_state_dict(state["maps"], state["monitor"])
        self.steps = int(state["steps"])
        self._requested = bool(state["requested"])
        self.layer_steps = dict(state["layer_steps"])
        self._watch_if_due()

    def save(self, folder: Path | str) -> None:
        """Write the state dict into ``folder``, as JSON and safetensors.

        Raises:
            CheckpointError: If it cannot be written.
        """
        self._store(folder).save(self.state_dict())

    def load(self, folder: Path | str) -> None:
        """Go on from a state written by ``save``; load the model's own first.

        Raises:
            CheckpointError: If there is none, or it is damaged or of other layers.
            ValueError: See ``load_state_dict``.
        """
        state = self._store(folder).load()
        if state is None:
            raise CheckpointError(
                f"{folder}: expected a state written by SpionController.save, found none; is the "
                "checkpoint of a training without SPION, or in a different folder (the callback's "
                "resume_from)?"
            )
        self.load_state_dict(state)

    def _store(self, folder: Path | str) -> CheckpointStore:
        return CheckpointStore(Path(folder), {"layers": list(self.layers)}, every_s=0)

    def _dense(self) -> dict[str, ConvertedAttention]:
        return {name: layer for name, layer in self.layers.items() if layer.pattern is None}

    def _is_due(self, step: int) -> bool:
        """Whether the maps of ``step``, counted from 1, are looked at."""
        if not self._dense():
            return False
        return self._requested or self._is_forced(step) or self._is_observation(step)

    def _is_observation(self, step: int) -> bool:
        every = self.when.observe_every
        return every is not None and step % every == 0

    def _is_forced(self, step: int) -> bool:
        limits = (self.when.switch, self.when.latest_step)
        return any(isinstance(limit, int) and step >= limit for limit in limits)

    def _watch_if_due(self) -> None:
        if self._is_due(self.steps + 1):
            for layer in self._dense().values():
                layer.watch()

    def _leaving(self, maps: Mapping[str, Tensor]) -> list[str]:
        leaves = [False] * len(self.layers)
        if self._is_observation(self.steps):
            leaves = self.monitor.observe([maps.get(name) for name in self.layers])
        if self._requested or self._is_forced(self.steps):
            return list(maps)
        return [name for name, leaving in zip(self.layers, leaves, strict=True) if leaving]

    def _turn_sparse(self, name: str, attention_map: Tensor) -> None:
        self.stages[name] = make_pattern(attention_map, self.variant, self.settings)
        self.layers[name].pattern = self.stages[name].pattern
        self.layer_steps[name] = self.steps


def make_pattern(attention_map: Tensor, variant: Variant, spion: SpionConfig) -> PatternStages:
    """Make a pattern of a map ``[L, L]`` of any length.

    Raises:
        ValueError: See ``generate_pattern``.
    """
    # Blocks that are partly beyond the sequence's end average zeros there.
    missing = -attention_map.shape[0] % spion.block_size
    padded = F.pad(attention_map, (0, missing, 0, missing))
    return pattern_stages(padded, variant=variant, **spion.pattern_options)


def _average(attention_map: Tensor) -> Tensor:
    """Return the mean over all ranks, so that their patterns are the same."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(attention_map)
        attention_map /= dist.get_world_size()
    return attention_map
