from spion_bench.records import KernelShape
from spion_bench.suite.cases.shapes import same_shapes, task_shapes

PUBLISHED = {  # batch, heads, length, head_dim, block_size, n_blocks
    "image": (128, 2, 1024, 32, 32, 73),
    "listops": (256, 2, 2048, 32, 64, 53),
    "pathfinder": (256, 2, 1024, 32, 32, 73),
    "retrieval": (32, 2, 4096, 32, 64, 105),
    "text": (32, 2, 4096, 32, 64, 105),
}


def test_shapes_are_those_of_the_paper():
    names = KernelShape.model_fields
    expected = {
        task: KernelShape(**dict(zip(names, sizes, strict=True)))
        for task, sizes in PUBLISHED.items()
    }
    found = task_shapes()
    assert {task: found[task] for task in expected} == expected


def test_tasks_of_one_shape_stand_together():
    groups = same_shapes()
    assert ("retrieval", "text") in groups.values()
    assert sorted(task for tasks in groups.values() for task in tasks) == sorted(task_shapes())
