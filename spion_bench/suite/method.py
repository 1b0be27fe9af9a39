"""What a method is: facts that plan, gate and report read, next to the code that they are about.

A family of baselines ends its ``__init__`` with ``METHODS``, a tuple of these. Nothing here imports
torch: the factory is named, and loaded in the worker that builds it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spion_bench.literals import Blocks, Variant
from spion_bench.records.cell import Family, MethodInfo, Origin, Role, Scalar
from spion_bench.records.settings import SpionConfig
from spion_bench.suite.budget import matched_window

# Name of a fact about a task, or SPION on it -> how it follows from its settings and the length.
SPION_FACTS: dict[str, Callable[[SpionConfig, int], int]] = {
    "block_size": lambda spion, length: spion.block_size,
    "length": lambda spion, length: length,
    "tenth": lambda spion, length: max(1, length // 10),
    "matched_window": lambda spion, length: matched_window(
        length, spion.block_size, spion.quantile
    ),
}


UNPROVEN = "not run on a GPU yet"
"""What a method says of itself that only doubles of its package have tested."""


@dataclass(frozen=True)
class Argument:
    """A keyword argument of a factory, and where its value comes from.

    Attributes:
        value: The value; for ``of_spion`` the name of one of ``SPION_FACTS``.
        origin: ``lra``, ``skyformer``, ``paper``, ``hf`` (Hugging Face) or ``ours``.
        of_spion: Whether the value is a fact about SPION on the task of the cell.
    """

    value: Scalar
    origin: Origin
    of_spion: bool = False


@dataclass(frozen=True)
class Method:
    """One attention method.

    Attributes:
        name: What users, records and reports call it; a variant is ``base@variant``.
        summary: One line for ``spion-bench list``.
        factory: ``"module:object"``; calling the object gives one layer's ``Attention``.
        family: What kind of attention it is.
        role: Its purpose, see ``records.MethodInfo``.
        native: Whose kernel it runs.
        variant: SPION's pattern variant, or None for a method without learned patterns.
        blocks: Where it keeps its blocks, see ``records.MethodInfo``.
        devices: Device types this version of the suite can run it on.
        arguments: Keyword arguments of the factory.
        takes_layer: Whether the factory also takes ``layer``, the layer's number, for example to
            seed each layer's random blocks.
        shares_prefix: Whether it has no parameters and trains densely exactly as SPION's dense
            phase does, bit for bit, so its runs may continue a shared dense prefix.
        requires: Packages beyond the suite's own dependencies that it runs; their versions are
            part of a cell's key.
        spion: Values that replace SPION's settings: what makes it another function.
    """

    name: str
    summary: str
    factory: str
    family: Family
    role: Role
    native: str
    variant: Variant | None = None
    blocks: Blocks = "own"
    devices: tuple[str, ...] = ("cpu", "cuda")
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    takes_layer: bool = False
    shares_prefix: bool = False
    requires: tuple[str, ...] = ()
    spion: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The name without its variant."""
        return self.name.partition("@")[0]

    def info(self, spion: SpionConfig, length: int) -> MethodInfo:
        """Return the method with its arguments resolved for a task.

        Args:
            spion: SPION's settings on the task.
            length: Sequence length in tokens.
        """
        arguments = {
            name: SPION_FACTS[str(argument.value)](spion, length)
            if argument.of_spion
            else argument.value
            for name, argument in self.arguments.items()
        }
        facts = vars(self).keys() & MethodInfo.model_fields.keys()
        return MethodInfo(
            **{name: getattr(self, name) for name in facts - {"arguments"}},
            base=self.base,
            arguments=arguments,
            origins={name: argument.origin for name, argument in self.arguments.items()},
        )


def load_object(name: str) -> Any:
    """Import the object that ``"module:object"`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
