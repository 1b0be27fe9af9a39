"""Where and with what a measurement ran, captured into ``records.Environment``.

A value that cannot be read is None, never a guess. Host and user names are not recorded.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from spion_bench.measure.checkout import read_checkout
from spion_bench.measure.gpu_watch import torch_uuid
from spion_bench.measure.machine import available_cores, cpu_model, load_average, machine_name
from spion_bench.measure.nvml import NvmlError, NvmlGpu
from spion_bench.native import library
from spion_bench.records import Environment

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
MOST_UNTRACKED = 20


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML or torch describes it; a field that could not be read is None."""

    name: str
    driver: str | None
    sm_clock_mhz: int | None


def _build(device: str) -> library.BuildInfo | None:
    """Return how the device's kernels were built; None if they cannot be.

    Dense baselines run on a GPU without them; SPION's methods raise the error themselves.
    """
    cpu = library.build_info()
    if device == "cpu":
        return cpu
    try:
        return library.build_info("cuda")
    except library.BuildError:
        return None


def capture(*, threads: int, device: str = "cpu") -> Environment:
    """Describe this machine and the software in use.

    Args:
        threads: Number of threads that the measured work uses.
        device: ``"cpu"`` or ``"cuda"``; the GPU is described for ``"cuda"`` only.
    """
    checkout = read_checkout(PACKAGE_ROOT)
    build = _build(device)
    gpu = probe_gpu() if device == "cuda" else None
    return Environment(
        machine=machine_name(),
        git_sha=checkout.sha,
        git_dirty=checkout.dirty,
        git_untracked=list(checkout.untracked[:MOST_UNTRACKED]),
        git_problem=checkout.problem,
        cpu=cpu_model(),
        cores=available_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        threads=threads,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        kernel_path=str(torch.ops.spion_bench.cpu_capability()),
        load_average=load_average(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch.__version__,
        compiler=build.compiler if build else None,
        compiler_flags=list(build.flags) if build else [],
        gpu=gpu.name if gpu else None,
        gpu_driver=gpu.driver if gpu else None,
        gpu_sm_clock_mhz=gpu.sm_clock_mhz if gpu else None,
    )


def probe_gpu(index: int = 0) -> Gpu | None:
    """Describe one NVIDIA GPU through NVML, or through torch where NVML is not available."""
    has_torch = torch.cuda.is_available()
    try:
        # NVML may number GPUs differently from torch.
        with NvmlGpu(torch_uuid(index) if has_torch else None) as gpu:
            name = gpu.name()
            if name is not None:
                return Gpu(name, gpu.driver(), gpu.sm_clock_mhz())
    except NvmlError:
        pass
    return Gpu(torch.cuda.get_device_name(index), None, None) if has_torch else None
