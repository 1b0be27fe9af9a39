"""What this machine can do, and how to get the rest."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
import torch

from spion_bench import __version__
from spion_bench.measure.checkout import read_checkout
from spion_bench.measure.energy import EnergyError, energy_meter
from spion_bench.measure.environment import PACKAGE_ROOT, probe_gpu
from spion_bench.measure.machine import GIB, available_cores, cpu_model, load_average
from spion_bench.measure.memory import clear_refs_problem
from spion_bench.native import library
from spion_bench.native.cache import cache_root
from spion_bench.native.prebuilt import is_prebuilt
from spion_bench.tasks import SourceSpec, load_spec, task_names

ENOUGH_MEMORY_GIB = 4
QUIET_LOAD_PER_CORE = 0.25
SHOWN_NAMES = 3

# From the wheel: its metadata, `cpp_lib.json`, and what its library `_C.so` links to.
XFORMERS = "0.0.35"
XFORMERS_CUDA = "12"
XFORMERS_MATCHES = (
    f"xformers {XFORMERS}, built with torch 2.10.0+cu128, matches torch 2.10 or newer built for "
    f"CUDA {XFORMERS_CUDA} (cu126, cu128, cu129) on Linux x86-64"
)

Verdict = Literal["ok", "limited", "missing"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: What was looked at.
        verdict: ``"ok"``; ``"limited"`` if something optional is absent; ``"missing"`` if the
            smoke profile cannot run without it.
        detail: What was found.
        remedy: How to get what is absent, or None.
    """

    what: str
    verdict: Verdict
    detail: str
    remedy: str | None = None


def examine(*, build: bool, data_dir: Path | None) -> Iterator[Finding]:
    """Look at software, machine, kernels and data, one finding at a time.

    Args:
        build: Whether to build (or load) the kernels, which takes about a minute the first time.
        data_dir: Folder with downloaded data sets, or None.
    """
    yield Finding("Python", "ok", platform.python_version())
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield _checkout()
    yield _cpu()
    yield _load()
    yield _memory()
    yield _compiler()
    yield _kernels("cpu", build=build)
    yield _kernels("cuda", build=build)
    yield _peak_memory()
    yield _gpu()
    yield _energy()
    yield _transformers()
    yield _xformers()
    yield from examine_data(data_dir)


def _checkout() -> Finding:
    found = read_checkout(PACKAGE_ROOT)
    if found.problem is not None:
        remedy = "records will not say their commit; git's message says how to allow it"
        return Finding("code", "limited", found.problem, remedy)
    if found.sha is None:
        return Finding("code", "ok", f"spion_bench {__version__}, not a git checkout")
    if found.untracked:
        names = ", ".join(found.untracked[:SHOWN_NAMES])
        remedy = "commit them before you measure what others are to repeat"
        detail = f"commit {found.sha[:12]} and {len(found.untracked)} untracked sources: {names}"
        return Finding("code", "limited", detail, remedy)
    changed = ", with uncommitted changes" if found.dirty else ""
    return Finding("code", "ok", f"commit {found.sha[:12]}{changed}")


def _cpu() -> Finding:
    capability = torch.backends.cpu.get_cpu_capability()
    return Finding("CPU", "ok", f"{cpu_model()}, {available_cores()} cores, {capability}")


def _load() -> Finding:
    load = load_average()
    if load is None:
        return Finding("load", "limited", "this system does not report its load")
    if load > QUIET_LOAD_PER_CORE * available_cores():
        remedy = "stop other programs before you measure times"
        return Finding("load", "limited", f"{load:.2f}: other programs are running", remedy)
    return Finding("load", "ok", f"{load:.2f}")


def _memory() -> Finding:
    try:
        free = psutil.virtual_memory().available / GIB
    except OSError as error:  # /proc is hidden
        return Finding("memory", "limited", f"this system does not report its memory ({error})")
    if free < ENOUGH_MEMORY_GIB:
        remedy = f"the smoke profile needs about {ENOUGH_MEMORY_GIB} GiB; stop other programs"
        return Finding("memory", "limited", f"{free:.1f} GiB available", remedy)
    return Finding("memory", "ok", f"{free:.1f} GiB available")


def _compiler() -> Finding:
    command = (shlex.split(os.environ.get("CXX", "")) or ["c++"])[0]
    path = shutil.which(command)
    if path is None and is_prebuilt():
        remedy = "not needed on CPUs: this wheel brings their kernels along"
        return Finding("C++ compiler", "limited", f"{command} is not installed", remedy)
    if path is None:
        remedy = "install a C++ compiler (Debian, Ubuntu: apt install g++) or set CXX to one"
        return Finding("C++ compiler", "missing", f"{command} is not installed", remedy)
    return Finding("C++ compiler", "ok", path)


