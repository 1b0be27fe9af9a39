"""The CPU library that a wheel may bring along: what it was built of, and whether it fits here.

``setup.py`` builds such a wheel. Its library needs no compiler where it is installed, and serves
one minor version of torch. Where it does not fit, nothing is compiled instead without being asked.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from spion_bench.native.build import CPU_RECIPE, BuildInfo, load_library, sources_digest
from spion_bench.native.error import BuildError

PLACE = "prebuilt"  # folder beside this file, in such a wheel only
_HERE = Path(__file__).with_name(PLACE)
COMPILE = "spion-bench doctor --build"
_NAME = "spion_bench"
_LIBRARY = f"{_NAME}.so"
_ORIGIN = "origin.json"
# What every CPU of a machine's kind has; the kernels choose among more at run time. Stated, since
# a compiler may be set up for its own CPU.
_BASELINES = {"x86_64": "x86-64", "aarch64": "armv8-a"}


class Origin(BaseModel):
    """What a library was built of.

    Attributes:
        sources: SHA-256 of all its sources.
        torch: Version it was built with; it serves others of the same minor version.
        machine: As ``platform.machine()`` calls it.
        baseline: The instruction set that it needs at least.
        chosen: The instruction sets that it chooses among at run time.
        compiler: First line of ``$CXX --version``.
        flags: Compiler flags in addition to those that torch adds.
        seconds: How long it took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: str
    torch: str
    machine: str
    baseline: str
    chosen: tuple[str, ...]
    compiler: str
    flags: tuple[str, ...]
    seconds: float

    def refusal(self, sources: str, torch_version: str, machine: str) -> str | None:
        """Return why the library does not fit code, torch and machine, or None if it does."""
        if machine != self.machine:
            return f"is for {self.machine} machines, this one is {machine}"
        if _minor(torch_version) != _minor(self.torch):
            return f"was built for torch {_minor(self.torch)}, here is torch {torch_version}"
        if sources != self.sources:
            return "was built of other sources than this package's"
        return None


def is_prebuilt() -> bool:
    """Whether this package came with a library, be it one that fits or not."""
    return _HERE.is_dir()


def load_prebuilt(sources: Path, folder: Path = _HERE) -> BuildInfo | None:
    """Load the library that came with the wheel.

    Args:
        sources: Folder of the package's C++ sources.
        folder: Where the library is looked for; beside this file by default.

    Returns:
        How it came to be, or None if the package came without one.

    Raises:
        BuildError: If it does not fit here, saying why and what to do.
    """
    if not folder.is_dir():
        return None
    path = folder / _LIBRARY
    try:
        origin = Origin.model_validate_json((folder / _ORIGIN).read_bytes())
        machine = platform.machine()
        refusal = origin.refusal(sources_digest(sources, CPU_RECIPE), torch.__version__, machine)
        if refusal is None:
            torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except (OSError, ValidationError) as error:
        refusal = f"cannot be loaded ({error})"
    if refusal is not None:
        raise BuildError(
            f"the library of CPU kernels in this wheel {refusal}; install the wheel that fits, or "
            f"compile the kernels here, once: `{COMPILE}` (needs a C++ compiler)"
        )
    return BuildInfo("prebuilt", origin.seconds, path, origin.compiler, origin.flags)


def build_into(folder: Path, sources: Path) -> None:
    """Compile the CPU library for wheels into a folder, created if needed; it is loaded too.

    Raises:
        BuildError: If it cannot be built, or this kind of machine has no stated baseline.
    """
    machine = platform.machine()
    if machine not in _BASELINES:
        raise BuildError(
            f"SPION_BENCH_PREBUILT: expected one of {', '.join(_BASELINES)}, got {machine}; "
            "build the wheel that compiles on first use"
        )
    baseline = _BASELINES[machine]
    recipe = replace(CPU_RECIPE, cxx_flags=(*CPU_RECIPE.cxx_flags, f"-march={baseline}"))
    sets = [path.stem.removeprefix("isa_") for path in sources.glob("cpu/common/isa_*.cpp")]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="spion-bench-") as cache:
        info = load_library(_NAME, sources, Path(cache), recipe)
        shutil.copyfile(info.path, folder / _LIBRARY)
    origin = Origin(
        sources=sources_digest(sources, recipe),
        torch=torch.__version__,
        machine=machine,
        baseline=baseline,
        chosen=tuple(sorted(sets)) if machine == "x86_64" else ("portable",),
        compiler=info.compiler,
        flags=info.flags,
        seconds=info.seconds,
    )
    (folder / _ORIGIN).write_text(f"{origin.model_dump_json(indent=2)}\n", encoding="utf-8")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
