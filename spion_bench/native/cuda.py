"""What building the CUDA kernels takes: an nvcc that fits torch, and GPUs to compile for.

They are compiled for the GPUs that torch sees. Where it sees none, ``TORCH_CUDA_ARCH_LIST`` says
for which, in torch's notation: compute capabilities such as ``"8.0 9.0"``.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import torch
from torch.utils import cpp_extension

from spion_bench.native.build import CXX_FLAGS, Recipe
from spion_bench.native.error import BuildError

NVCC_FLAGS = ("-O3", "-std=c++20", "--expt-relaxed-constexpr", "-lineinfo")
MIN_CAPABILITY = (8, 0)  # of mma on bfloat16 and tf32, and of cp.async
ARCH_LIST = "TORCH_CUDA_ARCH_LIST"
_CAPABILITY = re.compile(r"(\d+)\.(\d)([af]?)(\+PTX)?")
_RELEASE = re.compile(r"release (\d+)\.(\d+)")
_TOP = re.compile(r"^#\$ TOP=(.+)$", re.MULTILINE)


def cuda_recipe() -> Recipe:
    """Return how to build ``csrc/cuda`` on this machine.

    Raises:
        BuildError: If torch has no CUDA, no nvcc of its CUDA's major version is found, or there is
            nothing to compile for; the message says how to change that.
    """
    toolkit, version = _toolkit()
    return Recipe(
        kernels="CUDA kernels",
        duration="several minutes",
        compiled=("common/*.cpp", "instances/*.cu"),
        included=("*.h", "*.cuh", "common/*.h", "common/*.cuh", "../*.h"),
        cxx_flags=(*CXX_FLAGS, "-DSPION_BENCH_CUDA"),  # bind.cpp is no CUDA source for the compiler
        cuda_flags=(*NVCC_FLAGS, *_code_flags()),
        cuda_version=version,
        toolkit=str(toolkit),
        hint=f"CUDA's headers and libraries were looked for in {toolkit}",
    )


def _toolkit() -> tuple[Path, str]:
    """Return the folder of a toolkit that fits torch, and the version of its nvcc."""
    if torch.version.cuda is None:
        raise BuildError(
            f"no CUDA kernels: torch {torch.__version__} is built without CUDA; "
            "install a CUDA build of torch or stay on the CPU"
        )
    wanted = f"the CUDA toolkit {torch.version.cuda} and set CUDA_HOME to its folder"
    # torch looks at CUDA_HOME, then for an nvcc on PATH, then in /usr/local/cuda.
    home = cpp_extension.CUDA_HOME
    nvcc = Path(home or "", "bin", "nvcc")
    if home is None or not nvcc.is_file():
        raise BuildError(
            f"no CUDA compiler: {nvcc if home else 'nvcc'} was not found; the CUDA kernels are "
            f"compiled on first use, so install {wanted}"
        )
    nvcc = nvcc.resolve()  # called by a link, nvcc does not find its own files
    version = _answer(nvcc, "--version")
    release = _RELEASE.search(version)
    if release is None:
        raise BuildError(f"CUDA compiler: `{nvcc} --version` names no release: {version}")
    if release[1] != torch.version.cuda.partition(".")[0]:
        raise BuildError(
            f"CUDA compiler: {nvcc} is from CUDA {release[1]}.{release[2]}, but torch "
            f"{torch.__version__} is built for CUDA {torch.version.cuda}; install {wanted}"
        )
    dry_run = _answer(nvcc, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull)
    return toolkit_root(dry_run), version


def _answer(nvcc: Path, *arguments: str) -> str:
    """Return what a call of nvcc prints."""
    done = subprocess.run([nvcc, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"CUDA compiler: `{nvcc} {' '.join(arguments)}` failed: {done.stderr}")
    return (done.stdout + done.stderr).strip()


def toolkit_root(dry_run: str) -> Path:
    """Return the toolkit that an nvcc belongs to, from what ``nvcc --dryrun`` prints.

    Where nvcc lies says little: it may be a script that calls another one.

    Raises:
        BuildError: If the text does not name it.
    """
    top = _TOP.search(dry_run)
    if top is None:
        raise BuildError(f"nvcc --dryrun: expected a line '#$ TOP=...', got {dry_run!r}")
    return Path(os.path.normpath(top[1].strip()))


def _code_flags() -> list[str]:
    """Return nvcc's ``-gencode`` flags: for the GPUs that torch sees, else for the listed ones."""
    gpus = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    if gpus:
        if max(gpus) < MIN_CAPABILITY:
            raise BuildError(
                f"GPU: expected compute capability 8.0 or newer, got {_dotted(max(gpus))}; "
                "stay on the CPU"
            )
        return [_gencode(f"{major}{minor}") for major, minor in sorted(gpus) if major >= 8]
    listed = os.environ.get(ARCH_LIST, "").replace(";", " ").split()
    if not listed:
        raise BuildError(
            f"no architecture to compile the CUDA kernels for: torch sees no GPU, and {ARCH_LIST} "
            f'is not set; set it to the compute capability of your GPU, e.g. {ARCH_LIST}="9.0"'
        )
    return [flag for word in listed for flag in _listed_flags(word)]


def _listed_flags(word: str) -> list[str]:
    match = _CAPABILITY.fullmatch(word)
    if match is None or (int(match[1]), int(match[2])) < MIN_CAPABILITY:
        raise BuildError(
            f"{ARCH_LIST}: expected compute capabilities from 8.0 on, such as 8.0, 9.0 or 9.0+PTX, "
            f"got {word!r}"
        )
    number = match[1] + match[2] + match[3]
    return [_gencode(number), *([_gencode(number, "compute")] if match[4] else [])]


def _gencode(number: str, kind: str = "sm") -> str:
    return f"-gencode=arch=compute_{number},code={kind}_{number}"


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
