"""The settings of a training run: the encoder, the loop, the sparsity pattern; no torch.

They are declared here because tasks publish them, methods change them and records store them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from spion_bench.literals import Precision, Pruned, Selection, TransitionMode
from spion_bench.records.quote import shorten

PRODUCT_DTYPES: dict[Precision, str] = {
    "float32": "float32",
    "tf32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}
"""Precision -> name of the torch dtype of what products take."""

MOST_SHOWN = 80


def check_whole_numbers(model: BaseModel) -> None:
    """Raise ValueError if a whole number in a field has over 64 bits: no table could hold it."""
    for name, value in model.__dict__.items():
        if any(not -(2**63) <= number < 2**63 for number in _whole_numbers(value)):
            raise ValueError(f"{name}: expected whole numbers of at most 64 bits")


def _whole_numbers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, list | tuple | dict):  # a part that is a model has checked its own
        for part in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(part)


class Settings(BaseModel):
    """Immutable settings: no unknown keys, no silent conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        check_whole_numbers(self)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with ``update`` applied and, unlike pydantic's own, validated.

        Raises:
            pydantic.ValidationError: If a key is unknown or a value is not allowed.
        """
        copied = super().model_copy(deep=deep)
        return type(self).model_validate({**dict(copied), **(update or {})})


class ModelConfig(Settings):
    """The encoder and its classifier (SPION code: ``models/model_transformer.py``).

    Attributes:
        layers: Encoder layers.
        embedding_dim: Width of the residual stream.
        hidden_dim: Width of the feed-forward layers and of the classification head.
        heads: Attention heads.
        head_dim: Width of one head.
        dropout: Probability of dropping an activation (there is no attention dropout).
        vocab_size: Rows of the embedding table; token ids are below it.
        max_length: Rows of the position table: the longest sequence in tokens.
        n_classes: Outputs of the classification head.
        two_towers: Whether an example is a pair of sequences.
        pair_features: What the head sees of a pair: ``"products"`` is ``[a, b, a * b, a - b]`` (the
            PyTorch ports), ``"concatenated"`` is ``[a, b]`` (the Long Range Arena's JAX code).
        mask_attention: Whether tokens of id 0 are excluded as attention keys.
        mask_pooling: Whether the encoder's output is zeroed at tokens of id 0 before it is averaged
            over all positions.
    """

    layers: PositiveInt
    embedding_dim: PositiveInt
    hidden_dim: PositiveInt
    heads: PositiveInt
    head_dim: PositiveInt
    dropout: float = Field(ge=0, lt=1)
    vocab_size: PositiveInt
    max_length: PositiveInt
    n_classes: int = Field(ge=2)
    two_towers: bool
    pair_features: Literal["products", "concatenated"] = "products"
    mask_attention: bool
    mask_pooling: bool


class TrainConfig(Settings):
    """The training loop.

    Attributes:
        steps: Optimiser steps of a whole run, dense and sparse.
        batch_size: Examples per step.
        learning_rate: Peak of the one-cycle schedule.
        warmup_steps: Steps in which the rate rises to its peak.
        weight_decay: AdamW's decoupled decay.
        eval_every: Steps between two evaluations.
        adam_beta1: AdamW's first moment decay.
        adam_beta2: AdamW's second moment decay.
        adam_eps: AdamW's denominator term.
        clip_value: Each gradient entry is clipped to [-clip_value, clip_value].
        latest_transition_step: The dense phase is ended after this many steps at the latest.
        eval_batch_size: Examples per batch of an evaluation.
    """

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    warmup_steps: NonNegativeInt
    weight_decay: NonNegativeFloat
    eval_every: PositiveInt
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    adam_eps: PositiveFloat
    clip_value: PositiveFloat
    latest_transition_step: PositiveInt
    eval_batch_size: PositiveInt


class SpionConfig(Settings):
    """The sparsity pattern and the moment it is made.

    Attributes:
        block_size: Rows and columns of a block, in tokens.
        quantile: Quantile of the pooled map above which blocks may be kept (variants CF and F).
        density: Share of the blocks that variant C keeps; its diagonal is counted in.
        filter_size: Taps of the diagonal filter (variants CF and C).
        transition_threshold_percent: The dense phase ends when every distance between attention
            maps changed by less than this.
        pruned: What a pruned score is to the softmax.
        selection: How blocks above the quantile are picked.
        transition_mode: Whether all layers turn sparse at one step, or each by itself.
    """

    block_size: PositiveInt
    quantile: float = Field(ge=0, le=1)
    density: float = Field(ge=0, le=1)
    filter_size: PositiveInt
    transition_threshold_percent: PositiveInt
    pruned: Pruned
    selection: Selection
    transition_mode: TransitionMode

    @property
    def pattern_options(self) -> dict[str, Any]:
        """What ``pattern.generate_pattern`` takes of it, by argument."""
        names = ("block_size", "quantile", "density", "filter_size", "selection")
        return {name: getattr(self, name) for name in names}


def describe_problems(error: ValidationError) -> str:
    """Return pydantic's findings in one line: key, what was expected, what came."""
    return "; ".join(
        f"{'.'.join(shorten(str(part), ends=30) for part in problem['loc'])}: "
        f"{describe_problem(problem)}"
        for problem in error.errors()
    )


def describe_problem(problem: ErrorDetails) -> str:
    """Return one of pydantic's findings in plain words."""
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "extra_forbidden":
        return "is unknown"
    if problem["type"] == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    try:
        found = repr(problem["input"])
    except ValueError:  # Python writes no number of more than 4300 digits
        found = "an int that is too long to be shown"
    if len(found) > MOST_SHOWN:
        found = f"{found[: MOST_SHOWN // 2]}...{found[-MOST_SHOWN // 2 :]}"
    return f"{problem['msg'].replace('Input should be', 'expected')}, got {found}"


class MeasureSettings(Settings):
    """How the passes measure that take turns in rounds.

    Attributes:
        batch_size: Sequences per training step.
        rounds: Fewest rounds; each method gets its turn in each. Of fewer than 8, numbers are
            marked and take no part in a headline.
        most_rounds: The bound: no more rounds, however wide the intervals are.
        half_width: Rounds go on until the interval of each ratio to the baseline is within this
            share of it.
        warmup_s: Unrecorded repetitions at the start of each turn, in seconds.
        round_s: Recorded repetitions of each timed quantity in a turn, in seconds.
        min_samples: Fewest samples of each timed quantity in a turn.
    """

    batch_size: PositiveInt = 8
    rounds: PositiveInt = 8
    most_rounds: PositiveInt = 24
    half_width: PositiveFloat = 0.03
    warmup_s: NonNegativeFloat = 0.3
    round_s: NonNegativeFloat = 0.5
    min_samples: PositiveInt = 2

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rounds > self.most_rounds:
            raise ValueError(
                f"most_rounds: expected at least rounds = {self.rounds}, got {self.most_rounds}"
            )
        return self
