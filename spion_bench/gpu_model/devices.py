"""Published figures of GPUs and number formats that ``gpu_model`` computes with; nothing measured.

Every figure says where it is from. Two are assumptions, because no published figure is known; they
are named in ``Gpu.assumptions``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MUFU_PER_CLOCK_SM = 16
"""Exponentials per clock and SM on compute capability 8.0 and 9.0 (CUDA C++ Programming Guide,
table of arithmetic throughput, 32-bit special functions)."""

ISSUE_PER_CLOCK_SM = 4
"""Warp instructions per clock and SM: four schedulers (NVIDIA A100 and H100 whitepapers)."""


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: What tables call it.
        product: The product that the figures belong to.
        driver_name: What NVIDIA's driver calls that product.
        arch: The architecture that kernels are compiled for.
        sms: Streaming multiprocessors.
        clock_hz: The boost clock that the vendor's tensor-core peaks are stated at.
        half_flops_clock_sm: Tensor-core operations per clock and SM, float16 or bfloat16 with
            float32 sums, without sparsity; TF32 does half as many.
        hbm_bytes_s: Bandwidth of the device memory.
        l2_bytes: Size of the second cache.
        l2_bytes_clock: Bytes per clock from the second cache to all SMs.
        mma_sync_share: Share of the tensor-core peak that ``mma.sync`` instructions reach, the only
            ones that the modelled kernels use.
        dense_forward_s: Seconds per score of dense FlashAttention-2, D = 32, 16-bit.
        dense_backward_s: The same, backward.
        source: Where the figures are from.
        assumptions: Which of them are not from there.
    """

    name: str
    product: str
    driver_name: str
    arch: str
    sms: int
    clock_hz: float
    half_flops_clock_sm: int
    hbm_bytes_s: float
    l2_bytes: float
    l2_bytes_clock: int
    mma_sync_share: float
    dense_forward_s: float
    dense_backward_s: float
    source: str
    assumptions: tuple[str, ...]

    @property
    def half_flops_s(self) -> float:
        """Peak tensor-core rate of 16-bit floats in FLOP/s."""
        return self.sms * self.clock_hz * self.half_flops_clock_sm

    @property
    def exps_s(self) -> float:
        """Exponentials per second."""
        return self.sms * self.clock_hz * MUFU_PER_CLOCK_SM

    @property
    def issue_s(self) -> float:
        """Warp instructions per second at most."""
        return self.sms * self.clock_hz * ISSUE_PER_CLOCK_SM

    @property
    def l2_bytes_s(self) -> float:
        """Bandwidth of the second cache."""
        return self.l2_bytes_clock * self.clock_hz


@dataclass(frozen=True)
class Precision:
    """How the products of a kernel are computed.

    Attributes:
        name: What commands call it.
        label: What tables call it.
        element_bytes: Bytes of a stored element.
        products: Tensor-core products per product of the formula: three for 3xTF32, which splits
            each float32 into two TF32 halves.
        relative_rate: Tensor-core rate over that of 16-bit floats.
        mma_per_half_mma: Tensor-core instructions per instruction of the 16-bit kernel: an
            m16n8k8 of TF32 does half the work of an m16n8k16.
    """

    name: str
    label: str
    element_bytes: int
    products: int
    relative_rate: float
    mma_per_half_mma: int


_FIGURES: dict[str, tuple[Any, Any]] = {
    "name": ("A100", "H100"),
    "product": ("A100-SXM4-80GB", "H100-SXM5-80GB"),
    "driver_name": ("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"),
    "arch": ("sm_80", "sm_90"),
    "sms": (108, 132),
    "clock_hz": (1.41e9, 1.83e9),
    "half_flops_clock_sm": (2048, 4096),
    "hbm_bytes_s": (2.039e12, 3.35e12),
    "l2_bytes": (40e6, 50e6),
    "l2_bytes_clock": (5120, 5120),
    "mma_sync_share": (1.0, 0.62),
    "dense_forward_s": (0.88e-12, 0.51e-12),
    "dense_backward_s": (2.72e-12, 1.59e-12),
    "source": (
        "NVIDIA A100 80GB datasheet (312 TFLOP/s, 2039 GB/s); NVIDIA A100 Tensor Core GPU "
        "Architecture whitepaper (SMs, clock, L2 of 40 MB and 5120 bytes per clock)",
        "NVIDIA H100 datasheet (989 TFLOP/s without sparsity, 3.35 TB/s); NVIDIA H100 Tensor "
        "Core GPU Architecture whitepaper (SMs, clock of the tensor-core peaks, L2 of 50 MB)",
    ),
    "assumptions": (
        (
            "dense: 0.88 ps per score forward and 3.6 ps forward and backward, extrapolated "
            "linearly to D = 32 from the charts for D = 64 and 128 in FlashAttention-2's README "
            "and paper",
        ),
        (
            "L2: no bandwidth is published; taken as 5120 bytes per clock, as on the A100",
            "mma.sync: 62 % of the peak, recalled from arXiv:2402.13499, not read again",
            "dense: 2.1 ps per score forward and backward, extrapolated as for the A100 and split "
            "between the passes as there",
        ),
    ),
}
A100, H100 = (
    Gpu(**dict(zip(_FIGURES, column, strict=True)))
    for column in zip(*_FIGURES.values(), strict=True)
)
GPUS = {gpu.name: gpu for gpu in (A100, H100)}
DRIVER_NAMES = {gpu.driver_name: gpu for gpu in GPUS.values()}

HALF = Precision("16bit", "float16 or bfloat16", 2, 1, 1.0, 1)
TF32 = Precision("tf32", "float32 as TF32", 4, 1, 0.5, 2)
TF32X3 = Precision("3xtf32", "float32 as 3xTF32", 4, 3, 0.5, 6)
PRECISIONS = {precision.name: precision for precision in (HALF, TF32, TF32X3)}
