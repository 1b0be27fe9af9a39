"""Compiles a folder of kernel sources into a library once; later loads take it from the cache.

The compiling is ``torch.utils.cpp_extension``'s. Each cached library belongs to one combination of
sources, flags, compilers, torch, Python and platform, and counts only once its ``complete.json``
names it with its checksum: a killed build leaves nothing that could be loaded, and of several
processes that start at once one builds while the others wait.
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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ninja
import torch
from torch.utils import cpp_extension

from spion_bench.native.cache import check_private
from spion_bench.native.error import BuildError
from spion_bench.native.plain_paths import plain_paths
from spion_bench.records.files import file_digest, locked, replace_file

CXX_FLAGS = (
    "-O3",
    "-std=c++20",
    "-fopenmp",
    # Nothing reads errno or floating-point exception flags; giving them up lets loops vectorise.
    # -ffast-math would also give up NaN, which must propagate. No -march: the sources choose
    # instruction sets at run time, so a cached library may move between machines.
    "-fno-math-errno",
    "-fno-trapping-math",
)
LINKER_FLAGS = ("-fopenmp",)
_MARKER = "complete.json"
_SHOWN_LOG_LINES = 20


@dataclass(frozen=True)
class Recipe:
    """How one kind of library is built.

    Attributes:
        kernels: What the library holds, for messages.
        duration: About how long a build takes, for messages.
        compiled: Patterns of the files to compile, relative to the folder of sources.
        included: Patterns of the files that those include; any change of one is another library.
        cxx_flags: Flags of the C++ compiler in addition to those that torch adds.
        cuda_flags: Flags of nvcc. Empty: neither nvcc nor CUDA's libraries are used.
        cuda_version: What nvcc says it is.
        toolkit: Folder of the CUDA toolkit.
        hint: What to look at when the build fails.
    """

    kernels: str = "CPU kernels"
    duration: str = "about a minute"
    compiled: tuple[str, ...] = ("*.cpp", "cpu/common/*.cpp")
    included: tuple[str, ...] = ("*.h", "cpu/*.cpp", "cpu/*.h", "cpu/common/*.h")
    cxx_flags: tuple[str, ...] = CXX_FLAGS
    cuda_flags: tuple[str, ...] = ()
    cuda_version: str = ""
    toolkit: str = ""
    hint: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of both compilers."""
        return (*self.cxx_flags, *self.cuda_flags)


CPU_RECIPE = Recipe()


@dataclass(frozen=True)
class BuildInfo:
    """How the loaded library came to be.

    Attributes:
        status: ``"built"`` by this process, ``"cached"``, or ``"prebuilt"`` where the wheel brought
            it.
        seconds: How long its compilation took, in whichever process.
        path: The shared library.
        compiler: First line of ``$CXX --version``.
        flags: Compiler flags in addition to those that torch adds; nvcc's after those for C++.
    """

    status: Literal["built", "cached", "prebuilt"]
    seconds: float
    path: Path
    compiler: str
    flags: tuple[str, ...]


def load_library(
    name: str,
    sources: Path,
    root: Path,
    recipe: Recipe = CPU_RECIPE,
    *,
    refusal: BuildError | None = None,
) -> BuildInfo:
    """Load the library of the sources in a folder, building it unless the cache holds it.

    Args:
        name: Name of the library; its cache folder is ``<root>/<name>-<hash>``.
        sources: Folder whose files are compiled as the recipe says.
        root: Cache folder, created if needed.
        recipe: What to compile, and how.
        refusal: Raised instead of building; a build in the cache is loaded all the same.

    Raises:
        BuildError: If the compiler is missing or fails, or the cache cannot be written.
    """
    try:
        compiler = _compiler_version()
    except BuildError as error:
        raise (refusal or error) from None
    folder = root / f"{name}-{_build_key(sources, compiler, recipe)}"
    info = _read_complete(folder, compiler, recipe)
    if info is None:
        if refusal is not None:
            raise refusal
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            root.mkdir(mode=0o700, exist_ok=True)
            check_private(root)
            with locked(Path(f"{folder}.lock"), lambda holder: _say_waiting(recipe, holder)):
                info = _read_complete(folder, compiler, recipe)  # another process may have built it
                if info is None:
                    return _build(name, sources, folder, compiler, recipe)
        except OSError as error:
            raise BuildError(
                f"{root}: the build cache cannot be written ({error}); "
                "set SPION_BENCH_CACHE to a writable folder"
            ) from error
    check_private(info.path)
    torch.ops.load_library(info.path)  # type: ignore[no-untyped-call]
    return info


def _say_waiting(recipe: Recipe, holder: str) -> None:
    _notice(f"another process is building the {recipe.kernels}; waiting for it ({holder}) ...")


