"""``python -m tests.native.cuda_link [sm_90 ...]``: build, link and load the CUDA extension.

Needs a CUDA build of torch and nvcc, no GPU; a GPU that is there stays unused. In a cache folder of
its own one process builds the libraries, and another loads them and checks them:

- every operator that takes tensors has a CUDA kernel, and a CPU kernel still
- the CUDA kernels answer: given CPU tensors they refuse them by name
- a tensor on a GPU that is not there is one clear error

Prints how long the first build and the load from the cache took.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARCHITECTURE = "sm_90"
SCHEMAS = Path(__file__).resolve().parents[2] / "csrc" / "schema.cpp"
LOAD = "from spion_bench.native import library; library.load('cuda')"
CHECK = "import sys; from tests.native.cuda_link import check; sys.exit(check())"


def capability(architecture: str) -> str:
    """Return the compute capability of ``sm_90`` as ``TORCH_CUDA_ARCH_LIST`` writes it: 9.0."""
    match = re.fullmatch(r"sm_(\d+)(\d)([af]?)", architecture)
    if match is None:
        raise ValueError(f"architecture: expected sm_80, sm_90 or alike, got {architecture!r}")
    return f"{match[1]}.{match[2]}{match[3]}"


def operators(schemas: str) -> list[str]:
    """Return the operators of ``csrc/schema.cpp`` that take a tensor, which a device can have."""
    found: list[str] = re.findall(r'm\.def\(\s*"(\w+)\(Tensor', schemas)
    return found


def missing_kernels(names: list[str]) -> list[str]:
    """Return which operators lack a CPU or a CUDA kernel among the loaded libraries."""
    import torch

    return [
        f"{name}: no {device} kernel is registered"
        for name in names
        for device in ("CPU", "CUDA")
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"spion_bench::{name}", device)
    ]


def wrong_answers() -> list[str]:
    """Return what is wrong with the errors that a machine without a GPU gives."""
    import torch

    from spion_bench import BlockPattern, block_attention

    def without_gpu() -> None:
        q = torch.zeros(1, 1, 32, 32, device="cuda")
        block_attention(q, q, q, BlockPattern.full(32, 16).to("cuda"), pruned="minus_inf")

    def on_the_cpu() -> None:
        q, pattern = torch.zeros(1, 1, 32, 32), BlockPattern.full(32, 16)
        indices = (*pattern.index_tensors, pattern.block_size)
        kernel = torch.ops.spion_bench.block_attention_forward.default
        cuda = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
        kernel.redispatch(cuda, q, q, q, *indices, 1, False, True, None, 1.0, 0.0, 0)

    problems = []
    for call, expected in (
        (without_gpu, "No CUDA GPUs are available|no NVIDIA driver"),
        (on_the_cpu, "q: expected a CUDA tensor, got one on cpu"),
    ):
        try:
            call()
            answer = "no error"
        except RuntimeError as error:
            answer = str(error)
        print(f"{call.__name__}: {answer.splitlines()[0]}", flush=True)
        if not re.search(expected, answer):
            problems.append(f"{call.__name__}: expected an error with {expected!r}, got {answer}")
    return problems


def check() -> int:
    """Load the libraries from the cache and look at them; 0 if all is well."""
    import torch

    from spion_bench.native import library

    started = time.perf_counter()
    infos = [library.build_info("cpu"), library.build_info("cuda")]
    seconds = time.perf_counter() - started
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(
        f"first build: CPU kernels {infos[0].seconds:.0f} s, CUDA kernels {infos[1].seconds:.0f} s"
    )
    print(f"load from the cache: {seconds:.2f} s", flush=True)
    problems = [
        f"{info.path.name}: expected a cached library, got one that this process built"
        for info in infos
        if info.status != "cached"
    ]
    names = operators(SCHEMAS.read_text(encoding="utf-8"))
    problems += [*missing_kernels(names), *wrong_answers()]
    print("\n".join(problems))
    print(f"{len(names)} operators: {len(problems)} problems")
    return 1 if problems else 0


def main(arguments: list[str]) -> int:
    """Build in one process, check in another; 0 if all is well or there is no nvcc."""
    parser = argparse.ArgumentParser(description="Build, link and load the extension for CUDA.")
    parser.add_argument("architectures", nargs="*", default=[ARCHITECTURE], metavar="sm_NN")
    options = parser.parse_args(arguments)
    if shutil.which("nvcc") is None:
        print("skipped: no nvcc")
        return 0
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "TORCH_CUDA_ARCH_LIST": " ".join(map(capability, options.architectures)),
            "CUDA_VISIBLE_DEVICES": "",
            "SPION_BENCH_CACHE": cache,
        }
        for code in (
            LOAD,
            CHECK,
        ):
            done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
            if done.returncode != 0:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
