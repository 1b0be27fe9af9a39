"""Sessions: `nox -s reproduce` runs the main job, `nox -s tests` runs the test suite.

Everything after `--` goes on to the program a session runs, for example
`nox -s reproduce -- --profile smoke --fresh` or `nox -s tests -- -k block_attention`.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("--constraint", "constraints.txt")
OTHER_PYTHONS = ("3.12", "3.13")
CUDA_TORCH = "torch==2.14.1"  # built for CUDA 13.0
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
# One of every kind of kernel, small: a sanitizer makes kernels slower by orders of magnitude.
SANITIZED_TESTS = "block_16 or holes or long_column or golden"
# What follows the tests of `nightly`; `cuda_build` compiles for three architectures.
NIGHTLY_SESSIONS = (
    "coverage",
    *("sanitize", "sanitize_emulated", "mutations", "cuda_build", "cuda_link", "cuda_fake"),
    *("tests_lowest", "audit", "fuzz", "regressions", "compare_selfcheck"),
    *("own_model", "gpu_rehearsal"),
)
CPP_SOURCES = sorted(
    str(path)
    for pattern in ("*.cpp", "*.h", "*.cu", "*.cuh")
    for path in Path("csrc").rglob(pattern)
)


def install(session: nox.Session, package: str) -> None:
    """Install this checkout, every dependency at its pinned version."""
    session.install(*CONSTRAINTS, "--editable", package)


def install_cuda(session: nox.Session, *packages: str) -> None:
    """Install packages beside a CUDA build of torch; all but torch at their pinned versions."""
    pins = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    others = Path(session.create_tmp()) / "constraints.txt"
    others.write_text("\n".join(pin for pin in pins if not pin.startswith("torch==")) + "\n")
    session.install("--constraint", str(others), CUDA_TORCH, *packages)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Run a profile (default: smoke) end to end and write its report."""
    install(session, ".")
    session.run("spion-bench", "run", *session.posargs)


