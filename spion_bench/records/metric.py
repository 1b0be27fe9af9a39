"""One measured number, and how it was taken: its turn, the load, a GPU's state, the machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spion_bench.records.cell import Stored

IntervalKind = Literal["bootstrap", "range", "t", "Wilson"]


class Metric(Stored):
    """One measured number.

    Attributes:
        value: The median of ``samples`` where samples exist.
        unit: Its unit.
        lower_is_better: Its direction.
        samples: Every sample, in the order taken.
        round_sizes: How many of them each round took; empty where that was not kept.
        low: Lower end of the interval.
        high: Upper end.
        interval: What kind of 95 % interval it is; ``range`` is none, only the smallest and the
            largest sample. None where there is no interval, and in records that did not say.
        modelled: Whether the number was computed rather than measured.
    """

    value: float
    unit: str
    lower_is_better: bool
    samples: list[float] = Field(default_factory=list)
    round_sizes: list[int] = Field(default_factory=list)
    low: float | None = None
    high: float | None = None
    interval: IntervalKind | None = None
    modelled: bool = False


class Load(Stored):
    """What other processes used of the CPUs while a turn was measured, round by round.

    Attributes:
        cpus: How many CPUs the workers could use.
        others: Cores that other processes used, on average, in each round that counts.
        repeated: The same of each round that was taken again, because it was disturbed.
    """

    cpus: int
    others: list[float] = Field(default_factory=list)
    repeated: list[float] = Field(default_factory=list)


class Turn(Stored):
    """The methods that took turns with a cell, itself included, and how.

    Attributes:
        methods: Their names.
        rounds: In how many rounds that count.
        baseline: The method that ran twice in every round.
        aa: By metric, the second of its workers over the first, paired: 1 but for noise.
        load: What other processes used meanwhile; None where that was not sampled.
        gpu_repeats: How many rounds were taken again because the GPU was slowed down.
        marks: Why the turn's numbers take no part in a headline; empty if they may.
    """

    methods: list[str]
    rounds: int
    baseline: str | None = None
    aa: dict[str, Metric] = Field(default_factory=dict)
    load: Load | None = None
    gpu_repeats: int = 0
    marks: list[str] = Field(default_factory=list)


class Parallelism(Stored):
    """What a worker had to compute with, as it found before it measured.

    Attributes:
        asked: The threads that were asked for.
        cpus: CPUs of its affinity.
        quota: Cores that its control groups grant; None without a limit.
        team: Size of OpenMP's team.
        running: Threads that shared a parallel call; None where the system does not say.
    """

    asked: int
    cpus: int
    quota: float | None
    team: int
    running: int | None


class Spread(Stored):
    """The values of many readings.

    Attributes:
        lowest: The lowest.
        median: Their median; None in records that did not keep it.
        highest: The highest.
    """

    lowest: float
    median: float | None
    highest: float


class GpuRound(Stored):
    """How fast a GPU was in one round of a subject.

    Attributes:
        sm_clock_mhz: Median clock of the SMs; None if it was not read.
        throttle_reasons: What slowed it down at any time; None if that was not read.
    """

    sm_clock_mhz: float | None = None
    throttle_reasons: list[str] | None = None


class GpuReadings(Stored):
    """A GPU's state while a cell was measured, sampled by NVML from a second process.

    Readings that found the GPU idle are left out. With MIG, all but utilisation are the board's.

    Attributes:
        readings: How many there are.
        idle: How many were left out.
        interval_s: Seconds between them.
        sm_clock_mhz: Clock of the SMs.
        memory_clock_mhz: Clock of the memory.
        temperature_c: Temperature of the GPU in degrees Celsius.
        power_w: Power of the board, as a mean over NVML's own period.
        utilisation_percent: Share of NVML's last period in which a kernel ran.
        throttle_reasons: What slowed the GPU down at any time; empty if nothing did.
        throttled: In how many readings anything did.
        is_mig: Whether the device may be a part of a GPU.
        problems: Why a field is None, by its name.
        problem: Why there are no readings.
    """

    readings: int = 0
    idle: int = 0
    interval_s: float | None = None
    sm_clock_mhz: Spread | None = None
    memory_clock_mhz: Spread | None = None
    temperature_c: Spread | None = None
    power_w: Spread | None = None
    utilisation_percent: Spread | None = None
    throttle_reasons: list[str] | None = None
    throttled: int | None = None
    is_mig: bool = False
    problems: dict[str, str] = Field(default_factory=dict)
    problem: str | None = None


class TorchModes(Stored):
    """Torch's switches that change which kernels run, as the pass states them.

    Attributes:
        cudnn_benchmark: Whether cuDNN tries its kernels and keeps the fastest.
        deterministic: Whether training keeps to deterministic algorithms.
    """

    cudnn_benchmark: bool
    deterministic: bool


class CudaTiming(Stored):
    """How times on a GPU were taken.

    Attributes:
        l2: The states of L2 in which calls were timed.
        l2_bytes: Size of L2.
        flush_bytes: How much was read to clear it.
        host_bound: The calls whose times include waiting for the host.
    """

    l2: list[str]
    l2_bytes: int
    flush_bytes: int
    host_bound: list[str]


class Environment(Stored):
    """Where and with what a cell ran. A field that could not be read is None.

    Attributes:
        machine: CPU model and cores; not the host's name.
        git_sha: Commit of the code.
        git_dirty: Whether the code was not the commit's: tracked files changed, sources untracked.
        git_untracked: The first of these untracked sources.
        git_problem: Why git does not say the commit of a checkout.
        cpu: Model of the CPU.
        cores: Cores that the process could use.
        memory_bytes: Memory of the machine.
        threads: Threads of the worker.
        omp_wait_policy: How OpenMP's threads wait.
        cpu_capability: The instructions that torch uses.
        kernel_path: The instructions that the suite's CPU kernels were chosen for.
        load_average: Load of the system before the cell.
        os: The operating system.
        python: Version of Python.
        torch: Version of torch.
        compiler: What compiled the kernels.
        compiler_flags: Its flags.
        gpu: Model of the GPU.
        gpu_driver: Version of its driver.
        gpu_sm_clock_mhz: Clock of its SMs before the cell.
    """

    machine: str
    git_sha: str | None
    git_dirty: bool | None
    git_untracked: list[str] = Field(default_factory=list)
    git_problem: str | None = None
    cpu: str
    cores: int
    memory_bytes: int
    threads: int
    omp_wait_policy: str | None = None
    cpu_capability: str | None
    kernel_path: str | None
    load_average: float | None
    os: str
    python: str
    torch: str
    compiler: str | None
    compiler_flags: list[str] = Field(default_factory=list)
    gpu: str | None = None
    gpu_driver: str | None = None
    gpu_sm_clock_mhz: int | None = None