def _kernels(device: Literal["cpu", "cuda"], *, build: bool) -> Finding:
    what = f"{device.upper()} kernels"
    if device == "cuda" and torch.version.cuda is None:
        remedy = "needed only with a GPU; compiling them takes a CUDA build of torch"
        return Finding(what, "limited", f"torch {torch.__version__} is not a CUDA build", remedy)
    if device == "cpu" and not build and is_prebuilt():
        return Finding(what, "ok", "in this wheel; --build loads them, or builds those that fit")
    if not build:
        try:
            cache = cache_root()
        except library.BuildError as error:
            return Finding(what, "missing", str(error))
        name = library.DEVICES[device].name
        n_builds = len(list(cache.glob(f"{name}-*/complete.json")))
        found = f"{n_builds} finished builds in {cache}" if n_builds else f"none yet in {cache}"
        return Finding(what, "ok", f"{found}; --build builds and loads them")
    try:
        info = library.DEVICES[device].load(compiles=True)
    except library.BuildError as error:
        if device == "cuda" and not torch.cuda.is_available():
            return Finding(what, "limited", str(error), "not needed without a GPU")
        return Finding(what, "missing", str(error))
    detail = f"{info.status}, compiled in {info.seconds:.0f} s"
    if device == "cpu":
        detail += f", run on {torch.ops.spion_bench.cpu_capability()}"
    return Finding(what, "ok", detail)


def _peak_memory() -> Finding:
    problem = clear_refs_problem()
    if problem is None:
        return Finding("peak memory", "ok", "/proc/self/clear_refs is writable")
    return Finding("peak memory", "limited", problem, "memory cells will be unsupported")


def _gpu() -> Finding:
    gpu = probe_gpu()
    if gpu is not None and torch.cuda.is_available():
        return Finding("GPU", "ok", f"{gpu.name}, driver {gpu.driver or 'unknown'}")
    if gpu is not None:
        remedy = "install a CUDA build of torch to use it"
        return Finding("GPU", "limited", f"{gpu.name}, but torch has no CUDA", remedy)
    remedy = "not needed; with an NVIDIA GPU, `pip install spion_bench[gpu]` adds NVML"
    return Finding("GPU", "limited", "none found", remedy)


def _energy() -> Finding:
    try:
        meter = energy_meter("cuda" if torch.cuda.is_available() else "cpu")
    except EnergyError as error:
        return Finding("energy", "limited", str(error), "energy cells will be unsupported")
    return Finding("energy", "ok", meter.method)


def _transformers() -> Finding:
    version = _installed("transformers")
    if version is None:
        remedy = "only the *_hf baselines need it: pip install 'spion_bench[hf]'"
        return Finding("transformers", "limited", "not installed", remedy)
    return Finding("transformers", "ok", version)


def _xformers() -> Finding:
    version, cuda = _installed("xformers"), torch.version.cuda
    if version is None:
        remedy = "only the xformers_* baselines need it, on a GPU: pip install "
        remedy += f"'spion_bench[xformers]'; {XFORMERS_MATCHES}"
        return Finding("xformers", "limited", "not installed", remedy)
    if version != XFORMERS or cuda is None or cuda.partition(".")[0] != XFORMERS_CUDA:
        detail = f"{version}, does not match torch {torch.__version__}"
        return Finding("xformers", "limited", detail, XFORMERS_MATCHES)
    return Finding("xformers", "ok", f"{version}, matches torch {torch.__version__}")


def _installed(package: str) -> str | None:
    """Return an installed package's version without importing it, which takes seconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def examine_data(data_dir: Path | None) -> Iterator[Finding]:
    """Look for every source of every task, one finding each."""
    for name in task_names():
        for source in load_spec(name).sources:
            yield _source(name, source, data_dir)


def _source(task: str, source: SourceSpec, data_dir: Path | None) -> Finding:
    what = f"data: {task}, {source.name}"
    kind = " (a stand-in)" if source.stand_in else ""
    folder = "the folder given as --data-dir" if data_dir is None else str(data_dir)
    remedy = source.how_to_get.format(folder=folder)
    try:
        found = source.find(data_dir)
    except (OSError, ValueError) as error:
        return Finding(what, "limited", str(error), remedy)
    if found is None:
        return Finding(what, "limited", f"not here{kind}", remedy)
    return Finding(what, "ok", f"{found}{kind}")