@nox.session(default=False)
def matrix(session: nox.Session) -> None:
    """Check every method on every task at its published length: the gate and two steps."""
    install(session, ".[hf]")
    session.run("spion-bench", "run", "--profile", "matrix", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole test suite."""
    install(session, ".[dev]")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the whole test suite, in child processes too, and report which lines it reaches."""
    install(session, ".[dev]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    # A selected part of the tests says nothing about the coverage of the whole.
    minimum = "0" if session.posargs else "90"
    session.run("coverage", "report", "--skip-covered", f"--fail-under={minimum}")


for version in OTHER_PYTHONS:

    @nox.session(default=False, python=version, name=f"tests-{version}")
    def tests_of_another_python(session: nox.Session) -> None:
        """Run the whole test suite with another Python, where there is an interpreter."""
        install(session, ".[dev]")
        session.run("pytest", *session.posargs)


@nox.session(default=False)
def own_model(session: nox.Session) -> None:
    """Test `sparsify` on Hugging Face models, in Trainer and Lightning, and run the examples."""
    install(session, ".[dev,hf,lightning]")
    session.run("pytest", "tests/conversion", "tests/examples", *session.posargs)


@nox.session(default=False)
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


@nox.session(default=False)
def checks(session: nox.Session) -> None:
    """Do what lint, types and survival do, in one environment that is installed once."""
    install(session, ".[dev]")
    check_style(session)
    session.run("mypy")
    session.run("python", "-m", "tests.survival")


@nox.session(default=False)
def cuda_build(session: nox.Session) -> None:
    """Compile the CUDA kernels (no GPU needed); check registers, spills and machine code."""
    if shutil.which("nvcc") is None:
        session.skip("no nvcc")
    session.install(*CONSTRAINTS, "nvidia-cuda-nvdisasm")  # not every toolkit comes with it
    session.run("python", "-m", "tests.native.cuda_build", *session.posargs)


@nox.session(default=False)
def cuda_link(session: nox.Session) -> None:
    """Build, link and load the extension against a CUDA build of torch (5.4 GB; no GPU needed)."""
    if shutil.which("nvcc") is None:
        session.skip("no nvcc")
    install_cuda(session, "--editable", ".")
    session.run("python", "-m", "tests.native.cuda_link", *session.posargs)


@nox.session(default=False)
def cuda_fake(session: nox.Session) -> None:
    """Run every method, forward and backward, on fake CUDA tensors (5.4 GB; no GPU needed)."""
    install_cuda(session, "--editable", ".[hf]")
    session.run("python", "-m", "tests.native.cuda_fake", *session.posargs)


@nox.session(default=False)
def cuda_tests(session: nox.Session) -> None:
    """Run the emulated tests on a GPU, and those that only a GPU can run."""
    install_cuda(session, "--editable", ".[dev]")
    session.run("pytest", "tests/cuda", *session.posargs)


@nox.session(default=False)
def cuda_sanitizer(session: nox.Session) -> None:
    """Run some of `cuda_tests` under each of compute-sanitizer's tools."""
    if shutil.which("compute-sanitizer") is None:
        session.skip("no compute-sanitizer; it is part of the CUDA toolkit")
    if shutil.which("nvidia-smi") is None:
        session.skip("no nvidia-smi, so no NVIDIA driver and no GPU to run kernels on")
    install_cuda(session, "--editable", ".[dev]")
    session.run("python", "-c", "from spion_bench.native import library; library.load('cuda')")
    # Without torch's cache every tensor is an allocation of its own, whose ends are known.
    uncached = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    tests = ("python", "-m", "pytest", "-x", "tests/cuda", "-k", SANITIZED_TESTS)
    for tool in SANITIZERS:
        command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *tests)
        session.run(*command, *session.posargs, env=uncached, external=True)


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Ask a machine with a GPU everything, resumable, part by part: docs/gpu.md."""
    if shutil.which("nvidia-smi") is None:
        session.error("no nvidia-smi, so no NVIDIA driver and no GPU; try gpu_rehearsal")
    install_cuda(session, "--editable", ".[dev,gpu]")
    session.run("python", "-m", "tests.native.gpu_session", *session.posargs)


@nox.session(default=False)
def gpu_rehearsal(session: nox.Session) -> None:
    """Run the parts of `gpu` on the CPU, each with a tiny profile (a few minutes)."""
    install(session, ".[dev]")
    command = ("python", "-m", "tests.native.gpu_session", "--rehearse")
    session.run(*command, "--out", session.create_tmp(), *session.posargs)


@nox.session(default=False)
def mutations(session: nox.Session) -> None:
    """Seed bugs into a copy of CPU and CUDA kernels and check that tests notice every one."""
    install(session, ".[dev]")
    session.run("python", "-m", "tests.native.mutations", *session.posargs)


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Ask whether pinned versions have known vulnerabilities, where the database answers."""
    session.install(*CONSTRAINTS, "pip-audit")
    session.run("python", "-m", "tests.audit")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Throw damaged and random inputs at every door; the operators under AddressSanitizer too."""
    install(session, ".[dev]")
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ("--address",)))


@nox.session(default=False)
def sanitize(session: nox.Session) -> None:
    """Run the CPU kernels without torch under AddressSanitizer, UBSan and ThreadSanitizer."""
    session.run("python", "-m", "tests.native.sanitize", *session.posargs)


@nox.session(default=False)
def sanitize_emulated(session: nox.Session) -> None:
    """Run the emulated CUDA kernels' tests under AddressSanitizer and UBSan."""
    install(session, ".[dev]")
    session.run("python", "-m", "tests.native.sanitize_emulated", *session.posargs)


@nox.session(default=False)
def survival(session: nox.Session) -> None:
    """Kill, stop and starve 20 runs at random moments; nothing stored may suffer.

    `-- --rounds 200 --out results/survival.json` does more and keeps the figures; with `--real`,
    workers measure instead of pretending to.
    """
    install(session, ".[dev]")
    session.run("python", "-m", "tests.survival", *session.posargs)


@nox.session(default=False)
def nightly(session: nox.Session) -> None:
    """Test properties on 1000 examples and every emulated kernel, then run `NIGHTLY_SESSIONS`."""
    for name in NIGHTLY_SESSIONS:
        session.notify(name, posargs=())
    session.notify("survival", posargs=("--rounds", "200"))
    install(session, ".[dev]")
    profile = {"HYPOTHESIS_PROFILE": "nightly"}  # also adds the emulated tests of every instance
    session.run("pytest", "-m", "hypothesis", "tests/ops", *session.posargs, env=profile)
    session.run("pytest", "tests/emulation", env=profile)


@nox.session(default=False)
def doctor(session: nox.Session) -> None:
    """Say what this machine can measure and how to get the rest."""
    install(session, ".")
    session.run("spion-bench", "doctor", *session.posargs)


@nox.session(default=False)
def kernels(session: nox.Session) -> None:
    """Measure the kernels beside their peers and limits, on a GPU with `-- --device cuda`."""
    if "--device cuda" in " ".join(session.posargs).replace("=", " "):
        if shutil.which("nvidia-smi") is None:
            session.error("no nvidia-smi, so no NVIDIA driver and no GPU to run kernels on")
        install_cuda(session, "--editable", ".[gpu]")
    else:
        install(session, ".")
    session.run("spion-bench", "run", "--profile", "kernels", *session.posargs)


@nox.session(default=False)
def perf(session: nox.Session) -> None:
    """Time single operators with pytest-benchmark, for quick feedback while editing a kernel.

    `-- --benchmark-save=before`, then `-- --benchmark-compare --benchmark-compare-fail=median:20%`.
    """
    install(session, ".[dev]")
    session.run("pytest", "tests/perf/bench_kernels.py", "--benchmark-only", *session.posargs)


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Say what got slower between two commits, measured side by side: `-- BASE HEAD`."""
    install(session, ".")
    session.run("spion-bench", "compare", *session.posargs)


@nox.session(default=False)
def compare_selfcheck(session: nox.Session) -> None:
    """Check that `compare` finds slowdowns of 5 and 15 %, and none where there is none."""
    install(session, ".")
    session.run("python", "-m", "tests.compare.selfcheck", *session.posargs)


@nox.session(default=False)
def regressions(session: nox.Session) -> None:
    """Run the worked example of docs/regressions.md: every tool has to find a slower kernel."""
    install(session, ".[dev]")
    session.run("python", "-m", "tests.regressions")


@nox.session(default=False)
def asv(session: nox.Session) -> None:
    """Measure commits with asv and write its site: `-- BASE..HEAD`, then options of `asv run`.

    Results go to results/asv, the site to .asv/html. `--steps 8` picks eight of the commits, and
    `--skip-existing-successful` goes on where an earlier run stopped.
    """
    commits, *options = session.posargs or ("HEAD^!",)
    if not git(session, "rev-list", "--first-parent", commits):
        session.error(f"{commits}: no commits in it; expected a range such as HEAD~3..HEAD")
    machine = asv_machine(session)
    # 2: a benchmark failed, for instance one that an old commit does not have yet.
    session.run("asv", "run", "--machine", machine, commits, *options, success_codes=[0, 2])
    session.run("asv", "publish")


@nox.session(default=False)
def asv_continuous(session: nox.Session) -> None:
    """Say what got slower between two commits, by asv: `-- BASE HEAD`, then its options."""
    if len(session.posargs) < 2:
        session.error("expected two commits: nox -s asv_continuous -- BASE HEAD")
    base, head, *options = session.posargs
    for commit in (base, head):
        git(session, "rev-parse", "--verify", "--quiet", commit + "^{commit}")
    machine = asv_machine(session)
    session.run("asv", "continuous", "--machine", machine, *options, base, head)


def git(session: nox.Session, *arguments: str) -> str:
    """Return what git says about this checkout; what it cannot say ends the session."""
    if shutil.which("git") is None:
        session.error("no git; asv builds the commits of a git checkout")
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        session.error(
            f"git {' '.join(arguments)}: {done.stderr.strip() or 'no such commit'}; asv needs the "
            "checkout's commits (a shallow clone has a few of them: git fetch --unshallow)"
        )
    return done.stdout.strip()


def asv_machine(session: nox.Session) -> str:
    """Install asv, describe this machine to it without its host name, and return its name."""
    session.install(*CONSTRAINTS, "asv", "virtualenv")
    code = (
        "from spion_bench.measure.machine import *; print(cpu_model(), available_cores(), sep='|')"
    )
    found = session.run("python", "-c", code, silent=True)
    cpu, cores = str(found).strip().split("|")
    name = re.sub(r"[^a-z0-9]+", "-", f"{cpu} x{cores}".lower())
    # `asv machine` forgets what is equal to its own guess, so its file is written here.
    file = Path.home() / ".asv-machine.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"version": 1}
    system = {"os": platform.system(), "arch": platform.machine(), "ram": ""}
    known[name] = {"machine": name, **system, "cpu": cpu, "num_cpu": cores}
    file.write_text(json.dumps(known, indent=4), encoding="utf-8")
    return name
