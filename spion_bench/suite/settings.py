"""A cell's model, training and SPION settings: the task's published ones with the profile's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from spion_bench.records.names import UsageError
from spion_bench.records.settings import (
    ModelConfig,
    Settings,
    SpionConfig,
    TrainConfig,
    describe_problems,
)
from spion_bench.tasks import load_config

_SettingsT = TypeVar("_SettingsT", bound=Settings)


class Overrides(Protocol):
    """What ``CellGroup`` and ``Cell`` say about settings."""

    @property
    def task(self) -> str | None:
        """Name of the task."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of the task's loader."""

    @property
    def model(self) -> Mapping[str, Any]:
        """Replacements in ``ModelConfig``."""

    @property
    def train(self) -> Mapping[str, Any]:
        """Replacements in ``TrainConfig``."""

    @property
    def spion(self) -> Mapping[str, Any]:
        """Replacements in ``SpionConfig``."""


@dataclass(frozen=True)
class TaskSettings:
    """Everything that a task's cell is configured by, besides the data."""

    model: ModelConfig
    train: TrainConfig
    spion: SpionConfig


def task_settings(cell: Overrides) -> TaskSettings:
    """Return the task's published settings with the cell's replacements applied.

    Raises:
        UsageError: If a replacement names an unknown setting or has a value that is not allowed.
    """
    if cell.task is None:
        raise ValueError("cell.task: expected a task name, got None (a kernel cell has no task)")
    config = load_config(cell.task)
    length = cell.options.get("length")
    model = {"max_length": length, **cell.model} if length else cell.model
    return TaskSettings(
        model=_replace(config.model, model, f"{cell.task}: model"),
        train=_replace(config.train, cell.train, f"{cell.task}: train"),
        spion=_replace(config.spion, cell.spion, f"{cell.task}: spion"),
    )


def task_length(cell: Overrides) -> int:
    """Return the sequence length in tokens of a cell's task."""
    return task_settings(cell).model.max_length


def _replace(settings: _SettingsT, changes: Mapping[str, Any], where: str) -> _SettingsT:
    try:
        return settings.model_copy(update=changes)
    except ValidationError as error:
        raise UsageError(f"{where}: {describe_problems(error)}") from error
