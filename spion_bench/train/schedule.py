"""The learning-rate schedule as pure functions, and the recipes that decide what is published.

The one-cycle schedule of the SPION code (``torch.optim.lr_scheduler.OneCycleLR``, linear, momentum
cycling on) is written as a closed form of a counter n, so a resumed run needs no scheduler
state: ``counter`` says which n a training step uses. Numbers like B9.7 are those of the list of
decisions in ARCHITECTURE.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from spion_bench.literals import RecipeName, Variant
from spion_bench.records.settings import TrainConfig

START_DIVISOR = 25.0
END_DIVISOR = 25.0e4
HIGH_BETA1 = 0.95
LOW_BETA1 = 0.85


@dataclass(frozen=True)
class Recipe:
    """Which behaviours of the published training code a run keeps.

    Attributes:
        lr_lag: B9.7. Step s uses the schedule's value for step s - 1 (SPION-CF and -C only).
        lr_restart: B9.7. The warm-up starts again after the transition (SPION-CF and -C only).
        cycle_beta1: B9.6. Adam's beta1 runs 0.95 -> 0.85 -> 0.95 instead of its configured value.

    Both recipes decide these the same way, as a run would mean little otherwise:

    - B9.4: gradients are cleared at every step. The published code never clears them, which mixed
      precision hides: its loss scale of 65536 divides the old gradient by as much. Without mixed
      precision, as here, the same omission would be plain gradient accumulation.
    - B9.5: a loss that is not finite ends the run with an error.
    - B9.22: wall times exclude validation, which is reported apart; memory is reported by phase.
    - B9.23: the best checkpoint is kept per phase, so the sparse pattern is never tested with
      weights of the dense phase.
    - B9.24: every evaluation uses the full dev set, the test the full test set, and the last step
      is always evaluated.
    """

    lr_lag: bool
    lr_restart: bool
    cycle_beta1: bool


RECIPES: MappingProxyType[RecipeName, Recipe] = MappingProxyType(
    {
        "published": Recipe(lr_lag=True, lr_restart=True, cycle_beta1=True),
        "corrected": Recipe(lr_lag=False, lr_restart=False, cycle_beta1=False),
    }
)


def one_cycle(n: int, *, max_lr: float, warmup_steps: int, total_steps: int) -> tuple[float, float]:
    """Return the one-cycle learning rate and Adam's beta1 at counter ``n``.

    The rate rises linearly from ``max_lr / 25`` at n = 0 to ``max_lr`` at n = warmup_steps - 1 and
    falls linearly to ``max_lr / 250000`` at n = total_steps - 1; beta1 runs 0.95 -> 0.85 -> 0.95
    alongside. A warm-up of 0 or 1 steps starts at the peak.

    Raises:
        ValueError: If ``n`` is not a counter of the schedule.
    """
    if not 0 <= n < total_steps:
        raise ValueError(f"n: expected a counter from 0 to {total_steps - 1}, got {n}")
    peak = max(warmup_steps - 1, 0)
    if n < peak:
        share = n / peak
        return (
            _between(max_lr / START_DIVISOR, max_lr, share),
            _between(HIGH_BETA1, LOW_BETA1, share),
        )
    share = (n - peak) / max(total_steps - 1 - peak, 1)
    return _between(max_lr, max_lr / END_DIVISOR, share), _between(LOW_BETA1, HIGH_BETA1, share)


def counter(step: int, recipe: Recipe, variant: Variant | None, transition_step: int | None) -> int:
    """Return the schedule counter of a training step.

    Published CF and C use max(s - 1, 0) at step s; after a transition at step T, step T + 1 still
    uses T and step T + k (k >= 2) uses k - 1. Published F, and every corrected run, use s.

    Args:
        step: The training step s, counted from 0.
        recipe: The run's recipe.
        variant: SPION's variant; None is a dense run, which follows CF without ever restarting.
        transition_step: The last dense step T, counted from 0; None before the transition.
    """
    if variant == "F":
        return step
    if recipe.lr_restart and transition_step is not None and step > transition_step + 1:
        return step - transition_step - 1
    return max(step - 1, 0) if recipe.lr_lag else step


def rate_and_beta1(
    step: int,
    config: TrainConfig,
    recipe: Recipe,
    variant: Variant | None,
    transition_step: int | None,
) -> tuple[float, float]:
    """Return the learning rate and Adam's beta1 in force during a step (counted from 0)."""
    lr, beta1 = one_cycle(
        counter(step, recipe, variant, transition_step),
        max_lr=config.learning_rate,
        warmup_steps=config.warmup_steps,
        total_steps=config.steps,
    )
    return lr, beta1 if recipe.cycle_beta1 else config.adam_beta1


def _between(start: float, end: float, share: float) -> float:
    return start + share * (end - start)
