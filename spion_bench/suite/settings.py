"""A task's published settings with a profile's replacements applied: resolved here, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from spion_bench.records.cell import TaskSettings
from spion_bench.records.names import UsageError
from spion_bench.records.settings import Settings, describe_problems
from spion_bench.tasks import load_config, load_spec
from spion_bench.tasks.variants import spell_out

if TYPE_CHECKING:  # a profile is checked with these settings
    from spion_bench.suite.profile import CellGroup

_SettingsT = TypeVar("_SettingsT", bound=Settings)


class SettingsError(UsageError):
    """A replacement of a setting is wrong.

    Attributes:
        section: The field of the group that holds it.
    """

    def __init__(self, section: str, message: str) -> None:
        super().__init__(message)
        self.section = section


def check_settings(group: CellGroup) -> None:
    """Raise SettingsError if a group of a task replaces a setting wrongly, on any device."""
    if group.task is not None:
        resolve(group, "cpu")
        resolve(group, "cuda")


def resolve(group: CellGroup, device: Literal["cpu", "cuda"]) -> TaskSettings:
    """Return the settings of a group's cells on a type of device.

    A named variant of the task's data becomes the options that it stands for: a cell that names it
    is the one that spells them out.

    Raises:
        SettingsError: If an option of the task or a replacement of a setting is unknown, or has a
            value that is not allowed.
    """
    if group.task is None:
        raise ValueError("group.task: expected a task name, got None (a kernel group has no task)")
    try:
        options = spell_out(group.task, group.options)
        load_spec(group.task).parse(options)
    except UsageError as error:
        raise SettingsError("options", str(error)) from error
    config = load_config(group.task)
    length = options.get("length")
    model = {"max_length": length, **group.model} if length else group.model
    spion = {**group.spion, **group.spion_on.get(device, {})}
    return TaskSettings(
        options=options,
        model=_replace(config.model, model, "model", group.task),
        train=_replace(config.train, group.train, "train", group.task),
        spion=_replace(config.spion, spion, "spion", group.task),
        recipe=group.recipe,
        precision=group.precision,
        compile=group.compile,
        measure=group.measure,
    )


def _replace(
    settings: _SettingsT, changes: Mapping[str, Any], section: str, task: str
) -> _SettingsT:
    try:
        return settings.model_copy(update=changes)
    except ValidationError as error:
        raise SettingsError(section, f"{task}: {section}: {describe_problems(error)}") from error
