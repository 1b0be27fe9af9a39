"""A plan cut into the parts that machines of a cluster run."""

from pathlib import Path

from spion_bench.run.executors.parts import parts_of
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile
from tests.cells import MACHINE, tiny_cells

METHODS = ("dense_sdpa", "spion_cf")


def parts(*groups):
    cells = expand(Profile(name="p", description="d", cells=list(groups)), MACHINE)
    return cells, parts_of(cells)


def group(*passes, **fields):
    return CellGroup(
        **{"passes": passes, "task": "image", "options": {"length": 256}, "methods": METHODS}
        | {"spion": {"block_size": 8}}
        | fields
    )


def test_seeds_are_parts_and_what_is_timed_comes_last():
    _, found = parts(group("accuracy", "speed", "memory", "shortcuts", seeds=(0, 1)))
    assert [(part.name, part.is_timed) for part in found] == [
        ("image-seed0", False),
        ("image-shortcuts", False),
        ("image-seed1", False),
        ("image-speed-memory", True),
    ]
    filters = {part.name: part.filters for part in found}
    assert filters["image-seed1"] == ("--task", "image", "--pass", "accuracy", "--seeds", "1")
    assert filters["image-shortcuts"] == ("--task", "image", "--pass", "shortcuts")


def test_every_cell_is_in_one_part_or_is_brought_by_one():
    cells, found = parts(group("accuracy", seeds=(1, 2)), group("speed"))
    placed = [cell.key for part in found for cell in part.cells]
    assert len(placed) == len(set(placed))
    left = [cell for cell in cells if cell.key not in set(placed)]
    assert {cell.pass_name for cell in left} <= {"gate"}  # of seed 0, which no part trains


def test_gates_that_are_asked_for_alone_are_a_part():
    _, found = parts(group("gate"))
    assert [(part.name, part.filters) for part in found] == [
        ("image-seed0", ("--task", "image", "--pass", "gate", "--seeds", "0"))
    ]


def test_kernels_are_a_timed_part():
    found = {part.name: part for part in parts_of(tiny_cells())}
    assert found["kernels-kernel"].filters == ("--pass", "kernel")
    assert found["kernels-kernel"].is_timed


def test_a_timed_part_takes_over_what_was_learned():
    _, (train, timed) = parts(group("accuracy", "speed"))
    options, folder = ("--profile", "p"), Path("parts")
    (only,) = train.commands(options, folder, takes_over=False)
    assert only[:3] == ("run", "--profile", "p")
    assert only[-3:] == ("--out", "parts/image-seed0", "--no-report")
    merge, run = timed.commands(options, folder, takes_over=True)
    assert merge == ("merge", "parts", "--out", "parts/image-speed")
    assert run[0] == "run"
