"""What a task's cell is about, made ready in its worker: data, settings, method, patterns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, UnsupportedError
from spion_bench.passes.gate.mask import check_own_mask
from spion_bench.passes.gate.oracle import GateResult, GateShape, check_attention
from spion_bench.passes.gate.properties import check_properties
from spion_bench.passes.synthetic import BAND_AND_STRIPES, band_and_stripes, block_budget
from spion_bench.records import MethodInfo, PatternInfo, TaskInfo
from spion_bench.records.artifacts import read_patterns
from spion_bench.run.messages import Job
from spion_bench.suite.methods import Method, attention_maker, find_method
from spion_bench.suite.plan import Cell
from spion_bench.suite.settings import TaskSettings, task_settings
from spion_bench.tasks import TaskData, load_task


class MissingDataError(RuntimeError):
    """The task's data is not there; the message says how to get it."""


@dataclass(frozen=True)
class Subject:
    """A cell's data, settings and method.

    Attributes:
        cell: The cell.
        task: Its data.
        settings: Its model, training and SPION settings.
        method: Its method.
        patterns: One pattern per layer for ``spion_*``, else None.
        pattern_source: Where the patterns came from.
        example: An instance of the method, for its capabilities and caveats.
    """

    cell: Cell
    task: TaskData
    settings: TaskSettings
    method: Method
    patterns: list[BlockPattern] | None
    pattern_source: str
    example: Attention

    @property
    def make_attention(self) -> Callable[[int], Attention]:
        """Build the method's attention with its patterns, layer by layer."""
        return attention_maker(self.method, self.settings.spion, self.patterns)

    @property
    def make_dense_attention(self) -> Callable[[int], Attention]:
        """Build the method's attention as training starts it: without patterns."""
        return attention_maker(self.method, self.settings.spion)

    def task_info(self) -> TaskInfo:
        """Describe the data for the record."""
        task, source = self.task, self.task.source
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

    def method_info(self) -> MethodInfo:
        """Describe the method for the record."""
        return MethodInfo(
            name=self.method.name,
            parameters={
                **self.method.parameters(self.settings.spion),
                **self.example.details(),
            },
            exact=self.example.capabilities.exact,
            caveats=list(self.example.caveats),
        )

    def pattern_info(self) -> PatternInfo | None:
        """Describe the patterns for the record; None for a method without."""
        if self.patterns is None:
            return None
        return describe_patterns(self.patterns, self.pattern_source)

    def check(self) -> GateResult:
        """Run the gate on the cell's shape, with every different pattern of the cell.

        A method with patterns is compared on them, another exact one on its own mask; one that is
        not exact has to show the properties that attention has. The errors are those of the layer
        that comes closest to what is allowed, or exceeds it most.
        """
        model, device = self.settings.model, self.cell.device
        shape = GateShape(model.heads, self.task.length, model.head_dim, model.mask_attention)
        forward_only = not self.example.capabilities.trains_on(device)
        if self.patterns is not None:
            results = [
                check_attention(
                    self.make_attention(layer),
                    shape,
                    self.patterns[layer],
                    self.settings.spion.pruned,
                    device=device,
                    forward_only=forward_only,
                )
                for layer in self._distinct_layers()
            ]
        else:
            check = check_own_mask if self.example.capabilities.exact else check_properties
            layers = range(model.layers if self.method.takes_layer else 1)
            results = [
                check(self.make_attention(layer), shape, device=device, forward_only=forward_only)
                for layer in layers
            ]
        reasons = [result.reason for result in results if result.reason]
        worst = max(results, key=lambda result: result.severity)
        return GateResult(worst.errors, "; ".join(reasons) or None)

    def _distinct_layers(self) -> list[int]:
        assert self.patterns is not None
        first = {pattern: layer for layer, pattern in reversed(list(enumerate(self.patterns)))}
        return sorted(first.values())


def prepare_subject(job: Job) -> Subject:
    """Load a cell's data, settings, method and patterns.

    Raises:
        UnsupportedError: If the method cannot run this cell on this machine.
        MissingDataError: If the task's data is not there.
        UsageError: If a setting is wrong.
    """
    cell = job.cell
    method = find_method(cell.method)
    settings = task_settings(cell)
    example = attention_maker(method, settings.spion)(0)
    check_support(cell, method, example, settings.model.max_length)
    assert cell.task is not None, "a task's cell names its task"
    try:
        data_dir = None if cell.data_dir is None else Path(cell.data_dir)
        task = load_task(cell.task, data_dir=data_dir, options=cell.options)
    except FileNotFoundError as error:
        raise MissingDataError(str(error)) from error
    patterns, source = _patterns(job, method, settings, task.length)
    return Subject(cell, task, settings, method, patterns, source, example)


def check_support(cell: Cell, method: Method, example: Attention, length: int) -> None:
    """Raise UnsupportedError if the method cannot run this cell on this machine."""
    can = example.capabilities
    if cell.device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError(f"no CUDA device is available to torch {torch.__version__}")
    if cell.device not in method.devices or cell.device not in can.devices:
        raise UnsupportedError(
            f"{method.name} does not run on {cell.device} in this version; it runs on "
            f"{', '.join(sorted(set(method.devices) & set(can.devices)))}"
            + (f"; {words}" if (words := example.refusal(cell.device)) else "")
        )
    if torch.float32 not in can.dtypes:
        raise UnsupportedError(f"{method.name} does not accept float32")
    if cell.pass_name not in ("gate", "steps"):  # these check the forward pass first
        check_training(cell, method, example)
    if length < can.min_length:
        raise UnsupportedError(
            f"{method.name} needs sequences of at least {can.min_length} tokens, got {length}"
        )


def check_training(cell: Cell, method: Method, example: Attention) -> None:
    """Raise UnsupportedError if the method cannot train on the cell's device."""
    if not example.capabilities.trains_on(cell.device):
        raise UnsupportedError(
            f"{method.name} has no backward pass on {cell.device} and cannot train there"
        )


def describe_patterns(patterns: list[BlockPattern], source: str) -> PatternInfo:
    """Describe one pattern per layer for the record."""
    return PatternInfo(
        source=source,
        block_size=patterns[0].block_size,
        length=patterns[0].length,
        nnzb=[pattern.nnzb for pattern in patterns],
        density=[pattern.density for pattern in patterns],
    )


def _patterns(
    job: Job, method: Method, settings: TaskSettings, length: int
) -> tuple[list[BlockPattern] | None, str]:
    """Return learned patterns if the job names any, else synthetic ones of the same budget."""
    if method.variant is None:
        return None, ""
    if job.pattern_artifact is not None:
        patterns = read_patterns(Path(job.pattern_artifact))
        return patterns, f"accuracy cell {job.pattern_cell}"
    spion = settings.spion
    budget = block_budget(
        method.variant,
        length // spion.block_size,
        quantile=spion.quantile,
        density=spion.density,
    )
    pattern = band_and_stripes(length, spion.block_size, budget)
    return [pattern] * settings.model.layers, f"synthetic {BAND_AND_STRIPES}"
