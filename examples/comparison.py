"""What the examples share: step times, the table at the end, and a picture of the patterns."""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt

from spion_bench.conversion.controller import SpionController


@dataclass
class Run:
    """What one training showed.

    Attributes:
        name: ``"dense"`` or ``"SPION"``.
        score: What was measured at the end, on data that was not trained on.
        step_s: Seconds of every step that attended as the run's end does.
    """

    name: str
    score: float = 0.0
    step_s: list[float] = field(default_factory=list)

    def timed(self, step: Callable[[], None], *, counts: bool) -> None:
        """Do a step; note its time if it ``counts``."""
        start = time.perf_counter()
        step()
        if counts:
            self.step_s.append(time.perf_counter() - start)


def show(score: str, dense: Run, sparse: Run, controller: SpionController, out: Path) -> None:
    """Print the comparison and draw the patterns into ``out``."""
    print(f"\n{'':8}{score:>12}  step, median")
    for run in (dense, sparse):
        print(f"{run.name:8}{run.score:12.3f}  {1e3 * statistics.median(run.step_s):8.1f} ms")
    for name, pattern in controller.patterns.items():
        print(
            f"{name}: {pattern.density:.1%} of the blocks, sparse from step "
            f"{controller.layer_steps[name]}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process, both runs: {peak:.0f} MiB")
    figure, axes = plt.subplots(1, len(controller.patterns), squeeze=False, figsize=(8, 4))
    for axis, (name, pattern) in zip(axes[0], controller.patterns.items(), strict=True):
        axis.imshow(pattern.to_mask(), cmap="gray_r", interpolation="nearest")
        axis.set(title=name, xlabel="key block", ylabel="query block")
    figure.tight_layout()
    figure.savefig(out)
    print(f"patterns: {out}")


def arguments(description: str, steps: int) -> argparse.Namespace:
    """Read ``--steps``, ``--data`` and ``--out`` from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="of each run; %(default)s")
    parser.add_argument("--data", type=Path, help="folder of downloaded data, if any")
    parser.add_argument("--out", type=Path, default=Path("patterns.png"), help="picture to write")
    return parser.parse_args()
