"""What a cell needs before it may be measured.

Kernels that take it and, if it is a task's, its gate cell and the cell that it continues.
"""

from __future__ import annotations

from typing import Any

from spion_bench.kernel_limits import LIMITS, Kernels
from spion_bench.records import KernelCell, TaskCell
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.keys import with_code, with_key
from spion_bench.suite.methods import BASELINE, METHODS
from spion_bench.suite.passes import PASSES
from spion_bench.tasks import load_config

OWN_KERNELS: dict[str, Kernels] = {"block_attention": "fused", "block pipeline": "pipeline"}
"""The project's kernels, by what ``MethodInfo.native`` says of methods that run them."""


def kernel_refusal(cell: TaskCell | KernelCell) -> str | None:
    """Return what the project's kernels expected of a cell on its device, or None."""
    kernels = OWN_KERNELS.get(cell.method.native)
    if isinstance(cell, TaskCell) and cell.pass_name == "prefix":
        kernels = "map"  # of the criterion that ends the dense phase
    if kernels is None:
        return None
    if isinstance(cell, KernelCell):
        head_dim, batch_heads = cell.shape.head_dim, cell.shape.batch * cell.shape.heads
        block_size: Any = cell.shape.block_size
    else:
        settings = cell.resolved()
        evaluated = settings.train.eval_batch_size if cell.pass_name == "accuracy" else 1
        head_dim = settings.model.head_dim
        batch_heads = settings.model.heads * max(cell.batch_size or 1, evaluated)
        block_size = cell.method.arguments.get("block_size", settings.spion.block_size)
    return LIMITS[cell.device].refusal(
        head_dim=head_dim,
        batch_heads=batch_heads,
        block_size=None if kernels == "map" else block_size,
        # A model's operands are float32, and under autocast what their kernels take.
        dtype=cell.dtype if isinstance(cell, KernelCell) else None,
        kernels=kernels,
    )


def with_needs(cell: TaskCell) -> list[TaskCell | KernelCell]:
    """Return a cell after its gate cell and the cell that it continues, naming both."""
    if PASSES[cell.pass_name].checks_itself or not PASSES[cell.pass_name].gated:
        return [with_key(cell)]
    gate = _gate_cell(cell)
    before: list[TaskCell | KernelCell] = [gate]
    named = {"gate": gate.key}
    if (prefix := _prefix_cell(cell)) is not None:
        gate_of_prefix = _gate_cell(prefix)
        prefix = with_key(prefix.model_copy(update={"gate": gate_of_prefix.key}))
        before += [gate_of_prefix, prefix]
        named["parent"] = prefix.key
    return [*before, with_key(cell.model_copy(update=named))]


def _gate_cell(cell: TaskCell) -> TaskCell:
    """Return the gate cell that must be ok before ``cell`` may be measured."""
    published = load_config(cell.task)
    neutral = {"train": published.train, "measure": MeasureSettings(), "recipe": "corrected"}
    changes = {
        "pass_name": "gate",
        "settings": cell.resolved().model_copy(update=neutral),
        "seed": 0,
        "turn": "",
        "batch_size": None,
        "gate": None,
        "processes": 1,
        "parent": None,
        "factor": None,
    }
    return with_key(with_code(cell.model_copy(update=changes)))


def _prefix_cell(cell: TaskCell) -> TaskCell | None:
    """Return the cell that trains the dense phase which ``cell`` continues, or None.

    In the joint mode all layers turn sparse at one step, and until then a SPION run is a dense one.
    The published recipe gives variant F a schedule of its own, and so a prefix of its own.
    """
    settings, method = cell.resolved(), cell.method
    is_joint = settings.spion.transition_mode == "joint"
    if cell.pass_name != "accuracy" or not method.shares_prefix or not is_joint:
        return None
    has_own_schedule = settings.recipe == "published" and method.variant == "F"
    trained_by = method
    if not has_own_schedule:
        trained_by = METHODS[BASELINE].info(settings.spion, cell.length)
    # Of SPION's settings, the dense phase depends on the criterion alone.
    published, spion = load_config(cell.task).spion, settings.spion
    watched = {
        "transition_threshold_percent": spion.transition_threshold_percent,
        "transition_mode": spion.transition_mode,
    }
    changes = {"spion": published.model_copy(update=watched)}
    return with_code(
        cell.model_copy(
            update={
                "pass_name": "prefix",
                "method": trained_by,
                "settings": settings.model_copy(update=changes),
                "turn": "",
                "factor": None,
            }
        )
    )
