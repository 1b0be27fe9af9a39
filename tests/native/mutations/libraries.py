"""The libraries that tests may be run on: what is compiled, and with what flags.

A library goes where the project's own loader looks for it, however it was compiled, so that tests
need not know. Those for mutations are compiled again and again: they are not optimised, and hold
float16 alone, except for what exists in float32 only; all else is instances of the same templates.
"""

import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from spion_bench.native import build as builder
from spion_bench.native.library import CPU, EMULATED, EMULATED_RECIPE
from tests.native.sanitize import LANGUAGE_FLAGS, SANITIZERS


def no_environment() -> dict[str, str]:
    return {}


def sanitizer_environment() -> dict[str, str]:
    """Return what Python has to be started with to load a library with AddressSanitizer.

    Its runtime has to come before everything else, and with it the C++ library, whose `throw` it
    replaces. The emulator's misuse messages end in SIGABRT; so shall the sanitizers'.

    Raises:
        RuntimeError: If the compiler has no such runtime.
    """
    return {
        "LD_PRELOAD": " ".join(runtime(name) for name in ("libasan.so", "libstdc++.so")),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",  # Python's own leaks are many
        "UBSAN_OPTIONS": "print_stacktrace=1:abort_on_error=1",
    }


def runtime(name: str) -> str:
    """Return the path of one of the compiler's own shared libraries."""
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    answer = subprocess.check_output([*compiler, f"-print-file-name={name}"], text=True).strip()
    if not Path(answer).is_file():
        raise RuntimeError(
            f"{shlex.join(compiler)} has no {name}; set CXX to a g++ with sanitizers"
        )
    return answer


@dataclass(frozen=True)
class Compilation:
    """One library, compiled in one way.

    Attributes:
        name: What the loader calls it.
        wanted: The recipe under whose key the loader looks for it.
        compiled: The recipe that is compiled.
        environment: Returns what the processes that load it need.
    """

    name: str
    wanted: builder.Recipe
    compiled: builder.Recipe
    environment: Callable[[], dict[str, str]] = no_environment


# Fibers run on stacks that AddressSanitizer does not know. `vptr` asks for type information that
# torch's libraries do not export.
SANITIZER_FLAGS = (
    *LANGUAGE_FLAGS,
    *SANITIZERS["address"],
    "--param=asan-stack=0",
    "-fno-sanitize=vptr",
)
FLOAT16 = replace(
    EMULATED_RECIPE,
    compiled=(
        "emulation/bind.cpp",
        "emulation/collectives.cpp",
        "emulation/emulator.cpp",
        "emulation/shared_memory.cpp",
        "emulation/*_f16.cpp",
        "emulation/kernels_all_types.cpp",
        "../tests/native/mutations/left_out.cpp",
    ),
    cxx_flags=("-O0", *LANGUAGE_FLAGS),
)
LIBRARIES = {
    "cpu": Compilation(CPU.name, builder.CPU_RECIPE, builder.CPU_RECIPE),
    "cpu_address": Compilation(
        CPU.name,
        builder.CPU_RECIPE,
        replace(builder.CPU_RECIPE, cxx_flags=("-O1", "-fopenmp", *SANITIZER_FLAGS)),
        sanitizer_environment,
    ),
    "emulated": Compilation(EMULATED.name, EMULATED_RECIPE, FLOAT16),
    "emulated_address": Compilation(
        EMULATED.name,
        EMULATED_RECIPE,
        replace(FLOAT16, cxx_flags=("-O0", *SANITIZER_FLAGS)),
        sanitizer_environment,
    ),
    "emulated_whole_address": Compilation(
        EMULATED.name,
        EMULATED_RECIPE,
        replace(EMULATED_RECIPE, cxx_flags=("-O1", *SANITIZER_FLAGS)),
        sanitizer_environment,
    ),
}
