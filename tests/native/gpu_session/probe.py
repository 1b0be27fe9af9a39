"""``python -m tests.native.gpu_session.probe``: what the machine reaches, measured once, as JSON.

The ceilings that a kernel's time is held against: a copy of memory far larger than L2, large matrix
products on random data; and dense attention by each of torch's backends, because what
``scaled_dot_product_attention`` picks by itself need not be the fastest. Times are medians by the
suite's own timer, with L2 cleared before each sample.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from spion_bench.measure.clock import sample_ms
from spion_bench.measure.cuda_clock import CudaTimer

SHAPE = (32, 2, 4096, 32)  # B, H, L, D of the retrieval task's attention
BACKENDS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
)


class Probe:
    """Measures and collects; a measurement that fails is noted in its place."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.found: dict[str, Any] = {"torch": torch.__version__}
        self._timer = CudaTimer() if device == "cuda" else None

    def median_ms(self, name: str, call: Callable[[], object]) -> float:
        if self._timer is None:
            return statistics.median(sample_ms(call, seconds=0.0, min_samples=3))
        self._timer.warm_up(call, seconds=0.2, setup=None)
        options = {"l2": "cold", "seconds": 0.2, "min_samples": 10}
        return statistics.median(self._timer.sample_ms(name, call, **options))

    def note(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        try:
            self.found[name] = measure()
        except Exception as error:  # the next measurement may still work
            self.found[name] = {"failed": str(error).strip().partition("\n")[0][:200]}
        print(name, self.found[name], flush=True)

    def host_bound(self) -> list[str]:
        return sorted(self._timer.host_bound) if self._timer else []


def copy(probe: Probe) -> dict[str, Any]:
    n_bytes = 2**32 if probe.device == "cuda" else 2**26
    source = torch.rand(n_bytes // 4, device=probe.device)
    target = torch.empty_like(source)
    ms = probe.median_ms("copy", lambda: target.copy_(source))
    return {"ms": ms, "gb_s": 2 * n_bytes / ms / 1e6}


def product(probe: Probe, dtype: torch.dtype, precision: str) -> dict[str, Any]:
    side = 8192 if probe.device == "cuda" else 256
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(side, side, device=probe.device).to(dtype) for _ in "ab")
    ms = probe.median_ms("product", lambda: a @ b)
    torch.set_float32_matmul_precision("highest")
    return {"ms": ms, "tflop_s": 2 * side**3 / ms / 1e9}


def dense(probe: Probe, dtype: torch.dtype, backend: SDPBackend | None) -> dict[str, Any]:
    shape = SHAPE if probe.device == "cuda" else (1, 2, 256, 32)
    batch, heads, length, width = shape
    draw = lambda: torch.randn(batch, length, heads, width, device=probe.device).to(dtype)  # noqa: E731
    q, k, v, dout = (draw().transpose(1, 2) for _ in range(4))
    q, k, v = (x.requires_grad_() for x in (q, k, v))

    def step() -> object:
        out = F.scaled_dot_product_attention(q, k, v)
        return torch.autograd.grad(out, (q, k, v), dout)

    if backend is None:
        chosen = SDPBackend(torch._fused_sdp_choice(q, k, v)).name
        return {"chosen": chosen, "forward_backward_ms": probe.median_ms("dense", step)}
    with sdpa_kernel(backend):
        return {"forward_backward_ms": probe.median_ms(backend.name, step)}


def main(device: str, file: Path) -> None:
    probe = Probe(device)
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        probe.found["device"] = {
            "name": about.name,
            "sms": about.multi_processor_count,
            "l2_bytes": about.L2_cache_size,
            "memory_bytes": about.total_memory,
            "capability": f"{about.major}.{about.minor}",
        }
        print("device", probe.found["device"], flush=True)
    probe.note("copy", lambda: copy(probe))
    for name, dtype, precision in (
        ("product_bfloat16", torch.bfloat16, "highest"),
        ("product_tf32", torch.float32, "high"),
        ("product_float32", torch.float32, "highest"),
    ):
        probe.note(name, lambda d=dtype, p=precision: product(probe, d, p))
    for dtype in (torch.float16, torch.float32):
        short = str(dtype).removeprefix("torch.")
        probe.note(f"dense_{short}", lambda d=dtype: dense(probe, d, None))
        for backend in BACKENDS:
            name = f"dense_{short}_{backend.name.lower()}"
            probe.note(name, lambda d=dtype, b=backend: dense(probe, d, b))
    probe.found["host_bound"] = probe.host_bound()
    file.write_text(json.dumps(probe.found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(os.environ["GPU_SESSION_DEVICE"], Path(os.environ["GPU_SESSION_OUT"]) / "probe.json")
