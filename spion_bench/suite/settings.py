"""A task's published settings with a profile's replacements applied: resolved here, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from spion_bench.records.cell import TaskSettings
from spion_bench.records.names import UsageError
from spion_bench.records.settings import Settings, describe_problems
from spion_bench.suite.profile import CellGroup
from spion_bench.tasks import load_config, load_spec

_SettingsT = TypeVar("_SettingsT", bound=Settings)


def resolve(group: CellGroup, device: Literal["cpu", "cuda"]) -> TaskSettings:
    """Return the settings of a group's cells on a type of device.

    Raises:
        UsageError: If an option of the task or a replacement of a setting is unknown, or has a
            value that is not allowed.
    """
    if group.task is None:
        raise ValueError("group.task: expected a task name, got None (a kernel group has no task)")
    load_spec(group.task).parse(group.options)
    config = load_config(group.task)
    length = group.options.get("length")
    model = {"max_length": length, **group.model} if length else group.model
    spion = {**group.spion, **group.spion_on.get(device, {})}
    return TaskSettings(
        options=dict(group.options),
        model=_replace(config.model, model, f"{group.task}: model"),
        train=_replace(config.train, group.train, f"{group.task}: train"),
        spion=_replace(config.spion, spion, f"{group.task}: spion"),
        recipe=group.recipe,
        precision=group.precision,
        measure=group.measure,
    )


def _replace(settings: _SettingsT, changes: Mapping[str, Any], where: str) -> _SettingsT:
    try:
        return settings.model_copy(update=changes)
    except ValidationError as error:
        raise UsageError(f"{where}: {describe_problems(error)}") from error
