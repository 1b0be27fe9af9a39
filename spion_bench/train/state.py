"""The state of a run besides its weights, optimiser and random generators."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.pattern.transition import TransitionMonitor
from spion_bench.records.settings import SpionConfig
from spion_bench.train.usage import Phase, PhaseUsage

TrainingPhase = Literal["dense", "sparse"]


@dataclass(frozen=True)
class LayerStages:
    """How one layer's pattern came about, for the report's pictures.

    Attributes:
        map: float32 ``[n, n]``, the attention map average-pooled to at most 256 x 256.
        pooled: float32 ``[nb, nb]``, the (filtered) map averaged over blocks.
        mask: bool ``[nb, nb]``, the chosen blocks, before the diagonal is forced.
    """

    map: Tensor
    pooled: Tensor
    mask: Tensor


@dataclass(frozen=True)
class DevPoint:
    """One evaluation on the full dev set, after ``step`` completed steps."""

    step: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class BestWeights:
    """The weights with the highest dev accuracy of a phase; the first of equals."""

    point: DevPoint
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """What training has done so far. Steps are counted as completed steps.

    Attributes:
        monitor: The transition test.
        patterns: Each layer's pattern; None while the layer is dense.
        layer_steps: The step after which each layer turned sparse.
        stages: How each pattern came about.
        step: Completed training steps.
        forced: Whether ``latest_transition_step`` turned a layer sparse.
        pending: Attention maps of layers that leave the dense phase but have no pattern yet.
        train_loss: Loss of every step.
        lr: Learning rate of every step.
        dev: All evaluations.
        best: The best weights of each phase.
        usage: What each phase cost.
        forked_from_prefix: Whether the dense phase was taken from a shared prefix.
    """

    monitor: TransitionMonitor
    patterns: list[BlockPattern | None]
    layer_steps: list[int | None]
    stages: list[LayerStages | None]
    step: int = 0
    forced: bool = False
    pending: dict[int, Tensor] = field(default_factory=dict)
    train_loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    dev: list[DevPoint] = field(default_factory=list)
    best: dict[TrainingPhase, BestWeights] = field(default_factory=dict)
    usage: dict[Phase, PhaseUsage] = field(
        default_factory=lambda: {phase: PhaseUsage() for phase in get_args(Phase)}
    )
    forked_from_prefix: bool = False

    @classmethod
    def at_start(cls, n_layers: int, spion: SpionConfig) -> TrainState:
        """Return the state before the first step."""
        monitor = TransitionMonitor(
            n_layers,
            mode=spion.transition_mode,
            threshold_percent=spion.transition_threshold_percent,
        )
        return cls(monitor, [None] * n_layers, [None] * n_layers, [None] * n_layers)

    @property
    def transition_step(self) -> int | None:
        """The step after which every layer is sparse; None before."""
        steps = [step for step in self.layer_steps if step is not None]
        return max(steps) if len(steps) == len(self.layer_steps) else None

    @property
    def phase(self) -> TrainingPhase:
        """``"dense"`` until every layer is sparse."""
        return "dense" if self.transition_step is None else "sparse"

    def patterns_at(self, step: int) -> list[BlockPattern | None]:
        """Return the patterns that were in force when ``step`` steps had just been completed."""
        return [
            pattern if turned is not None and turned < step else None
            for pattern, turned in zip(self.patterns, self.layer_steps, strict=True)
        ]

    def to_tree(self) -> dict[str, Any]:
        """Return the state as a checkpoint tree (see ``checkpoint``)."""
        maps, values = self.monitor.state_dict()
        return {
            "monitor": {"maps": maps, "values": values},
            "patterns": [None if p is None else _pattern_tree(p) for p in self.patterns],
            "layer_steps": self.layer_steps,
            "stages": [None if s is None else dict(vars(s)) for s in self.stages],
            "step": self.step,
            "forced": self.forced,
            "pending": {str(layer): taken for layer, taken in self.pending.items()},
            "train_loss": self.train_loss,
            "lr": self.lr,
            "dev": [asdict(point) for point in self.dev],
            "best": {
                phase: {"point": asdict(best.point), "weights": best.weights}
                for phase, best in self.best.items()
            },
            "usage": {phase: asdict(usage) for phase, usage in self.usage.items()},
            "forked_from_prefix": self.forked_from_prefix,
        }

    def load_tree(self, tree: dict[str, Any]) -> None:
        """Take over a tree written by ``to_tree``."""
        self.monitor.load_state_dict(tree["monitor"]["maps"], tree["monitor"]["values"])
        self.patterns = [None if p is None else BlockPattern(**p) for p in tree["patterns"]]
        self.layer_steps = tree["layer_steps"]
        self.stages = [None if s is None else LayerStages(**s) for s in tree["stages"]]
        self.step = tree["step"]
        self.forced = tree["forced"]
        self.pending = {int(layer): taken for layer, taken in tree["pending"].items()}
        self.train_loss = tree["train_loss"]
        self.lr = tree["lr"]
        self.dev = [DevPoint(**point) for point in tree["dev"]]
        self.best = {
            phase: BestWeights(DevPoint(**best["point"]), best["weights"])
            for phase, best in tree["best"].items()
        }
        # In place: the run's clock adds to these very objects.
        for phase, usage in tree["usage"].items():
            vars(self.usage[phase]).update(usage)
        self.forked_from_prefix = tree["forked_from_prefix"]


def _pattern_tree(pattern: BlockPattern) -> dict[str, Any]:
    return {
        "block_size": pattern.block_size,
        "crow_indices": pattern.crow_indices,
        "col_indices": pattern.col_indices,
    }