def _compiler_version() -> str:
    command = shlex.split(os.environ.get("CXX", "")) or ["c++"]  # as torch chooses it
    if shutil.which(command[0]) is None:
        raise BuildError(
            f"no C++ compiler: {command[0]!r} was not found; the kernels are compiled on first "
            "use, so install one (Debian/Ubuntu: `apt install g++`) or set CXX to an installed one"
        )
    answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise BuildError(f"C++ compiler: `{shlex.join(command)} --version` failed: {answer.stderr}")
    return answer.stdout.splitlines()[0]


def _files(sources: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(file for pattern in patterns for file in sources.glob(pattern))


def _build_key(sources: Path, compiler: str, recipe: Recipe = CPU_RECIPE) -> str:
    versions = [torch.__version__, str(torch.compiled_with_cxx11_abi()), sys.version, compiler]
    versions += [recipe.cuda_version, platform.system(), platform.machine()]
    parts = [*versions, *recipe.flags, *LINKER_FLAGS]
    return sources_digest(sources, recipe, "\n".join(parts))[:16]


def sources_digest(sources: Path, recipe: Recipe, what_else: str = "") -> str:
    """Return the SHA-256 of all files that a recipe compiles or includes, in hexadecimal."""
    digest = hashlib.sha256(what_else.encode())
    for file in [*_files(sources, recipe.compiled), *_files(sources, recipe.included)]:
        digest.update(f"\n{file.relative_to(sources)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read_complete(folder: Path, compiler: str, recipe: Recipe) -> BuildInfo | None:
    """Return the finished build in ``folder``; None if there is none or its bytes changed."""
    try:
        marker: dict[str, Any] = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        library = folder / marker["library"]
        is_inside = library.resolve().is_relative_to(folder.resolve())
        if not is_inside or file_digest(library) != marker["sha256"]:
            return None
        return BuildInfo("cached", marker["seconds"], library, compiler, recipe.flags)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _build(name: str, sources: Path, folder: Path, compiler: str, recipe: Recipe) -> BuildInfo:
    """Compile and load; the caller holds the lock of ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)  # whatever a killed build left
    folder.mkdir(mode=0o700)
    # A fresh subfolder per attempt, because a killed build leaves torch's own lock file behind,
    # which must never be met again.
    build_dir = Path(tempfile.mkdtemp(prefix="build-", dir=folder))
    _notice(f"building {name} {recipe.kernels} (first use, {recipe.duration}) ...")
    started = time.perf_counter()
    try:
        with _ninja_on_path(), _cuda_home(recipe.toolkit), plain_paths(sources) as plain:
            cpp_extension.load(
                name=name,
                sources=[str(file) for file in _files(plain, recipe.compiled)],
                extra_cflags=list(recipe.cxx_flags),
                extra_cuda_cflags=list(recipe.cuda_flags),
                extra_ldflags=list(LINKER_FLAGS),
                build_directory=str(build_dir),
                with_cuda=bool(recipe.cuda_flags),
                is_python_module=False,
            )
    except (RuntimeError, OSError) as error:
        raise _failure(folder, error, recipe) from error
    seconds = time.perf_counter() - started
    (library,) = build_dir.glob("*.so")
    _write_complete(folder, library, seconds)
    for leftover in build_dir.glob("*.o"):
        leftover.unlink()
    _notice(f"built in {seconds:.0f} s")
    return BuildInfo("built", seconds, library, compiler, recipe.flags)


def _write_complete(folder: Path, library: Path, seconds: float) -> None:
    marker = {
        "library": str(library.relative_to(folder)),
        "sha256": file_digest(library),
        "seconds": seconds,
    }
    replace_file(folder / _MARKER, f"{json.dumps(marker)}\n".encode())


def _failure(folder: Path, error: Exception, recipe: Recipe) -> BuildError:
    output = str(error).rstrip()  # torch puts the compiler's output here
    if isinstance(error.__cause__, OSError):  # but the dynamic linker's there
        output += f"\n{error.__cause__}"
    log = folder.with_suffix(".log")
    log.write_text(output + "\n", encoding="utf-8")
    end = "\n".join(output.splitlines()[-_SHOWN_LOG_LINES:])
    hint = f"; {recipe.hint}" if recipe.hint else ""
    return BuildError(
        f"the {recipe.kernels} could not be built{hint}; full log: {log}; its end:\n{end}"
    )


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """Let torch find pip's ninja also when the environment's bin folder is not on PATH."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([ninja.BIN_DIR, before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def _cuda_home(toolkit: str) -> Iterator[None]:
    """Let torch compile and link with a toolkit; it takes the folder above nvcc's for one."""
    before = cpp_extension.CUDA_HOME
    if toolkit:
        cpp_extension.CUDA_HOME = toolkit
    try:
        yield
    finally:
        cpp_extension.CUDA_HOME = before


def _notice(text: str) -> None:
    print(f"spion_bench: {text}", file=sys.stderr, flush=True)
