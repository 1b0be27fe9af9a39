"""One measured number, and how it was taken: its turn, the load meanwhile, a GPU's clocks."""

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
        marks: Why the turn's numbers take no part in a headline; empty if they may.
    """

    methods: list[str]
    rounds: int
    baseline: str | None = None
    aa: dict[str, Metric] = Field(default_factory=dict)
    load: Load | None = None
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


class Clocks(Stored):
    """A GPU's clocks in MHz while a cell was measured, and what slowed it down at any time.

    ``problem`` says why they could not be read; the other fields are then None.
    """

    sm_before_mhz: int | None = None
    sm_after_mhz: int | None = None
    sm_lowest_mhz: int | None = None
    memory_after_mhz: int | None = None
    throttle_reasons: list[str] | None = None
    problem: str | None = None


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
