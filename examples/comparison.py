"""What the examples share: a model is trained densely, then with SPION; a table and a picture."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from spion_bench.conversion.controller import SpionController
from spion_bench.measure.memory import (
    CpuPeakMeter,
    clear_refs_problem,
    release_free_heap,
    resident_bytes,
)
from spion_bench.tasks.task import Split, TaskData

BATCH = 8


@dataclass(frozen=True)
class Example:
    """One model and its data.

    Attributes:
        score: What ``test`` returns, for the table.
        make: Makes the model.
        convert: Calls ``sparsify`` for a training of so many steps.
        loss: Draws a batch and returns its loss.
        test: Returns the model's score on data that it was not trained on.
        learning_rate: Of AdamW.
    """

    score: str
    make: Callable[[], nn.Module]
    convert: Callable[[nn.Module, int], SpionController]
    loss: Callable[[nn.Module, torch.Generator], Tensor]
    test: Callable[[nn.Module], float]
    learning_rate: float = 1e-3


def classifier(
    make: Callable[[], nn.Module],
    convert: Callable[[nn.Module, int], SpionController],
    data: TaskData,
    batch_of: Callable[[Split, Any], dict[str, Tensor]],
    *,
    tested: int,
) -> Example:
    """Return a Hugging Face classifier's example, tested on so many rows of ``data``.

    ``batch_of`` makes what the model is called with, labels included, from rows of a split.
    """

    def loss(model: nn.Module, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(data.train), (BATCH,), generator=generator).numpy()
        found: Tensor = model(**batch_of(data.train, rows)).loss
        return found

    def accuracy(model: nn.Module) -> float:
        batches = [batch_of(data.test, slice(i, i + 50)) for i in range(0, tested, 50)]
        right = [(model(**batch).logits.argmax(1) == batch["labels"]).float() for batch in batches]
        return float(torch.cat(right).mean())

    return Example("accuracy", make, convert, loss, accuracy)


@dataclass
class Run:
    """What one training showed; times and memory are of the steps that attend as its end does."""

    score: float = 0.0
    step_s: list[float] = field(default_factory=list)
    step_mib: float | None = None


def train(example: Example, steps: int, *, sparse: bool) -> tuple[Run, SpionController | None]:
    """Train a new model; all that SPION adds to the loop is its controller's ``step()``."""
    torch.manual_seed(0)
    model, run, meter = example.make(), Run(), None
    controller = example.convert(model, steps) if sparse else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=example.learning_rate)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        counts = controller is None or controller.phase == "sparse"
        if counts and run.step_s and meter is None:  # the first step also makes the optimiser
            meter = started_meter()
        start = time.perf_counter()
        optimizer.zero_grad()
        example.loss(model, generator).backward()
        optimizer.step()
        if counts:
            run.step_s.append(time.perf_counter() - start)
        if controller is not None:
            controller.step()
    run.step_mib = None if meter is None else meter.peak_bytes() / 2**20
    model.eval()
    with torch.no_grad():
        run.score = example.test(model)
    return run, controller


def started_meter() -> CpuPeakMeter | None:
    """Measure from now on what is needed beyond what is held now, if this system says it."""
    if clear_refs_problem() is not None:
        return None
    release_free_heap()
    meter = CpuPeakMeter(resident_bytes())
    meter.reset()
    return meter


def compare(example: Example, options: argparse.Namespace) -> None:
    """Train both ways, print the comparison and draw the patterns."""
    dense, _ = train(example, options.steps, sparse=False)
    sparse, controller = train(example, options.steps, sparse=True)
    assert controller is not None
    print(f"\n{'':8}{example.score:>10}   step, median   memory of a step")
    for name, run in (("dense", dense), ("SPION", sparse)):
        memory = "not measured" if run.step_mib is None else f"{run.step_mib:.0f} MiB"
        median = 1e3 * statistics.median(run.step_s)
        print(f"{name:8}{run.score:10.3f}   {median:9.1f} ms   {memory:>16}")
    draw(controller, options.out)


def draw(controller: SpionController, out: Path) -> None:
    """Draw every layer's pattern."""
    figure, axes = plt.subplots(1, len(controller.patterns), squeeze=False, figsize=(8, 4))
    for axis, (name, pattern) in zip(axes[0], controller.patterns.items(), strict=True):
        step = controller.layer_steps[name]
        print(f"{name}: {pattern.density:.1%} of the blocks, sparse from step {step}")
        axis.imshow(pattern.to_mask(), cmap="gray_r", interpolation="nearest")
        axis.set(title=name, xlabel="key block", ylabel="query block")
    figure.tight_layout()
    figure.savefig(out)
    print(f"patterns: {out}")


def arguments(description: str, *, steps: int, length: int | None = None) -> argparse.Namespace:
    """Read ``--steps``, ``--data``, ``--out`` and, where it can be chosen, ``--length``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="of each run; %(default)s")
    parser.add_argument("--data", type=Path, help="folder of downloaded data, if any")
    parser.add_argument("--out", type=Path, default=Path("patterns.png"), help="picture to write")
    if length is not None:
        parser.add_argument("--length", type=int, default=length, help="tokens; %(default)s")
    return parser.parse_args()
