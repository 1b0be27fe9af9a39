"""The breakdown pass: where the time of a training step goes, by torch's profiler.

Each operator of the forward pass belongs to the module that ran it, and each of the backward pass
to that of its forward operator, which autograd's sequence numbers name. What belongs to no part
(dropout, residual sums, the loss, the head, clipping) is ``other``, so the parts add up to a step.
The profiler itself makes a step slower, so only shares are comparable with other passes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from spion_bench.model.attention import Attention
from spion_bench.model.encoder import EncoderLayer
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.passes.task_session import TaskSession
from spion_bench.records import Measurement
from spion_bench.suite.metrics import PARTS, part_metric, sampled

PROFILED_STEPS = 5
PREFIX = "part of a step: "
BACKWARD = "autograd::engine::evaluate_function: "
OPTIMISER = "Optimizer.step#"
FEED_FORWARD_OPERATORS = ("aten::gelu",)  # between two modules


class BreakdownSession(TaskSession):
    """A method made ready on a task."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._step = TrainingStep(self._subject)
        self._samples: dict[str, list[float]] = {part: [] for part in PARTS}

    def measure(self) -> None:
        """Profile some steps, after one to warm up."""
        self._step.run()
        with _parts_named(self._step.model):
            for _ in range(PROFILED_STEPS):
                for part, ms in profiled(self._step).items():
                    self._samples[part].append(ms)

    def result(self) -> Measurement:
        """Return the milliseconds of every part."""
        metrics = {
            part_metric(part): sampled(part_metric(part), samples)
            for part, samples in self._samples.items()
        }
        return self.describe().model_copy(update={"metrics": metrics})


def profiled(step: TrainingStep) -> dict[str, float]:
    """Run one step under the profiler and return the milliseconds of each part.

    On a GPU they are those of its kernels, and ``other`` holds what the GPU waited as well.
    """
    on_gpu = next(step.model.parameters()).device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as run:
        start = time.perf_counter()
        step.run()
        total = (time.perf_counter() - start) * 1e3
    return parts_of(run.events(), total, on_gpu=on_gpu)


def parts_of(events: Any, total: float, *, on_gpu: bool = False) -> dict[str, float]:
    """Return the milliseconds of each part of a step that took ``total``, from its events."""
    found = dict.fromkeys(PARTS, 0.0)
    part_of_sequence: dict[int, str] = {}
    ordered = sorted(events, key=lambda event: event.time_range.start)
    for event in ordered:
        # An operator that records nothing has the number of the next one that does, which comes
        # later and replaces it.
        if event.sequence_nr >= 0 and not event.name.startswith(BACKWARD):
            part_of_sequence[event.sequence_nr] = _part_around(event)
    for event in ordered:
        ms = (event.device_time_total if on_gpu else event.cpu_time_total) / 1e3
        if event.name.startswith(PREFIX):
            found[event.name.removeprefix(PREFIX)] += ms
        elif event.name.startswith(OPTIMISER):
            found["optimiser"] += ms
        elif event.name.startswith(BACKWARD):
            found[part_of_sequence.get(event.sequence_nr, "other")] += ms
        elif event.name in FEED_FORWARD_OPERATORS and _part_around(event) == "feed_forward":
            found["feed_forward"] += ms
    found["other"] = max(0.0, total - sum(ms for part, ms in found.items() if part != "other"))
    return found


def _part_around(event: Any) -> str:
    """Return the part in which an operator of the forward pass ran."""
    if event.name in FEED_FORWARD_OPERATORS:
        return "feed_forward"
    while event is not None:
        if event.name.startswith(PREFIX):
            return str(event.name).removeprefix(PREFIX)
        event = event.cpu_parent
    return "other"


@contextmanager
def _parts_named(model: nn.Module) -> Iterator[None]:
    """Let the profiler name the part that each module of the model is."""
    open_ranges: list[record_function] = []

    def enter(part: str) -> Any:
        def hook(*_: object) -> None:
            open_ranges.append(record_function(PREFIX + part))
            open_ranges[-1].__enter__()  # type: ignore[no-untyped-call]

        return hook

    def leave(*_: object) -> None:
        open_ranges.pop().__exit__(None, None, None)

    handles = []
    for module, part in _parts(model):
        handles.append(module.register_forward_pre_hook(enter(part)))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _parts(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield the modules that are parts of a step; none lies within another."""
    inside = {
        id(part)
        for module in model.modules()
        if isinstance(module, Attention)
        for part in module.modules()
        if part is not module
    }
    for module in model.modules():
        if id(module) in inside:
            continue
        if isinstance(module, Attention):
            yield module, "attention"
        elif isinstance(module, nn.LayerNorm):
            yield module, "norms"
        elif isinstance(module, nn.Embedding):
            yield module, "embedding"
        elif isinstance(module, EncoderLayer):
            for name, child in module.named_children():
                if isinstance(child, nn.Linear):
                    yield child, "feed_forward" if name.startswith("feed") else "projections"
