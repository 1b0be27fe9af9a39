from collections import Counter
from typing import get_args

import pytest

from spion_bench.records.cell import Factor
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile, load_profile
from tests.cells import MACHINE

FIELDS = {"task": "listops", "options": {"variant": "shallow"}, "methods": ("spion_cf",)}
OWN_PREFIX = {"spion.transition_threshold_percent", "train.latest_transition_step"}


@pytest.fixture(scope="module")
def cells():
    return expand(load_profile("ablate"), MACHINE)


def settings_of(cell):
    found = cell.resolved()
    sections = {"spion": found.spion, "train": found.train}
    flat = {f"{s}.{name}": v for s, part in sections.items() for name, v in part}
    return {**flat, "method.variant": cell.method.variant}


def test_a_level_differs_from_its_group_in_its_factor_alone(cells):
    trained = [cell for cell in cells if cell.pass_name == "accuracy"]
    assert {cell.factor for cell in trained} == {None, *get_args(Factor)}
    for task in ("image", "listops"):
        mine = [cell for cell in trained if cell.task == task]
        base = next(settings_of(c) for c in mine if c.method.name == "spion_cf" and not c.factor)
        for cell in (cell for cell in mine if cell.factor):
            own = settings_of(cell)
            changed = {name for name in own if own[name] != base[name]}
            # Variant C alone keeps a share of the blocks that is given.
            assert changed - {"method.variant"} == {cell.factor} - {"method.variant"}
            assert cell.level(cell.factor) == own[cell.factor]


def test_all_levels_of_a_seed_continue_one_prefix_where_it_ends_alike(cells):
    trained = [cell for cell in cells if cell.pass_name == "accuracy" and cell.parent]
    shared = {(c.task, c.seed, c.parent) for c in trained if c.factor not in OWN_PREFIX}
    assert len(shared) == 2 * 3
    assert all(cell.factor is None for cell in cells if cell.pass_name != "accuracy")


def test_ablate_is_about_three_hours_of_two_cores(cells):
    counts = Counter(cell.pass_name for cell in cells)
    assert counts["accuracy"] <= 140
    steps = 0
    for cell in cells:
        if cell.pass_name not in ("prefix", "accuracy"):
            continue
        train = cell.resolved().train
        before = train.latest_transition_step if cell.pass_name == "prefix" or cell.parent else 0
        steps += before if cell.pass_name == "prefix" else train.steps - before
    assert steps <= 140_000  # at about 60 ms each, and ten seconds around each training


def test_the_factor_is_no_part_of_a_key_and_belongs_to_training_alone():
    def keys(**fields):
        group = CellGroup(passes=("accuracy",), **FIELDS, **fields)
        return [c.key for c in expand(Profile(name="m", description="", cells=(group,)), MACHINE)]

    assert keys() == keys(factor="spion.pruned")
    with pytest.raises(ValueError, match="factor: levels of an ablation are cells of the pass acc"):
        CellGroup(passes=("speed",), factor="spion.pruned", **FIELDS)
