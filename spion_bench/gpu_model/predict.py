"""Floors and expected times of attention on GPUs: modelled, not measured.

A *floor* is what no run can beat as long as the counts of ``work`` and the published peaks of
``devices`` hold: per launch the slowest of device memory, second cache, tensor cores and
exponentials, each at its full peak; and never less than the launches take. An *expected* time
replaces the peaks by shares of them that kernels reach, and adds instruction issue, published rates
of dense attention, and a fixed cost per launch. ``docs/gpu_model.md`` explains both, and what would
prove them wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from spion_bench.gpu_model.devices import HALF, ISSUE_PER_CLOCK_SM, Gpu, Precision
from spion_bench.gpu_model.work import WORK, Launch, check_shape
from spion_bench.records import KernelShape

LABEL = "modelled, not measured"
METHODS = ("dense_sdpa", "pipeline", "block_attention")
PASSES = ("forward", "backward")
Pass = Literal["forward", "backward"]

# What the expected time assumes.
HBM_SHARE = 0.85
TENSOR_SHARE = 0.7
INSTRUCTIONS_PER_CLOCK_SM = 2.5
LAUNCH_S = 5e-6  # start, ramp and end of a launch
# What the floor assumes: launches that a stream starts one after the other are this far apart.
LAUNCH_FLOOR_S = 2e-6

# How far off the expected time may be.
CLEAR_ERROR = 0.30  # one limit is clearly the slowest
DENSE_ERROR = 0.25  # a published rate, extrapolated
TIE_FACTOR = 2.0  # the two slowest limits are within TIE of each other
TIE = 0.8

# (pass, precision, block size) -> thread blocks of the fused kernel that one SM of each
# architecture holds at D = 32 without dropout. From the registers in csrc/cuda/resources.toml and
# the kernels' shared memory; a test computes them again.
RESIDENT_BLOCKS = {
    ("forward", "16bit", 32): {"sm_80": 14, "sm_90": 15},
    ("forward", "16bit", 64): {"sm_80": 6, "sm_90": 6},
    ("forward", "tf32", 32): {"sm_80": 7, "sm_90": 10},
    ("forward", "tf32", 64): {"sm_80": 4, "sm_90": 5},
    ("forward", "3xtf32", 32): {"sm_80": 7, "sm_90": 10},
    ("forward", "3xtf32", 64): {"sm_80": 4, "sm_90": 4},
    ("backward", "16bit", 32): {"sm_80": 8, "sm_90": 8},
    ("backward", "16bit", 64): {"sm_80": 4, "sm_90": 4},
    ("backward", "tf32", 32): {"sm_80": 6, "sm_90": 8},
    ("backward", "tf32", 64): {"sm_80": 3, "sm_90": 4},
    ("backward", "3xtf32", 32): {"sm_80": 6, "sm_90": 8},
    ("backward", "3xtf32", 64): {"sm_80": 3, "sm_90": 4},
}


@dataclass(frozen=True)
class Prediction:
    """The model's answer for one pass of one method; times in seconds.

    Attributes:
        launches: The work, launch by launch.
        floors: Each limit on its own, summed over the launches.
        floor_s: The floor of the pass.
        floor_limit: The limit that takes most of it.
        expected_s: The expected time.
        expected_limit: The limit that takes most of it.
        low_s: Lower end of where a measurement may be without contradicting the model.
        high_s: Upper end.
        waves: How often the main launch fills the GPU with thread blocks; None if it is unknown.
    """

    launches: tuple[Launch, ...]
    floors: dict[str, float]
    floor_s: float
    floor_limit: str
    expected_s: float
    expected_limit: str
    low_s: float
    high_s: float
    waves: float | None

    @property
    def n_launches(self) -> int:
        """Number of launches."""
        return sum(launch.count for launch in self.launches)

    @property
    def idle_tail(self) -> float | None:
        """Share of thread-block slots that stay empty because the last wave is not full."""
        return None if self.waves is None else 1 - self.waves / math.ceil(self.waves)


def predict(
    gpu: Gpu, method: str, pass_: str, precision: Precision, shape: KernelShape
) -> Prediction:
    """Model one pass of one method.

    Args:
        gpu: One of ``devices.GPUS``.
        method: One of ``METHODS``: ``dense_sdpa`` is FlashAttention-2, ``block_attention`` the
            fused operator.
        pass_: ``"forward"`` or ``"backward"``.
        precision: One of ``devices.PRECISIONS``.
        shape: The attention of one layer.

    Raises:
        ValueError: If the method or the pass is not modelled, or there is no such shape.
    """
    if (method, pass_) not in WORK:
        known = ", ".join(f"{m} {p}" for m, p in WORK)
        raise ValueError(f"method, pass_: expected one of {known}, got {method} {pass_}")
    check_shape(shape)
    launches = WORK[method, pass_](shape, precision)
    floor_terms = [_floor_terms(gpu, launch, precision) for launch in launches]
    floors = _summed(floor_terms) | {"launches": LAUNCH_FLOOR_S * sum(x.count for x in launches)}
    work_s = sum(max(terms.values()) for terms in floor_terms)
    floor_s = max(work_s, floors["launches"])
    expected_terms = [_expected_terms(gpu, launch, precision, pass_) for launch in launches]
    starts = LAUNCH_S * sum(launch.count for launch in launches)
    expected_work_s = sum(max(terms.values()) for terms in expected_terms)
    ranges = [_range(terms, precision) for terms in expected_terms]
    return Prediction(
        launches=launches,
        floors=floors,
        floor_s=floor_s,
        floor_limit=_slowest(floor_terms) if work_s >= floors["launches"] else "launches",
        expected_s=expected_work_s + starts,
        expected_limit=_slowest(expected_terms) if expected_work_s >= starts else "launches",
        low_s=max(floor_s, sum(low for low, _ in ranges) + floors["launches"]),
        high_s=sum(high for _, high in ranges) + starts,
        waves=_waves(gpu, method, pass_, precision, shape),
    )


def _floor_terms(gpu: Gpu, launch: Launch, precision: Precision) -> dict[str, float]:
    """Return the time that each limit alone would take at its peak."""
    tensor_rate = gpu.half_flops_s * precision.relative_rate
    return {
        "HBM": launch.hbm_bytes / gpu.hbm_bytes_s,
        "L2": launch.l2_bytes / gpu.l2_bytes_s,
        "tensor cores": launch.flops * precision.products / tensor_rate,
        "exponentials": launch.exps / gpu.exps_s,
    }


def _expected_terms(gpu: Gpu, launch: Launch, precision: Precision, pass_: str) -> dict[str, float]:
    """Return the time that each limit alone is expected to take."""
    peak = _floor_terms(gpu, launch, precision)
    issue_rate = gpu.issue_s * INSTRUCTIONS_PER_CLOCK_SM / ISSUE_PER_CLOCK_SM
    dense_s = gpu.dense_forward_s if pass_ == "forward" else gpu.dense_backward_s
    return peak | {
        "HBM": peak["HBM"] / HBM_SHARE,
        "tensor cores": peak["tensor cores"] / (TENSOR_SHARE * gpu.mma_sync_share),
        "instructions": launch.instructions / issue_rate,
        "dense rate": launch.dense_scores * dense_s,
    }


def _range(terms: dict[str, float], precision: Precision) -> tuple[float, float]:
    """Return between which times a launch may lie, without its fixed cost."""
    second, first = sorted(terms.values())[-2:]
    if terms["dense rate"] and precision is HALF:
        return first * (1 - DENSE_ERROR), first * (1 + DENSE_ERROR)
    # Dense rates are published for 16-bit floats only.
    if terms["dense rate"] or second > TIE * first:
        return first / TIE_FACTOR, first * TIE_FACTOR
    return first * (1 - CLEAR_ERROR), first * (1 + CLEAR_ERROR)


def _summed(terms: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(launch[name] for launch in terms) for name in terms[0]}


def _slowest(terms: list[dict[str, float]]) -> str:
    """Return the limit that the launches together wait for longest."""
    waits: dict[str, float] = {}
    for launch in terms:
        name = max(launch, key=launch.__getitem__)
        waits[name] = waits.get(name, 0.0) + launch[name]
    return max(waits, key=waits.__getitem__)


def _waves(
    gpu: Gpu, method: str, pass_: str, precision: Precision, shape: KernelShape
) -> float | None:
    """Return how often the fused kernel's thread blocks fill the GPU."""
    resident = RESIDENT_BLOCKS.get((pass_, precision.name, shape.block_size))
    if method != "block_attention" or shape.head_dim != 32 or resident is None:
        return None
    per_head = shape.nb * (1 if pass_ == "forward" else 2)  # backward: rows and columns
    return shape.batch * shape.heads * per_head / (resident[gpu.arch] * gpu.sms)
