"""Builds the C++ kernels of ``csrc`` on first use and loads them.

The operators' Python faces call ``load()`` before they touch ``torch.ops.spion_bench``. The first
call on a machine compiles the sources with ``torch.utils.cpp_extension``; later processes load the
library cached in ``$SPION_BENCH_CACHE`` (``~/.cache/spion_bench``) in milliseconds. Each cached one
belongs to one combination of sources, flags, compiler, torch, Python and platform, and counts only
once its ``complete.json`` names it with its checksum: a killed build leaves nothing that could be
loaded, and of several processes that start at once one builds while the others wait.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ninja
import torch
from filelock import FileLock, Timeout
from torch.utils import cpp_extension

LIBRARY = "spion_bench"
CXX_FLAGS = (
    "-O3",
    "-std=c++20",
    "-fopenmp",
    # Nobody reads errno or floating-point exception flags; giving them up lets loops vectorise.
    # -ffast-math would also give up NaN, which must propagate. No -march: the sources choose
    # instruction sets at run time, so that a cached library may move between machines.
    "-fno-math-errno",
    "-fno-trapping-math",
)
LINKER_FLAGS = ("-fopenmp",)
_MARKER = "complete.json"
_SHOWN_LOG_LINES = 20


class BuildError(RuntimeError):
    """The kernels could not be built; the message says why and what to do."""


@dataclass(frozen=True)
class BuildInfo:
    """How the loaded library came to be.

    Attributes:
        status: ``"built"`` by this process or ``"cached"``.
        seconds: How long its compilation took, in whichever process.
        path: The shared library.
        compiler: First line of ``$CXX --version``.
        flags: Compiler flags beside those that torch adds.
    """

    status: Literal["built", "cached"]
    seconds: float
    path: Path
    compiler: str
    flags: tuple[str, ...]


_state_lock = threading.RLock()
_loaded: BuildInfo | None = None
_failed: BuildError | None = None
_after_load: list[Callable[[], None]] = []
cpu_refusal: str | None = None  # why no CPU operator may run now; set by spion_bench.backends


def after_load(register: Callable[[], None]) -> Callable[[], None]:
    """Run ``register`` once the library is loaded: now if it is, else at the end of ``load()``.

    The operators' files decorate their registrations (fake kernel, autograd, autocast) with it.
    """
    with _state_lock:
        if _loaded is not None:
            register()
        else:
            _after_load.append(register)
    return register


def load(backend: Literal["cpu"] = "cpu") -> None:
    """Make ``torch.ops.spion_bench`` usable: build if needed, load, register; once per process.

    Raises:
        BuildError: If it cannot be built; later calls raise the same error without another try.
        ValueError: If ``backend`` is not ``"cpu"``. RuntimeError: Inside another backend's block.
    """
    global _loaded, _failed
    if cpu_refusal is not None:
        raise RuntimeError(cpu_refusal)
    if _loaded is not None:
        return
    if backend != "cpu":
        raise ValueError(f'backend: expected "cpu", got {backend!r}')
    with _state_lock:
        if _failed is not None:
            raise _failed
        if _loaded is not None:  # by another thread meanwhile
            return
        try:
            info = load_library(LIBRARY, source_dir(), cache_root())
        except BuildError as error:
            _failed = error
            raise
        while _after_load:
            _after_load.pop(0)()
        _loaded = info


# torch.compiler.assume_constant_result without its import of torch._dynamo, more than a second.
vars(load)["_dynamo_marked_constant"] = True


def build_info() -> BuildInfo:
    """Return how the loaded library came to be; loads it first if needed."""
    load()
    assert _loaded is not None
    return _loaded


def cache_root() -> Path:
    """Return the folder of built libraries: ``$SPION_BENCH_CACHE`` or ``~/.cache/spion_bench``."""
    configured = os.environ.get("SPION_BENCH_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "spion_bench"


def source_dir() -> Path:
    """Return ``csrc``: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "schema.cpp").is_file():
            return folder
    raise BuildError(
        f"csrc: the C++ sources lie neither in {package} nor beside it; reinstall spion_bench"
    )


