"""The three phases of SPION: dense training, pattern generation, sparse training.

``dense_phase``, ``make_patterns`` and ``sparse_phase`` work on a ``Run``. Their order, and what
the published code does differently, is in ``loop`` and in ``schedule.Recipe``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Variant
from spion_bench.model.attention import SpionAttention
from spion_bench.model.classifier import Classifier
from spion_bench.pattern.generate import pattern_stages
from spion_bench.pattern.placement import place_blocks
from spion_bench.train.checkpoint import CheckpointStore, Tree
from spion_bench.train.data import EpochOrder, to_batch
from spion_bench.train.evaluate import evaluate
from spion_bench.train.progress import Reporter
from spion_bench.train.schedule import rate_and_beta1
from spion_bench.train.settings import TrainJob
from spion_bench.train.state import BestWeights, DevPoint, LayerStages, TrainState
from spion_bench.train.usage import UsageClock

MAX_MAP_SIDE = 256


class NonFiniteLossError(RuntimeError):
    """The training loss became NaN or infinite.

    Attributes:
        step: The step, counted from 1, whose loss it is.
        loss: The loss.
    """

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(
            f"the training loss of step {step} is {loss}; training cannot go on (a smaller "
            "learning_rate or a longer warm-up may help)"
        )
        self.step = step
        self.loss = loss


@dataclass
class Run:
    """Everything that training works on.

    ``seeks_transition`` is true for a SPION run and for the dense prefix of one. ``replica``
    computes training losses: the model, its gradients averaged over the processes that train.
    """

    job: TrainJob
    seeks_transition: bool
    model: Classifier
    replica: nn.Module
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    order: EpochOrder
    state: TrainState
    clock: UsageClock
    store: CheckpointStore
    reporter: Reporter

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done."""
        return self.state.step >= self.job.settings.train.steps

    def save(self) -> None:
        """Write a checkpoint of the whole run, with the random state of every process."""
        self.clock.pause()
        ranks, device = self.job.ranks, self.job.device
        rng = ranks.gathered(torch.get_rng_state())
        is_cuda = device.type == "cuda"
        cuda_rng = ranks.gathered(torch.cuda.get_rng_state(device)) if is_cuda else None
        if ranks.is_first:
            self.store.save(
                {
                    "model": dict(self.model.state_dict()),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "rng": rng,
                    "cuda_rng": cuda_rng,
                    "state": self.state.to_tree(),
                }
            )

    def restore(self, tree: Tree) -> None:
        """Continue from a checkpoint written by ``save``."""
        self.state.load_tree(tree["state"])
        self.use_patterns(self.state.patterns)
        self.model.load_state_dict(tree["model"])
        optimizer = tree["optimizer"]
        moments = {int(index): moment for index, moment in optimizer["state"].items()}
        self.optimizer.load_state_dict({**optimizer, "state": moments})
        self.scaler.load_state_dict(tree["scaler"])
        rank = self.job.ranks.rank
        torch.set_rng_state(tree["rng"][rank])
        if tree["cuda_rng"] is not None:
            torch.cuda.set_rng_state(tree["cuda_rng"][rank], self.job.device)

    def use_patterns(self, patterns: list[BlockPattern | None]) -> None:
        """Give each layer its pattern, or make it dense where that is None."""
        for layer, pattern in zip(self.model.attention_layers(), patterns, strict=True):
            if isinstance(layer, SpionAttention):
                layer.pattern = None if pattern is None else pattern.to(self.job.device)


def dense_phase(run: Run) -> None:
    """Train until layers leave the dense phase, or to the last step.

    Layers that leave it, all at once or each by itself, have their attention maps in
    ``run.state.pending`` afterwards. The maps are those of the last training batch, in training
    mode and before its weight update, as in the published code.
    """
    while not run.is_finished and not run.state.pending and run.state.phase == "dense":
        is_observed = _is_observed(run)
        if is_observed:
            _watch_dense_layers(run)
        _train_step(run)
        if is_observed:
            _test_transition(run)
        _evaluate_if_due(run)
        _end_step(run)
    run.save()


def make_patterns(run: Run, variant: Variant) -> None:
    """Turn the pending attention maps into patterns; their layers are sparse from now on."""
    state, spion = run.state, run.job.settings.spion
    for index, attention_map in sorted(state.pending.items()):
        with run.clock.work("pattern"):
            stages = pattern_stages(attention_map, variant=variant, **spion.pattern_options)
        seed = 1000 * run.job.seed + index
        state.patterns[index] = place_blocks(
            stages.pattern, run.job.blocks, seed=seed, attention_map=attention_map
        )
        state.layer_steps[index] = state.step
        state.stages[index] = LayerStages(_shrink(attention_map), stages.pooled, stages.mask)
    state.pending = {}
    run.use_patterns(state.patterns)
    run.save()
    densities = [pattern.density for pattern in state.patterns if pattern is not None]
    shown = ", ".join(f"{density:.1%}" for density in densities)
    run.reporter.emit("pattern", state.step, message=f"kept blocks by layer: {shown}")


