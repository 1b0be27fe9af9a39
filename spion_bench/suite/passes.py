"""The passes, as data: what each is for, and how the runner treats its cells.

In the order in which they run: the gate comes before any timing, a dense prefix is trained before
what continues it, and the accuracy pass learns the patterns that the later passes measure with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from spion_bench.records.cell import KernelCell, PassName, TaskCell
from spion_bench.records.names import check_name

COMPILE_LIMIT_S = 1800.0
"""What a cell with a compiled encoder may take on top of its own time, to compile."""


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        name: Its name.
        summary: What it measures, in one line.
        session: ``"module:object"`` of its session, see ``passes.session``.
        headline: The metrics of which a one-line summary of a cell shows the first it has.
        interleaved: Whether the cells of a turn are prepared together and measured in rounds.
        checks_itself: Whether a cell runs the gate itself, whatever other cells there are.
        isolation: ``own``: a worker per cell; ``warm``: one worker per method.
        samples_gpu: Whether a GPU's state is sampled meanwhile.
        deterministic: Whether it trains with deterministic algorithms only. Where anything is timed
            they are never asked for: they can cost a method its best kernel.
        uses_pattern: Whether SPION's cells measure with the pattern of an accuracy cell.
        compiles: Whether its cells may ask for a compiled encoder. Training does not: each pattern
            would be compiled anew. A breakdown does not: compiled parts have no borders.
        gated: Whether there is attention to check; a predictor without any has no gate.
        side_by_side: Whether other cells may run meanwhile, on other cores and devices: nothing is
            timed that a table compares.
    """

    name: PassName
    summary: str
    session: str
    headline: tuple[str, ...] = ()
    interleaved: bool = False
    checks_itself: bool = False
    isolation: str = "own"
    samples_gpu: bool = False
    deterministic: bool = False
    uses_pattern: bool = False
    compiles: bool = False
    gated: bool = True
    side_by_side: bool = False


_trains = partial(Pass, samples_gpu=True, deterministic=True, side_by_side=True)
_takes_turns = partial(Pass, interleaved=True, samples_gpu=True, uses_pattern=True, compiles=True)

PASSES: dict[str, Pass] = {
    entry.name: entry
    for entry in (
        Pass(
            "gate",
            "output and gradients against a float64 oracle; planned for every measured method",
            "spion_bench.passes.gate.session:GateSession",
            checks_itself=True,
            compiles=True,
            side_by_side=True,
        ),
        Pass(
            "steps",
            "the gate, then two training steps; one worker per method, nothing timed",
            "spion_bench.passes.steps:StepsSession",
            checks_itself=True,
            isolation="warm",
            compiles=True,
            side_by_side=True,
        ),
        Pass(
            "shortcuts",
            "the task's predictors without attention, learned in seconds on the same examples",
            "spion_bench.passes.shortcuts:ShortcutSession",
            headline=("test_accuracy",),
            gated=False,
            side_by_side=True,
        ),
        _trains(
            "prefix",
            "the dense phase that SPION's variants and dense attention share, trained once",
            "spion_bench.passes.prefix:PrefixSession",
            headline=("final_train_loss",),
        ),
        _trains(
            "accuracy",
            "train, generate the pattern, train on, test; one cell per seed",
            "spion_bench.passes.accuracy:AccuracySession",
            headline=("test_accuracy",),
        ),
        _takes_turns(
            "speed",
            "time of one training step; methods take turns in random order",
            "spion_bench.passes.speed:SpeedSession",
            headline=("train_step_ms",),
        ),
        Pass(
            "breakdown",
            "where the time of a training step goes: attention, projections, norms and the rest",
            "spion_bench.passes.breakdown:BreakdownSession",
            headline=("step_attention_ms",),
            uses_pattern=True,
        ),
        _takes_turns(
            "memory",
            "peak memory of one training step in a fresh process",
            "spion_bench.passes.memory:MemorySession",
            headline=("train_step_peak_bytes",),
        ),
        _takes_turns(
            "energy",
            "joules of a training step, by the counters of the GPU or the CPU",
            "spion_bench.passes.energy:EnergySession",
            headline=("step_joules",),
        ),
        Pass(
            "kernel",
            "operators alone, from the cases that `spion-bench list` shows",
            "spion_bench.passes.kernel.session:KernelSession",
            headline=(
                *("forward_backward_ms", "forward_ms", "matmul_ms", "copy_ms"),
                *("workspace_bytes", "pattern_from_qk_ms", "generate_pattern_ms", "walk_ms"),
            ),
            interleaved=True,
            checks_itself=True,
            samples_gpu=True,
        ),
    )
}


def find_pass(name: str) -> Pass:
    """Return the pass called ``name``; UsageError suggests the nearest name."""
    return PASSES[check_name("pass", name, PASSES)]


def measures_memory(cell: TaskCell | KernelCell) -> bool:
    """Return whether a cell measures peak memory, which no load or number of threads changes.

    Its worker must start with a malloc that returns freed memory at once.
    """
    if isinstance(cell, KernelCell):
        return cell.measures == "memory"
    return cell.pass_name == "memory"


def time_limit(cell: TaskCell | KernelCell) -> float:
    """Return how long a worker may be busy with a cell, in seconds: compiling is not its fault."""
    settings = cell.settings if isinstance(cell, TaskCell) else None
    is_compiled = settings is not None and settings.compile != "none"
    return cell.timeout_s + (COMPILE_LIMIT_S if is_compiled else 0.0)


def place(name: str) -> int:
    """Return where a pass stands in the order in which passes run."""
    return list(PASSES).index(name)
