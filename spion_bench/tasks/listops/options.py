"""The options of the ListOps task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from spion_bench.records.settings import Settings


class ListOpsOptions(Settings):
    """Options of the ListOps task; the defaults give the published distribution.

    Attributes:
        source: ``"auto"`` takes the Long Range Arena's release if it is present and the window and
            grammar are the published ones, else expressions are generated; the data source says
            which.
        tokens: ``"brackets"`` or ``"legacy"``, see ``spion_bench.tasks.listops``.
        length: Tokens per sequence, zeros on the right included; longer ones are cut on the right.
        min_length: Expressions have more tokens than this, brackets included; None: a quarter of
            ``max_length`` (published: 500).
        max_length: Expressions have fewer tokens than this; None: ``length``, at most the published
            2000.
        max_depth: Largest depth of a digit; the outermost operation's depth is 1.
        max_args: Arguments of an operation.
        n_train: Training examples; of the release, the first ones.
        n_dev: The same for the dev split.
        n_test: The same for the test split.
        seed: Seed of the generator; the release has none.
    """

    source: Literal["auto", "release", "generated"] = "auto"
    tokens: Literal["brackets", "legacy"] = "brackets"
    length: int = Field(default=2048, ge=8)
    min_length: PositiveInt | None = None
    max_length: PositiveInt | None = None
    max_depth: int = Field(default=10, ge=2, le=100)
    max_args: int = Field(default=10, ge=2, le=100)
    n_train: PositiveInt = 96_000
    n_dev: PositiveInt = 2_000
    n_test: PositiveInt = 2_000
    seed: NonNegativeInt = 0

    @property
    def window(self) -> tuple[int, int]:
        """The number of an expression's tokens lies strictly between these two."""
        end = min(2000, self.length) if self.max_length is None else self.max_length
        return (end // 4 if self.min_length is None else self.min_length), end

    @property
    def counts(self) -> tuple[int, int, int]:
        """Examples of train, dev and test."""
        return self.n_train, self.n_dev, self.n_test

    @property
    def is_published(self) -> bool:
        """Whether the expressions follow the published distribution and none is cut."""
        grammar = (self.window, self.max_depth, self.max_args)
        return grammar == ((500, 2000), 10, 10) and self.length >= 2000
