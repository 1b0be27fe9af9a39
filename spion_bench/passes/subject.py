"""What a task's cell is about, made ready in its worker: data, settings, method, patterns."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, UnavailableError, UnsupportedError
from spion_bench.passes.attention import attention_maker
from spion_bench.passes.gate.mask import check_own_mask
from spion_bench.passes.gate.oracle import GateResult, GateSetup, check_attention
from spion_bench.passes.gate.precision import in_precision
from spion_bench.passes.gate.properties import check_properties
from spion_bench.passes.session import Job
from spion_bench.passes.synthetic import BAND_AND_STRIPES, band_and_stripes, describe_patterns
from spion_bench.pattern.placement import place_blocks
from spion_bench.records import (
    AttentionInfo,
    Measurement,
    TaskCell,
    TaskInfo,
    TaskSettings,
)
from spion_bench.records.artifacts import read_patterns
from spion_bench.suite.budget import block_budget
from spion_bench.suite.needs import kernel_refusal
from spion_bench.tasks import TaskData, load_task
from spion_bench.tasks.task import Split
from spion_bench.train.precision import Arithmetic


class MissingDataError(RuntimeError):
    """The task's data is missing, damaged or unreadable; the message says what to do."""


@dataclass(frozen=True)
class Subject:
    """A cell's data, settings and method.

    Attributes:
        cell: The cell.
        task: Its data.
        settings: Its model, training and SPION settings.
        patterns: One pattern per layer for methods with a variant, else None.
        pattern_source: Where the patterns came from.
        example: An instance of the method, for its capabilities and caveats.
    """

    cell: TaskCell
    task: TaskData
    settings: TaskSettings
    patterns: list[BlockPattern] | None
    pattern_source: str
    example: Attention

    @property
    def arithmetic(self) -> Arithmetic:
        """How the cell computes, and where."""
        return Arithmetic(self.settings.precision, torch.device(self.cell.device))

    @property
    def make_attention(self) -> Callable[[int], Attention]:
        """Build the method's attention with its patterns, layer by layer."""
        return attention_maker(self.cell.method, self.settings.spion, self.patterns)

    @property
    def make_dense_attention(self) -> Callable[[int], Attention]:
        """Build the method's attention as training starts it: without patterns."""
        return attention_maker(self.cell.method, self.settings.spion)

    def with_few_examples(self, count: int) -> Subject:
        """Return it with copies of some training examples, drawn with the cell's seed, alone."""
        task = self.task
        chosen = np.random.default_rng(self.cell.seed).permutation(len(task.train))[:count]
        few = Split(task.train.inputs[chosen], task.train.labels[chosen])
        return replace(self, task=replace(task, train=few, dev=few.first(0), test=few.first(0)))

    def describe(self) -> Measurement:
        """Return what is known before anything is measured."""
        return Measurement(
            status="ok",
            task=task_info(self.task),
            attention=AttentionInfo(
                exact=self.example.capabilities.exact,
                caveats=list(self.example.caveats),
                chosen=self.example.details(),
            ),
            pattern=(
                describe_patterns(self.patterns, self.pattern_source) if self.patterns else None
            ),
        )

    def check(self) -> GateResult:
        """Run the gate on the cell's shape, with every different pattern of the cell.

        A method with patterns is compared on them, another exact one on its own mask; one that is
        not exact must have the properties of attention. The errors are those of the layer
        that comes closest to what is allowed, or exceeds it most.
        """
        model, device = self.settings.model, self.cell.device
        setup = GateSetup(
            model.heads,
            self.task.length,
            model.head_dim,
            model.mask_attention,
            device=device,
            precision=self.settings.precision,
            forward_only=not self.example.capabilities.trains_on(device),
        )
        if self.patterns is not None:
            results = [
                check_attention(
                    *in_precision(self.make_attention(layer).to(device), setup),
                    self.patterns[layer],
                    self.settings.spion.pruned,
                )
                for layer in self._distinct_layers(self.patterns)
            ]
        else:
            check = check_own_mask if self.example.capabilities.exact else check_properties
            layers = range(model.layers if self.cell.method.takes_layer else 1)
            results = [check(self.make_attention(layer).to(device), setup) for layer in layers]
        reasons = [result.reason for result in results if result.reason]
        worst = max(results, key=lambda result: result.severity)
        return GateResult(worst.errors, "; ".join(reasons) or None)

    @staticmethod
    def _distinct_layers(patterns: list[BlockPattern]) -> list[int]:
        first = {pattern: layer for layer, pattern in reversed(list(enumerate(patterns)))}
        return sorted(first.values())


