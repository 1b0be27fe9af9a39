"""Profiles: which cells to measure, read from ``profiles/<name>.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from spion_bench.literals import Precision, RecipeName
from spion_bench.records.cell import Compile, Factor
from spion_bench.records.names import UsageError, check_name
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.cases import CASES
from spion_bench.suite.methods import METHODS
from spion_bench.suite.passes import PASSES
from spion_bench.suite.profiles.mistakes import (
    describe_mistakes,
    describe_syntax,
    line_of,
    name_of,
)
from spion_bench.suite.settings import SettingsError, check_settings
from spion_bench.tasks import task_names

PROFILES_DIR = Path(__file__).with_name("profiles")

ALL = "*"
"""As the only method of a group: every method there is."""

Value = bool | int | float | str
RunnablePass = Literal[
    "gate", "steps", "shortcuts", "accuracy", "speed", "breakdown", "memory", "energy", "kernel"
]


class Frozen(BaseModel):
    """An immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CellGroup(Frozen):
    """Cells that share a task (or kernel cases) and settings: passes x methods x seeds.

    Attributes:
        passes: What to measure.
        task: Name of the task; absent for the kernel pass.
        options: Options of the task's loader, such as ``length`` or ``source``.
        cases: Names of kernel cases, for the kernel pass only.
        methods: Names of methods, or ``["*"]`` for all; the kernel pass takes the
            implementations of its cases, the pass of shortcuts those of its task.
        seeds: One cell per seed; shortcuts depend on none and have one cell each.
        model: Values that replace the task's ``ModelConfig``.
        train: Values that replace the task's ``TrainConfig``.
        spion: Values that replace the task's ``SpionConfig``.
        spion_on: Values that replace those too on one type of device, by its name.
        recipe: The training recipe, ``"corrected"`` or ``"published"``.
        precision: In what the models multiply: ``"float32"``, ``"tf32"`` (CUDA only),
            ``"bfloat16"`` or ``"float16"``; kernel cases state their own.
        factor: The setting in which the group differs from the others of its task on purpose: its
            cells are levels of an ablation, and reports show them as such alone.
        compile: ``"default"``: the encoder is compiled, in passes that can measure it so; or
            ``"none"``.
        measure: How to measure.
        timeout_s: How long one cell may be busy, in seconds: in all; or, where methods take turns,
            while it is made ready, in its first round, which may compile, and in the others, which
            end when no more fit.
    """

    passes: tuple[RunnablePass, ...] = Field(min_length=1)
    task: str | None = None
    options: dict[str, Value] = Field(default_factory=dict)
    cases: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    model: dict[str, Value] = Field(default_factory=dict)
    train: dict[str, Value] = Field(default_factory=dict)
    spion: dict[str, Value] = Field(default_factory=dict)
    spion_on: dict[Literal["cpu", "cuda"], dict[str, Value]] = Field(default_factory=dict)
    recipe: RecipeName = "corrected"
    precision: Precision = "float32"
    factor: Factor | None = None
    compile: Compile = "none"
    measure: MeasureSettings = MeasureSettings()
    timeout_s: float = Field(600.0, gt=0)

    @field_validator("methods")
    @classmethod
    def _all_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(METHODS) if methods == (ALL,) else methods

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str | None) -> str | None:
        return None if task is None else check_name("task", task, task_names())

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_name("method", method, METHODS) for method in methods)

    @field_validator("cases")
    @classmethod
    def _known_cases(cls, cases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_name("kernel case", case, CASES) for case in cases)

    @model_validator(mode="after")
    def _check(self) -> CellGroup:
        if "kernel" in self.passes:
            if self.task or self.methods or not self.cases or len(self.passes) > 1:
                raise ValueError(
                    "a kernel group needs `cases`, and takes no task, method or other pass"
                )
        elif not self.task or self.cases or not (self.methods or self.passes == ("shortcuts",)):
            raise ValueError("a group needs `task` and `methods`; `cases` belong to kernel groups")
        if self.factor and self.passes != ("accuracy",):
            raise ValueError("factor: levels of an ablation are cells of the pass accuracy alone")
        eager = [name for name in self.passes if not PASSES[name].compiles]
        if self.compile != "none" and eager:
            able = ", ".join(name for name, entry in PASSES.items() if entry.compiles)
            raise ValueError(
                f"compile: {', '.join(eager)} run uncompiled models only; give the compiled model "
                f"a group of its own, with passes among {able}"
            )
        return self


class Profile(Frozen):
    """A named list of cell groups; the name is also that of folders."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    description: str
    cells: tuple[CellGroup, ...] = Field(min_length=1)


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the suite."""
    return sorted(path.stem for path in PROFILES_DIR.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """Read a profile by name, or from a path that ends in ``.toml``.

    Raises:
        UsageError: If the name is unknown (with the nearest one), or the file is missing or wrong.
    """
    if name.endswith(".toml"):
        path = Path(name)
    else:
        path = PROFILES_DIR / f"{check_name('profile', name, profile_names())}.toml"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"profile {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"profile {path}: not a text in UTF-8: {error.reason}") from error
    try:
        profile = Profile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"profile {path}, {describe_syntax(error, text)}") from error
    except RecursionError as error:
        raise UsageError(f"profile {path}: nested too deeply") from error
    except ValidationError as error:
        models: dict[str, type[BaseModel]] = {
            "": Profile,
            "cells": CellGroup,
            "measure": MeasureSettings,
        }
        fields = {name: list(model.model_fields) for name, model in models.items()}
        raise UsageError(f"profile {path}, {describe_mistakes(error, text, fields)}") from error
    except ValueError as error:  # a number of too many digits
        raise UsageError(f"profile {path}: {error}") from error
    for number, group in enumerate(profile.cells):
        try:
            check_settings(group)
        except SettingsError as error:
            place = ("cells", number, error.section)
            where = f"line {line_of(text, place)}: {name_of(place)}"
            raise UsageError(f"profile {path}, {where}: {error}") from error
    return profile
