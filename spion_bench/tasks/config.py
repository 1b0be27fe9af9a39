"""A task's published settings, each with its origin, read from its folder's ``config.toml``.

Every value in such a file is written ``{ value = ..., origin = "key" }``, and the file's
``[origins]`` table says in one sentence what each key stands for. A value without a stated origin
is refused, so published numbers and choices made here are never mixed up.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, ValidationError

from spion_bench.records.settings import (
    ModelConfig,
    Settings,
    SpionConfig,
    TrainConfig,
    describe_problems,
)

_SECTIONS = ("model", "train", "spion")

FrozenMapping = Annotated[
    Mapping[str, str], AfterValidator(MappingProxyType), PlainSerializer(dict)
]
"""A mapping that cannot be changed: a configuration is read once and shared."""


class TaskConfig(Settings):
    """Everything that a task's TOML file says.

    Attributes:
        name: The task's name, also its folder's.
        version: Raised whenever the task's examples or published settings change.
        model: The encoder and its classifier.
        train: The training loop.
        spion: The sparsity pattern.
        origins: ``"section.key"`` to the sentence that says where the value comes from.
    """

    name: str
    version: str
    model: ModelConfig
    train: TrainConfig
    spion: SpionConfig
    origins: FrozenMapping


def read_config(path: Path) -> TaskConfig:
    """Read and check one task's TOML file.

    Raises:
        ValueError: If the file is not TOML, a value has no stated origin, a stated origin is not
            used, or a key is unknown, missing or of the wrong type; it names file and key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from error
    sentences = document.pop("origins", {})
    origins: dict[str, str] = {}
    used: set[str] = set()
    for section in _SECTIONS:
        table = document.get(section)
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {section}: expected a table [{section}], got {table!r}")
        for key, entry in table.items():
            where = f"{section}.{key}"
            origin = _origin_key(entry, sentences, f"{path}: {where}")
            origins[where] = sentences[origin]
            used.add(origin)
            table[key] = entry["value"]
    if unused := sorted(set(sentences) - used):
        raise ValueError(f"{path}: origins.{unused[0]}: no value names this origin; remove it")
    try:
        return TaskConfig.model_validate({**document, "origins": origins})
    except ValidationError as error:
        raise ValueError(f"{path}: {describe_problems(error)}") from error


def _origin_key(entry: Any, sentences: Mapping[str, str], where: str) -> str:
    if not isinstance(entry, dict) or set(entry) != {"value", "origin"}:
        raise ValueError(f'{where}: expected {{ value = ..., origin = "key" }}, got {entry!r}')
    origin = entry["origin"]
    if not isinstance(origin, str) or origin not in sentences:
        raise ValueError(
            f"{where}: origin {origin!r} is not in [origins]; add a sentence that says where the "
            "value comes from"
        )
    return origin