def prepare_subject(job: Job) -> Subject:
    """Load a cell's data, settings, method and patterns.

    Raises:
        UnsupportedError: If the method cannot run this cell on this machine.
        MissingDataError: If the task's data is missing.
        ValueError: If a setting is wrong, or the cell is not one of a task.
    """
    cell = job.cell
    if not isinstance(cell, TaskCell):
        raise ValueError(f"cell {cell.key}: expected a task cell, got a kernel cell")
    settings = cell.resolved()
    check_device(cell)
    example = attention_maker(cell.method, settings.spion)(0)
    check_support(cell, example)
    Arithmetic(settings.precision, torch.device(cell.device)).choose_products()
    task = load_data(cell)
    patterns, source = _patterns(job, cell, settings, task.length)
    return Subject(cell, task, settings, patterns, source, example)


def load_data(cell: TaskCell) -> TaskData:
    """Return the examples of a cell's task; MissingDataError says why there are none."""
    try:
        data_dir = None if cell.data_dir is None else Path(cell.data_dir)
        return load_task(cell.task, data_dir=data_dir, options=cell.resolved().options)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise
        raise MissingDataError(str(error)) from error


def task_info(task: TaskData) -> TaskInfo:
    """Describe a task's data for the record."""
    source = task.source
    return TaskInfo(
        name=task.name,
        version=task.version,
        source=source.name,
        source_version=source.version,
        fingerprint=source.fingerprint,
        stand_in=source.stand_in,
        length=task.length,
        n_classes=task.n_classes,
        n_train=len(task.train),
        n_dev=len(task.dev),
        n_test=len(task.test),
        majority_share=task.majority_share,
        description=source.description,
    )


def check_device(cell: TaskCell) -> None:
    """Raise UnavailableError if the cell's device is missing."""
    if cell.device == "cuda" and not torch.cuda.is_available():
        raise UnavailableError(f"no CUDA device is available to torch {torch.__version__}")


def check_support(cell: TaskCell, example: Attention) -> None:
    """Raise UnsupportedError if the method cannot run this cell."""
    can, method = example.capabilities, cell.method
    if cell.device not in method.devices or cell.device not in can.devices:
        raise UnsupportedError(
            f"{method.name} does not run on {cell.device} in this version; it runs on "
            f"{', '.join(sorted(set(method.devices) & set(can.devices)))}"
            + (f"; {reason}" if (reason := example.refusal(cell.device)) else "")
        )
    dtype = Arithmetic(cell.resolved().precision, torch.device(cell.device)).dtype
    if dtype not in can.dtypes:
        raise UnsupportedError(f"{method.name} does not accept {cell.dtype}")
    if cell.pass_name not in ("gate", "steps"):  # these check the forward pass first
        check_training(cell, example)
    if cell.length < can.min_length:
        raise UnsupportedError(
            f"{method.name} needs sequences of at least {can.min_length} tokens, got {cell.length}"
        )
    if (refusal := kernel_refusal(cell)) is not None:
        raise UnsupportedError(f"{method.name}: {refusal}")


def check_training(cell: TaskCell, example: Attention) -> None:
    """Raise UnsupportedError if the method cannot train on the cell's device."""
    if not example.capabilities.trains_on(cell.device):
        raise UnsupportedError(
            f"{cell.method.name} has no backward pass on {cell.device} and cannot train there"
        )


def _patterns(
    job: Job, cell: TaskCell, settings: TaskSettings, length: int
) -> tuple[list[BlockPattern] | None, str]:
    """Return learned patterns if the job names any, else synthetic ones of the same budget."""
    variant, spion = cell.method.variant, settings.spion
    if variant is None:
        return None, ""
    if job.pattern_artifact is not None and job.pattern_sha256 is not None:
        stored = read_patterns(Path(job.pattern_artifact), job.pattern_sha256)
        patterns = [
            BlockPattern(size, torch.tensor(crow), torch.tensor(col)) for size, crow, col in stored
        ]
        return _placed(cell, patterns, f"accuracy cell {job.pattern_cell}")
    budget = block_budget(
        variant, length // spion.block_size, quantile=spion.quantile, density=spion.density
    )
    pattern = band_and_stripes(length, spion.block_size, budget)
    return _placed(cell, [pattern] * settings.model.layers, f"synthetic {BAND_AND_STRIPES}")


def _placed(
    cell: TaskCell, patterns: list[BlockPattern], source: str
) -> tuple[list[BlockPattern], str]:
    """Return patterns with the blocks where the method keeps them, and where they came from."""
    blocks = cell.method.blocks
    if blocks in ("own", "top_mass"):  # the latter's own accuracy cell has placed them already
        return patterns, source
    placed = [place_blocks(pattern, blocks, seed=layer) for layer, pattern in enumerate(patterns)]
    return placed, f"{blocks}, as many blocks as in: {source}"
