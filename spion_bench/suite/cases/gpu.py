"""The GPU's cases of the ``kernels`` profile: the table of the GPU model, to be measured.

One case per shape that the tasks have and way of computing products, with as many blocks as the
published quantile can keep. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from spion_bench.records import KernelShape
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.cases.shapes import same_shapes, task_shapes

GPU_IMPLEMENTATIONS = (
    *("block_attention", "pipeline"),
    *("flex", "csr_pipeline", "dense_sdpa", "dense_xformers"),
)
GPU_SWEEP = "tasks"
"""What the report's kernel page calls the table."""

PRECISIONS = {"16bit": "float16", "tf32": "float32", "3xtf32": "float32"}
"""How products are computed, as the GPU model names it -> the torch dtype of the inputs."""


def _case(task: str, tasks: tuple[str, ...], shape: KernelShape, precision: str) -> KernelCase:
    return KernelCase(
        name=f"gpu_{task}_{precision}",
        **shape.model_dump(exclude={"n_blocks"}),
        density=shape.density,
        dtype=PRECISIONS[precision],
        implementations=GPU_IMPLEMENTATIONS,
        reason=f"one layer of a training step at the published shape of {', '.join(tasks)}",
        measures="passes",
        sweeps=(GPU_SWEEP,),
        device="cuda",
        tasks=tasks,
        precision=precision,
        tf32=precision == "tf32",
    )


def _cases() -> Iterator[KernelCase]:
    shapes, tasks = task_shapes(), same_shapes()
    for precision in PRECISIONS:
        for task, names in tasks.items():
            yield _case(task, names, shapes[task], precision)


GPU_CASES = tuple(_cases())