def load_library(name: str, sources: Path, root: Path) -> BuildInfo:
    """Load the library of the C++ sources in a folder, building it unless the cache holds it.

    Args:
        name: Name of the library; its cache folder is ``<root>/<name>-<hash>``.
        sources: Folder whose ``*.cpp`` and ``cpu/*.cpp`` are compiled.
        root: Cache folder, created if needed.

    Raises:
        BuildError: If the compiler is missing or fails, or the cache cannot be written.
    """
    compiler = _compiler_version()
    folder = root / f"{name}-{_build_key(sources, compiler)}"
    info = _read_complete(folder, compiler)
    if info is None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with _locked(Path(f"{folder}.lock")):
                info = _read_complete(folder, compiler)  # another process may have built it
                if info is None:
                    return _build(name, sources, folder, compiler)
        except OSError as error:
            raise BuildError(
                f"{root}: the build cache cannot be written ({error}); "
                "set SPION_BENCH_CACHE to a writable folder"
            ) from error
    torch.ops.load_library(info.path)  # type: ignore[no-untyped-call]
    return info


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an OS lock, which ends with its process, however that ends."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _notice("another process is building the CPU kernels; waiting for it ...")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _compiler_version() -> str:
    command = shlex.split(os.environ.get("CXX", "")) or ["c++"]  # as torch chooses it
    if shutil.which(command[0]) is None:
        raise BuildError(
            f"no C++ compiler: {command[0]!r} was not found; the CPU kernels are compiled on first "
            "use, so install one (Debian/Ubuntu: `apt install g++`) or set CXX to an installed one"
        )
    answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise BuildError(f"C++ compiler: `{shlex.join(command)} --version` failed: {answer.stderr}")
    return answer.stdout.splitlines()[0]


def _source_files(sources: Path) -> list[Path]:
    return sorted([*sources.glob("*.cpp"), *sources.glob("cpu/*.cpp")])


def _build_key(sources: Path, compiler: str) -> str:
    versions = [torch.__version__, str(torch.compiled_with_cxx11_abi()), sys.version, compiler]
    words = [*versions, platform.system(), platform.machine(), *CXX_FLAGS, *LINKER_FLAGS]
    digest = hashlib.sha256("\n".join(words).encode())
    headers = sorted([*sources.glob("*.h"), *sources.glob("cpu/*.h")])
    for file in [*_source_files(sources), *headers]:
        digest.update(f"\n{file.relative_to(sources)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _read_complete(folder: Path, compiler: str) -> BuildInfo | None:
    """Return the finished build in ``folder``; None if there is none or its bytes changed."""
    try:
        marker: dict[str, Any] = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        library = folder / marker["library"]
        if hashlib.sha256(library.read_bytes()).hexdigest() != marker["sha256"]:
            return None
        return BuildInfo("cached", marker["seconds"], library, compiler, CXX_FLAGS)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(name: str, sources: Path, folder: Path, compiler: str) -> BuildInfo:
    """Compile and load; the caller holds the lock of ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)  # whatever a killed build left
    folder.mkdir()
    # A fresh subfolder per attempt, so that the lock file of torch's own, which a killed build
    # leaves behind, can never be met.
    build_dir = Path(tempfile.mkdtemp(prefix="build-", dir=folder))
    _notice(f"building {name} CPU kernels (first use, about a minute) ...")
    started = time.perf_counter()
    try:
        with _ninja_on_path():
            cpp_extension.load(
                name=name,
                sources=[str(file) for file in _source_files(sources)],
                extra_cflags=list(CXX_FLAGS),
                extra_ldflags=list(LINKER_FLAGS),
                build_directory=str(build_dir),
                with_cuda=False,
                is_python_module=False,
            )
    except (RuntimeError, OSError) as error:
        raise _failure(folder, error) from error
    seconds = time.perf_counter() - started
    (library,) = build_dir.glob("*.so")
    _write_complete(folder, library, seconds)
    for leftover in build_dir.glob("*.o"):
        leftover.unlink()
    _notice(f"built in {seconds:.0f} s")
    return BuildInfo("built", seconds, library, compiler, CXX_FLAGS)


def _write_complete(folder: Path, library: Path, seconds: float) -> None:
    marker = {
        "library": str(library.relative_to(folder)),
        "sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
        "seconds": seconds,
    }
    part = folder / f"{_MARKER}.part"
    part.write_text(json.dumps(marker) + "\n", encoding="utf-8")
    part.replace(folder / _MARKER)  # atomic: the marker is there or not


def _failure(folder: Path, error: Exception) -> BuildError:
    output = str(error).rstrip()  # torch puts the compiler's output here
    if isinstance(error.__cause__, OSError):  # but the dynamic linker's there
        output += f"\n{error.__cause__}"
    log = folder.with_suffix(".log")
    log.write_text(output + "\n", encoding="utf-8")
    end = "\n".join(output.splitlines()[-_SHOWN_LOG_LINES:])
    return BuildError(f"the CPU kernels could not be built; full log: {log}; its end:\n{end}")


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """Let torch find pip's ninja also when the environment's bin folder is not on PATH."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([ninja.BIN_DIR, before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _notice(text: str) -> None:
    print(f"spion_bench: {text}", file=sys.stderr, flush=True)
