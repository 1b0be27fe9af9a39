"""Named variants of a task's data: options under a name, in the task's ``variants.toml``.

A variant is a kind of data that was chosen once, so profiles need not repeat its options. It is
spelled out when a plan is made; cells and records hold the options alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from spion_bench.records.names import UsageError, check_name
from spion_bench.records.settings import Settings
from spion_bench.tasks.registry import load_spec

VARIANT = "variant"
"""The option that names one; other options beside it replace those that it stands for."""

Option = bool | int | float | str


class Variant(Settings):
    """A named kind of data.

    Attributes:
        summary: What is special about it, in one line.
        options: The options of the task's loader that it stands for.
    """

    summary: str
    options: dict[str, Option]


@cache
def variants_of(task: str) -> dict[str, Variant]:
    """Return the variants of a task by name; a task without the file has none.

    Raises:
        UsageError: If there is no such task, or an option of a variant is unknown or not allowed.
        pydantic.ValidationError: If a variant has other fields than ``Variant``.
    """
    spec = load_spec(task)
    path = Path(__file__).parent / task / "variants.toml"
    if not path.is_file():
        return {}
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    found = {name: Variant.model_validate(entry) for name, entry in document.items()}
    for variant in found.values():
        spec.parse(variant.options)
    return found


def spell_out(task: str, options: Mapping[str, Option]) -> dict[str, Option]:
    """Return options in which a named variant is replaced by what it stands for.

    Raises:
        UsageError: If the task has no such variant.
    """
    if VARIANT not in options:
        return dict(options)
    known = variants_of(task)
    if not known:
        raise UsageError(f"{task} option variant: the task has no named variants")
    name = check_name(f"{task} variant", str(options[VARIANT]), known)
    rest = {key: value for key, value in options.items() if key != VARIANT}
    return {**known[name].options, **rest}
