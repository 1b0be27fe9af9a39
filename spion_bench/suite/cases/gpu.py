"""The GPU's cases of the ``kernels`` profile: the table of the GPU model, to be measured.

One case per shape that the tasks have and way of computing products, with as many blocks as the
published quantile can keep. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from spion_bench.gpu_model.devices import HALF, PRECISIONS, TF32, Precision
from spion_bench.gpu_model.tables import same_shapes, task_shapes
from spion_bench.gpu_model.work import Shape
from spion_bench.suite.cases.case import KernelCase

GPU_SUBJECTS = (
    *("block_attention", "pipeline"),
    *("flex", "csr_pipeline", "dense_sdpa", "dense_xformers"),
)
GPU_SWEEP = "tasks"
"""What the report's kernel page calls the table."""


def _case(task: str, tasks: str, shape: Shape, precision: Precision) -> KernelCase:
    return KernelCase(
        name=f"gpu_{task}_{precision.name}",
        batch=shape.batch,
        heads=shape.heads,
        length=shape.length,
        head_dim=shape.head_dim,
        block_size=shape.block_size,
        density=shape.density,
        dtype="float16" if precision is HALF else "float32",
        subjects=GPU_SUBJECTS,
        reason=f"one layer of a training step at the published shape of {tasks}",
        measures="passes",
        sweeps=(GPU_SWEEP,),
        device="cuda",
        tasks=tasks,
        products=precision.label,
        tf32=precision is TF32,
    )


def _cases() -> Iterator[KernelCase]:
    shapes, tasks = task_shapes(), same_shapes()
    for precision in PRECISIONS.values():
        for task, names in tasks.items():
            yield _case(task, names, shapes[task], precision)


GPU_CASES = tuple(_cases())
