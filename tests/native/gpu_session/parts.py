"""The parts of a GPU session, as data: what each runs, for how long at most, and what it needs."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROFILE = str(HERE / "profile.toml")
BENCH = ("-m", "spion_bench", "run", "--no-report")
PYTEST = ("-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist")
PYTEST += ("--maxfail=40", "--timeout=120", "-W", "default")
CORE = ("tests/cuda/test_block_attention.py", "tests/cuda/test_attention_map.py")
SLOW = "far_apart or inductor"
# One of every kind of kernel, small: a sanitizer makes kernels slower by orders of magnitude.
SANITIZED = "test_matches_the_oracle and minus_inf and not padding"
FEW = f"{SANITIZED} and float16 and (block_16 or long_column)"
SECTIONS = ("LaunchStats", "Occupancy", "SpeedOfLight", "MemoryWorkloadAnalysis", "WarpStateStats")
NCU = ("ncu", "--clock-control", "none", "--profile-from-start", "off", "--force-overwrite")
NCU += ("--kernel-name", "regex:attention_(forward|stats|backward|reduce)_kernel")
NCU += tuple(word for section in SECTIONS for word in ("--section", section))


SANITIZER = ("compute-sanitizer", "--report-api-errors", "no", "--error-exitcode", "9")


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Names its log, and its folder if it measures.
        answers: The question that it answers.
        limit_s: Seconds after which it is stopped.
        command: Arguments of Python.
        tool: A program in front of Python, with its options. A rehearsal leaves it out.
        profile: Of a part that measures cells: their profile.
        rehearsal: The same command's last arguments in a rehearsal, where those differ.
        needs_pass: The pass that it measures; a part whose pass does not exist says so.
        variables: What is added to its environment.
    """

    name: str
    answers: str
    limit_s: int
    command: tuple[str, ...]
    tool: tuple[str, ...] = ()
    profile: str = ""
    rehearsal: tuple[str, ...] = ()
    needs_pass: str = ""
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def measures(self) -> bool:
        """Whether it stores records."""
        return bool(self.profile)


def _tests(name: str, answers: str, limit_s: int, *arguments: str) -> Part:
    return Part(name, answers, limit_s, (*PYTEST, *arguments))


def _cells(
    name: str, answers: str, limit_s: int, pass_name: str, *methods: str, profile: str = PROFILE
) -> Part:
    chosen = tuple(word for method in methods for word in ("--method", method))
    return Part(
        name,
        answers,
        limit_s,
        (*BENCH, "--pass", pass_name, *chosen),
        profile=profile,
        rehearsal=(*BENCH, "--pass", pass_name),
        needs_pass=pass_name,
    )


def _program(name: str, answers: str, limit_s: int) -> Part:
    return Part(name, answers, limit_s, ("-m", f"tests.native.gpu_session.{name}"))


def _sanitizer(tool: str, limit_s: int, tests: str) -> Part:
    return Part(
        tool,
        f"compute-sanitizer's {tool}: every tensor an allocation of its own",
        limit_s,
        (*PYTEST, "-x", CORE[0], "-k", tests),
        tool=(*SANITIZER, "--tool", tool),
        # Without torch's cache every tensor is an allocation of its own, whose ends are known.
        variables=(("PYTORCH_NO_CUDA_MEMORY_CACHING", "1"),),
    )


# The most telling first: where time is short, the last ones are left out.
PARTS = (
    Part("environment", "which GPU, driver, torch, compiler", 120, ("-m", "spion_bench", "doctor")),
    _program("build", "do the kernels build?", 900),
    _tests("tests_core", "fused operator and maps against the float64 oracle", 300, *CORE),
    _cells(
        "kernels",
        "operators at the published shapes, next to dense attention and cuSPARSE",
        1800,
        "kernel",
        *("block_attention", "pipeline", "csr_pipeline", "dense_sdpa", "dense_xformers"),
        profile="kernels",
    ),
    _tests(
        *("tests_rest", "pipeline, pattern, device, training", 600, "tests/cuda"),
        *(word for path in CORE for word in ("--ignore", path)),
        *("-k", f"not ({SLOW})"),
    ),
    _cells("steps", "a training step at the published shapes and batch", 1800, "speed"),
    _cells("energy", "joules of a training step", 1800, "energy"),
    _cells(
        "kernels_peers",
        "FlexAttention and other projects' kernels, which compile",
        2400,
        "kernel",
        *("block_attention", "flex", "cudnn_bsa", "flashinfer", "csr_pipeline_float32"),
        "dense_sdpa",
        profile="kernels",
    ),
    _program("probe", "what copies and products reach here", 120),
    _sanitizer("memcheck", 600, f"{SANITIZED} and (float16 or float32) and (block_16 or holes)"),
    _sanitizer("racecheck", 600, FEW),
    _cells("accuracy", "do methods train under deterministic algorithms?", 900, "accuracy"),
    _cells("memory", "peak memory of a step", 900, "memory"),
    Part(
        "ncu",
        "hardware counters of the fused kernels",
        300,
        ("-m", "tests.native.gpu_session.once"),
        tool=NCU,
    ),
    _tests("tests_slow", "tensors far apart, torch.compile", 600, "tests/cuda", "-k", SLOW),
)
