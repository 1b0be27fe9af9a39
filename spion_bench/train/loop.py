"""Training a classifier on a task, with SPION or with a dense method.

A SPION run has three phases (SPION paper, figure "overall"; ``phases`` holds them):

1. ``dense_phase``: dense attention, until the attention maps have settled;
2. ``make_patterns``: each layer's map becomes its block pattern;
3. ``sparse_phase``: block-sparse attention with fixed patterns, to the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from spion_bench.model.attention import SpionAttention
from spion_bench.model.classifier import Classifier
from spion_bench.model.encoder import MakeAttention
from spion_bench.train.checkpoint import CheckpointStore, Tree
from spion_bench.train.data import EpochOrder
from spion_bench.train.phases import Run, dense_phase, make_patterns, sparse_phase
from spion_bench.train.prefix import is_complete, read_prefix
from spion_bench.train.progress import Progress, Reporter
from spion_bench.train.result import TrainResult, conclude
from spion_bench.train.settings import TrainJob, check_fit
from spion_bench.train.state import TrainState
from spion_bench.train.usage import PeakMeter, PhaseUsage, UsageClock

CHECKPOINT_EVERY_S = 60.0


def train(
    job: TrainJob,
    *,
    make_attention: MakeAttention,
    method: str,
    out_dir: Path,
    prefix: Path | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    peak_meter: PeakMeter | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> TrainResult:
    """Train one method on one task with one seed, and test it.

    The same seed, machine, torch, thread and process count give the same losses, bit for bit,
    whether the run was interrupted and resumed or not, and whether its dense phase was forked or
    trained. Several processes see the same batches in the same order as one does; without dropout,
    which each draws for its own share, their losses differ from one process's by rounding alone.
    The caller's torch random state and deterministic mode are restored.

    Args:
        job: What to train; every process of ``job.ranks`` calls this, and the first one's files and
            progress count.
        make_attention: Makes the attention module of a layer; ``SpionAttention`` for a variant.
        method: The method's name, part of the checkpoint's identity.
        out_dir: The folder of this run's checkpoint.
        prefix: The folder of a finished dense prefix to continue (see ``train_prefix``); None
            trains the dense phase here.
        progress: Called about ten times a second and at every evaluation.
        resume: Whether to continue from the checkpoint in ``out_dir``; False deletes it.
        peak_meter: Measures peak memory by phase.
        checkpoint_every_s: Seconds between checkpoints; there is also one after every phase.

    Raises:
        ValueError: If the settings do not fit the task or the method.
        UnsupportedError: If the device does not compute in the precision.
        NonFiniteLossError: If a training loss is NaN or infinite.
        CheckpointError: If a checkpoint is damaged, of another run, or cannot be written.
    """
    check_fit(job, job.variant)
    store = CheckpointStore(out_dir, job.identity(method), checkpoint_every_s)
    if not resume and job.ranks.is_first:
        store.clear()
    job.ranks.wait()
    with _deterministic(job.device):
        reporter = Reporter(progress, job.settings.train.steps)
        seeks = job.variant is not None
        run = _make_run(job, store, reporter, peak_meter, make_attention, seeks_transition=seeks)
        checkpoint = store.load()
        if checkpoint is not None:
            run.restore(checkpoint)
        elif prefix is not None:
            _fork(run, read_prefix(prefix, job.prefix_identity()))
        job.ranks.wait()  # until all have read what the first one will replace
        _run_phases(run)
        return conclude(run)


def train_prefix(
    job: TrainJob,
    *,
    out_dir: Path,
    progress: Progress | None = None,
    peak_meter: PeakMeter | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> TrainState:
    """Train the dense phase that runs continue with ``prefix=out_dir``, or what is left of it.

    Args:
        job: What to train; of the settings of its patterns, the criterion alone counts.
        out_dir: The folder of the prefix.
        progress: See ``train``, as for the rest.
        peak_meter: See ``train``.
        checkpoint_every_s: See ``train``.

    Returns:
        The state at the transition, or after the last step if there was none.

    Raises:
        ValueError, NonFiniteLossError, CheckpointError: See ``train``.
    """
    check_fit(job, None)
    identity = job.prefix_identity()
    store = CheckpointStore(out_dir, identity, checkpoint_every_s)
    with _deterministic(job.device):
        reporter = Reporter(progress, job.settings.train.steps)
        run = _make_run(job, store, reporter, peak_meter, _watched_dense, seeks_transition=True)
        tree = store.load()
        if tree is not None:
            run.restore(tree)
        job.ranks.wait()
        if tree is None or not is_complete(tree, identity):
            dense_phase(run)
        return run.state


def _run_phases(run: Run) -> None:
    """Run what is left of the three phases; layers may turn sparse one after the other."""
    while not run.is_finished and run.state.phase == "dense":
        if not run.state.pending:
            dense_phase(run)
        if run.state.pending and run.job.variant is not None:
            make_patterns(run, run.job.variant)
    sparse_phase(run)


def _fork(run: Run, prefix: Tree) -> None:
    """Start ``run`` from a dense prefix; a dense run just goes on from there."""
    run.restore(prefix)
    run.state.forked_from_prefix = True
    if run.job.variant is None:
        run.state.pending = {}
        vars(run.state.usage["pattern"]).update(vars(PhaseUsage()))


def _make_run(
    job: TrainJob,
    store: CheckpointStore,
    reporter: Reporter,
    peak_meter: PeakMeter | None,
    make_attention: MakeAttention,
    *,
    seeks_transition: bool,
) -> Run:
    torch.manual_seed(job.seed)
    job.arithmetic.choose_products()
    model = Classifier(job.settings.model, make_attention).to(job.device)
    layers = model.attention_layers()
    if seeks_transition and not all(isinstance(layer, SpionAttention) for layer in layers):
        raise ValueError(
            f"make_attention: expected SpionAttention layers for variant {job.variant!r}, got "
            f"{sorted({type(layer).__name__ for layer in layers})}; dense methods have variant None"
        )
    replica = job.ranks.replica(model)
    job.ranks.seed(job.seed)
    config = job.settings.train
    optimizer = torch.optim.AdamW(
        model.parameters(), eps=config.adam_eps, weight_decay=config.weight_decay, fused=True
    )
    state = TrainState.at_start(job.settings.model.layers, job.settings.spion)
    return Run(
        job=job,
        seeks_transition=seeks_transition,
        model=model,
        replica=replica,
        optimizer=optimizer,
        scaler=job.arithmetic.scaler(),
        order=EpochOrder(len(job.task.train), config.batch_size, job.seed),
        state=state,
        clock=UsageClock(state.usage, job.device, peak_meter),
        store=store,
        reporter=reporter,
    )


def _watched_dense(layer: int) -> SpionAttention:
    """Make the attention of a prefix: dense, and able to show its map; it never gets a pattern."""
    return SpionAttention(pruned="zero_logit")


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Keep to deterministic algorithms; restore torch's modes and random state afterwards."""
    products = torch.get_float32_matmul_precision()
    was_on = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # defines its one switch at run time only
    was_filled = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(True)
        # Filling every torch.empty would slow down the operators that are to be timed.
        memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(products)
            torch.use_deterministic_algorithms(was_on, warn_only=only_warned)
            memory.fill_uninitialized_memory = was_filled
