"""The names, units and directions of every metric, and how to make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from spion_bench.records import Metric
from spion_bench.records.statistics import interval_kind, median_with_interval


@dataclass(frozen=True)
class Kind:
    """What a metric's number means."""

    unit: str
    lower_is_better: bool = True
    modelled: bool = False


_TIME_MS = Kind("ms")
_MODELLED_MS = Kind("ms", modelled=True)
_TIME_S = Kind("s")
_BYTES = Kind("bytes")

PARTS = (
    *("attention", "projections", "feed_forward", "norms", "embedding", "optimiser"),
    "other",
)
"""The parts of a training step."""


def part_metric(part: str) -> str:
    """Return the name of the metric that holds the time of a part of a step."""
    return f"step_{part}_ms"


KINDS: dict[str, Kind] = {
    **{part_metric(part): _TIME_MS for part in PARTS},
    "test_accuracy": Kind("ratio", lower_is_better=False),
    "dev_accuracy": Kind("ratio", lower_is_better=False),
    "final_train_loss": Kind("nat"),
    "dense_wall_s": _TIME_S,
    "pattern_wall_s": _TIME_S,
    "sparse_wall_s": _TIME_S,
    "total_wall_s": _TIME_S,
    "dense_peak_bytes": _BYTES,
    "pattern_peak_bytes": _BYTES,
    "sparse_peak_bytes": _BYTES,
    "dense_step_ms": _TIME_MS,
    "sparse_step_ms": _TIME_MS,
    "train_step_ms": _TIME_MS,
    "forward_ms": _TIME_MS,
    "compile_s": _TIME_S,
    "attention_ms": _TIME_MS,
    "attention_flops_per_step": Kind("FLOP", modelled=True),
    "train_step_peak_bytes": _BYTES,
    "process_peak_bytes": _BYTES,
    "step_joules": Kind("J"),
    "sequence_joules": Kind("J"),
    "step_dram_joules": Kind("J"),
    "power_w": Kind("W"),
    "parameters": Kind("count"),
    "model_bytes": _BYTES,
    "forward_backward_ms": _TIME_MS,
    "backward_ms": _TIME_MS,
    "forward_warm_ms": _TIME_MS,
    "backward_warm_ms": _TIME_MS,
    "forward_expected_ms": _MODELLED_MS,
    "backward_expected_ms": _MODELLED_MS,
    "forward_floor_ms": _MODELLED_MS,
    "backward_floor_ms": _MODELLED_MS,
    "flops_rate_gflops": Kind("GFLOP/s", lower_is_better=False),
    "forward_rate_gflops": Kind("GFLOP/s", lower_is_better=False),
    "matmul_ms": _TIME_MS,
    "copy_ms": _TIME_MS,
    "bandwidth": Kind("GB/s", lower_is_better=False),
    "forward_backward_peak_bytes": _BYTES,
    "workspace_bytes": _BYTES,
    "pattern_from_qk_ms": _TIME_MS,
    "generate_pattern_ms": _TIME_MS,
    "walk_ms": _TIME_MS,
}


def single(
    name: str, value: float, *, low: float | None = None, high: float | None = None
) -> Metric:
    """Return the metric ``name`` with one value, and bounds where they are known."""
    return Metric(value=value, low=low, high=high, **asdict(KINDS[name]))


def sampled(name: str, samples: Sequence[float], round_sizes: Sequence[int] = ()) -> Metric:
    """Return the metric ``name`` with all samples, their median and its interval.

    Args:
        name: Its name.
        samples: At least one.
        round_sizes: How many of them each round took, for a metric that is taken in rounds.
    """
    median, low, high = median_with_interval(samples)
    return Metric(
        value=median,
        samples=list(samples),
        round_sizes=list(round_sizes),
        low=low,
        high=high,
        interval=None if low is None else interval_kind(len(samples)),
        **asdict(KINDS[name]),
    )
