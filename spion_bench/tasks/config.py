"""A task's hyper-parameters, each with its origin, read from ``configs/<name>.toml``.

Every value in such a file is written ``{ value = ..., origin = "key" }``, and the file's
``[origins]`` table says in one sentence what each key stands for. A value without a stated origin
is refused, so that a reader can always tell a published number from a choice made here.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spion_bench.records.settings import (
    ModelConfig,
    Settings,
    SpionConfig,
    TrainConfig,
    describe_problems,
)

_SECTIONS = ("model", "train", "spion")


class TaskConfig(Settings):
    """Everything that a task's TOML file says.

    Attributes:
        name: The task's name, also the file's.
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
    origins: dict[str, str]


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


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known word, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