def sparse_phase(run: Run) -> None:
    """Train to the last step with every layer's pattern fixed."""
    while not run.is_finished:
        _train_step(run)
        _evaluate_if_due(run)
        _end_step(run)
    run.save()


def update_weights(
    loss: Tensor,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    clip_value: float,
) -> None:
    """Take one optimiser step along fresh gradients whose entries are clipped (B9.4).

    Where the loss is scaled, gradients that overflow are no step: the scale is lowered instead.
    """
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_value_(model.parameters(), clip_value)
    scaler.step(optimizer)
    scaler.update()


def _train_step(run: Run) -> None:
    state, config = run.state, run.job.settings.train
    with run.clock.work(state.phase, is_step=True):
        transition = state.transition_step
        lr, beta1 = rate_and_beta1(
            state.step,
            config,
            run.job.recipe,
            run.job.variant,
            None if transition is None else transition - 1,
        )
        for group in run.optimizer.param_groups:
            group["lr"], group["betas"] = lr, (beta1, config.adam_beta2)
        chosen = run.job.ranks.share(run.order.indices(state.step))
        inputs, labels = to_batch(run.job.task.train, chosen, run.job.device)
        run.model.train()
        loss = run.job.arithmetic.loss(run.replica, inputs, labels)
        value = run.job.ranks.mean_of(loss.item())
        if not math.isfinite(value):
            raise NonFiniteLossError(state.step + 1, value)
        update_weights(loss, run.model, run.optimizer, run.scaler, config.clip_value)
    state.step += 1
    state.train_loss.append(value)
    state.lr.append(lr)


def _is_observed(run: Run) -> bool:
    """Whether the next step is one after which layers may leave the dense phase.

    The last step is not: a transition needs a step to follow it.
    """
    config, completed = run.job.settings.train, run.state.step + 1
    is_candidate = completed % config.eval_every == 0 or completed == config.latest_transition_step
    return run.seeks_transition and is_candidate and completed < config.steps


def _watch_dense_layers(run: Run) -> None:
    for layer in _spion_layers(run):
        if layer.pattern is None:
            layer.watch()


def _test_transition(run: Run) -> None:
    """Compare the watched maps with the earlier ones; force the transition when it is time."""
    state, config = run.state, run.job.settings.train
    layers = _spion_layers(run)
    with run.clock.work("pattern"):
        mean = run.job.ranks.mean
        maps = [mean(layer.take_map()) if layer.pattern is None else None for layer in layers]
        leaving = [False] * len(layers)
        if state.step % config.eval_every == 0:
            leaving = state.monitor.observe(maps)
    if state.step == config.latest_transition_step and not all(leaving):
        state.forced = True
        leaving = [True] * len(layers)
    state.pending = {
        index: taken
        for index, (taken, leaves) in enumerate(zip(maps, leaving, strict=True))
        if leaves and taken is not None
    }


def _evaluate_if_due(run: Run) -> None:
    """Evaluate on the full dev set at evaluation steps and after the last step."""
    state, config = run.state, run.job.settings.train
    if state.step % config.eval_every and not run.is_finished:
        return
    with run.clock.validation(state.phase):
        dev = run.job.task.dev
        loss, correct = evaluate(
            run.model, dev, config.eval_batch_size, run.job.arithmetic, run.job.ranks
        )
    point = DevPoint(state.step, loss, int(correct.sum()) / len(dev))
    state.dev.append(point)
    best = state.best.get(state.phase)
    if best is None or point.accuracy > best.point.accuracy:
        weights = {name: w.detach().cpu().clone() for name, w in run.model.state_dict().items()}
        state.best[state.phase] = BestWeights(point, weights)
    run.reporter.emit(state.phase, state.step, state.train_loss[-1], point.accuracy)


def _end_step(run: Run) -> None:
    if run.job.ranks.of_first(run.store.is_due()):
        run.save()
    run.reporter.step(run.state.phase, run.state.step, run.state.train_loss[-1])


def _spion_layers(run: Run) -> list[SpionAttention]:
    return [layer for layer in run.model.attention_layers() if isinstance(layer, SpionAttention)]


def _shrink(attention_map: Tensor) -> Tensor:
    """Average-pool a map to at most ``MAX_MAP_SIDE`` a side, enough for a picture."""
    side = attention_map.shape[0]
    factor = -(-side // MAX_MAP_SIDE)
    pooled = F.avg_pool2d(attention_map[None, None].float(), factor, ceil_mode=True)
    return pooled[0, 0].cpu()
