from pathlib import Path

import pytest

from spion_bench.records import TaskCell
from spion_bench.records.names import UsageError
from spion_bench.suite import keys as key_module
from spion_bench.suite.passes import PASSES
from spion_bench.suite.plan import Machine, expand, turns
from spion_bench.suite.profile import CellGroup, Profile, load_profile
from spion_bench.suite.profiles.ask import Filters
from spion_bench.tasks import registry
from tests.cells import MACHINE, TINY, tiny_cell, tiny_cells

IMAGE = {"task": "image", "options": {"length": 256}, "spion": {"block_size": 8}}


def profile(*groups):
    return Profile(name="mine", description="", cells=groups)


def keys(cells):
    return [cell.key for cell in cells]


def test_group_is_the_product_of_passes_methods_and_seeds():
    group = CellGroup(
        passes=("accuracy", "memory"), methods=("dense_sdpa", "spion_c"), seeds=(0, 1), **IMAGE
    )
    cells = expand(profile(group), MACHINE)
    measured = {(c.pass_name, c.method.name, c.seed) for c in cells if c.pass_name in group.passes}
    assert len(measured) == 8
    assert len(set(keys(cells))) == len(cells)


def test_every_measured_shape_gets_one_gate_cell_and_gates_come_first():
    group = CellGroup(
        passes=("speed", "accuracy"), methods=("dense_sdpa", "spion_c"), seeds=(0, 1, 2), **IMAGE
    )
    cells = expand(profile(group), MACHINE)
    assert [(c.pass_name, c.method.name) for c in cells[:4]] == [
        ("gate", "dense_sdpa"),
        ("gate", "spion_c"),
        ("prefix", "dense_sdpa"),
        ("prefix", "dense_sdpa"),
    ]
    by_key = {cell.key: cell for cell in cells}
    for cell in cells:
        if cell.gate is not None:
            assert by_key[cell.gate].method.name == cell.method.name
            assert by_key[cell.gate].pass_name == "gate"


def test_cells_of_the_steps_pass_are_ordered_by_method_and_check_themselves():
    groups = [
        CellGroup(passes=("steps",), task=task, methods=("spion_c", "dense_sdpa"))
        for task in ("image", "text")
    ]
    cells = expand(profile(*groups), MACHINE)
    assert [(cell.method.name, cell.task) for cell in cells] == [
        ("dense_sdpa", "image"),
        ("dense_sdpa", "text"),
        ("spion_c", "image"),
        ("spion_c", "text"),
    ]
    assert [cell.gate for cell in cells] == [None] * 4


def test_passes_run_in_their_order_whatever_the_profile_says():
    order = [cell.pass_name for cell in expand(load_profile("smoke"), MACHINE)]
    assert order == sorted(order, key=list(PASSES).index)


class TestForks:
    """Training that continues a shared dense prefix names the cell that trains it."""

    METHODS = ("dense_sdpa", "dense_eager", "spion_c", "spion_f", "spion_cf", "bigbird")

    def cells(self, **changes):
        fields = {"passes": ("accuracy",), "methods": self.METHODS, **IMAGE, **changes}
        return expand(profile(CellGroup(**fields)), MACHINE)

    def parents(self, cells):
        by_key = {cell.key: cell for cell in cells}
        return {
            c.method.name: by_key[c.parent].method.name if c.parent else None
            for c in cells
            if c.pass_name == "accuracy"
        }

    def test_the_methods_of_a_seed_share_one_prefix(self):
        cells = self.cells()
        assert [cell.pass_name for cell in cells].count("prefix") == 1
        shared = dict.fromkeys(("dense_sdpa", "spion_c", "spion_f", "spion_cf"), "dense_sdpa")
        assert self.parents(cells) == {**shared, "dense_eager": None, "bigbird": None}

    def test_the_parent_runs_first_behind_a_gate_that_is_planned(self):
        cells = self.cells()
        order = keys(cells)
        for cell in cells:
            for needed in (cell.gate, cell.parent):
                assert needed is None or order.index(needed) < order.index(cell.key)
        (prefix,) = (cell for cell in cells if cell.pass_name == "prefix")
        dense = next(c for c in cells if (c.pass_name, c.method.name) == ("gate", "dense_sdpa"))
        assert prefix.gate == dense.key

    def test_in_the_published_recipe_f_has_a_prefix_of_its_own(self):
        parents = self.parents(self.cells(recipe="published"))
        assert (parents["spion_cf"], parents["spion_f"]) == ("dense_sdpa", "spion_f")

    def test_a_layer_by_layer_transition_has_no_prefix(self):
        cells = self.cells(spion={"block_size": 8, "transition_mode": "per_layer"})
        assert "prefix" not in {cell.pass_name for cell in cells}

    @pytest.mark.parametrize(
        ("change", "is_another"),
        [
            ({"spion": {"block_size": 16}}, False),
            ({"spion": {"block_size": 8, "pruned": "minus_inf"}}, False),
            ({"spion": {"block_size": 8, "transition_threshold_percent": 7}}, True),
            ({"train": {"learning_rate": 1e-3}}, True),
            ({"model": {"dropout": 0.2}}, True),
            ({"seeds": (1,)}, True),
        ],
        ids=str,
    )
    def test_what_matters_to_the_dense_phase_makes_another_prefix(self, change, is_another):
        before, after = (
            {cell.key for cell in cells if cell.pass_name == "prefix"}
            for cells in (self.cells(), self.cells(**change))
        )
        assert (before != after) is is_another

    def test_the_key_of_a_fork_contains_its_parents(self):
        before, after = (
            {c.method.name: c.key for c in cells if c.pass_name == "accuracy"}
            for cells in (
                self.cells(),
                self.cells(spion={"block_size": 8, "transition_threshold_percent": 7}),
            )
        )
        assert before["dense_sdpa"] != after["dense_sdpa"]

    @pytest.mark.parametrize("pass_name", ["accuracy", "speed", "gate"])
    def test_settings_of_spion_are_in_the_keys_of_spion_alone(self, pass_name):
        before, after = (
            {c.method.name: c.key for c in cells if c.pass_name == pass_name}
            for cells in (
                self.cells(passes=("speed", "accuracy"), spion=spion)
                for spion in ({"block_size": 8}, {"block_size": 16, "quantile": 0.9})
            )
        )
        changed = {name for name, key in before.items() if after[name] != key}
        assert changed == {"spion_c", "spion_f", "spion_cf"}

    def test_a_filtered_fork_still_brings_its_parent(self):
        group = CellGroup(passes=("accuracy",), methods=self.METHODS, **IMAGE)
        wanted = Filters(passes=("accuracy",), methods=("spion_cf",))
        cells = expand(profile(group), MACHINE, wanted)
        assert [cell.pass_name for cell in cells] == ["prefix", "accuracy"]
        alone = expand(profile(group), MACHINE, Filters(methods=("bigbird",)))
        assert [cell.pass_name for cell in alone] == ["gate", "accuracy"]


def test_keys_are_readable_and_stable_within_a_version():
    cell = tiny_cell("accuracy")
    assert cell.key.startswith("accuracy-image256-spion_cf-s0-")
    assert len(cell.key.rpartition("-")[2]) == 8
    assert keys(expand(TINY, MACHINE)) == keys(expand(TINY, MACHINE))


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (1,)},
        {"methods": ("spion_f",)},
        {"options": {"length": 1024}},
        {"model": {"layers": 1}},
        {"train": {"steps": 3}},
        {"spion": {"block_size": 16}},
        {"recipe": "published"},
    ],
    ids=str,
)
@pytest.mark.parametrize("pass_name", ["accuracy", "speed"])
def test_key_changes_with_everything_that_can_change_a_number(pass_name, change):
    fields = {"passes": (pass_name,), "methods": ("spion_cf",), **IMAGE}
    before = expand(profile(CellGroup(**fields)), MACHINE)[-1]
    after = expand(profile(CellGroup(**{**fields, **change})), MACHINE)[-1]
    assert before.key != after.key


@pytest.mark.parametrize(("pass_name", "changes"), [("speed", True), ("accuracy", False)])
def test_how_times_are_measured_matters_where_they_are(pass_name, changes):
    fields = {"passes": (pass_name,), "methods": ("spion_cf",), **IMAGE}
    before = expand(profile(CellGroup(**fields)), MACHINE)[-1]
    after = expand(profile(CellGroup(**fields, measure={"batch_size": 3})), MACHINE)[-1]
    assert (before.key != after.key) is changes


def test_key_does_not_change_with_the_timeout_or_the_profiles_name():
    fields = {"passes": ("accuracy",), "methods": ("spion_cf",), **IMAGE}
    before = profile(CellGroup(**fields))
    after = profile(CellGroup(**fields, timeout_s=7)).model_copy(update={"name": "other"})
    assert keys(expand(before, MACHINE)) == keys(expand(after, MACHINE))


@pytest.mark.parametrize(
    "machine",
    [
        *(Machine("cuda", 2), Machine("cpu", 1), Machine("cpu", 2, Path("data"))),
        Machine("cpu", 2, name="Another CPU x 2"),
    ],
)
def test_key_changes_with_the_machine_settings(machine):
    before = [cell.key for cell in expand(TINY, MACHINE) if isinstance(cell, TaskCell)]
    assert set(keys(expand(TINY, machine))).isdisjoint(before)


def test_key_changes_with_the_source_text_and_torch(monkeypatch):
    before = keys(expand(TINY, MACHINE))
    monkeypatch.setattr(key_module, "code_hash", lambda *arguments: "other")
    assert set(before).isdisjoint(keys(expand(TINY, MACHINE)))
    monkeypatch.undo()
    monkeypatch.setattr(key_module, "_versions", lambda packages: ["99"])
    assert set(before).isdisjoint(keys(expand(TINY, MACHINE)))


def test_settings_are_resolved_in_the_plan():
    cell = tiny_cell("accuracy")
    settings = cell.resolved()
    assert (settings.model.layers, settings.train.steps, settings.spion.block_size) == (1, 10, 32)
    assert settings.spion.filter_size == 31  # the task's own
    assert (cell.length, cell.batch_size, tiny_cell("speed").batch_size) == (256, 8, 2)
    matched = tiny_cell("speed", "sliding_window@matched")
    assert matched.method.arguments["window"] == 60  # as many keys as 15 blocks of 32 in 8 rows


def test_planning_reads_each_toml_once(monkeypatch):
    read, paths = registry.read_config, []

    def counted(path):
        paths.append(path)
        return read(path)

    registry.load_config.cache_clear()
    monkeypatch.setattr(registry, "read_config", counted)
    expand(load_profile("speed"), MACHINE)
    assert len(paths) == len(set(paths)) == 3
    registry.load_config.cache_clear()


def test_filters_keep_what_they_name():
    filters = Filters(tasks=("image",), methods=("spion_cf",), seeds=(0,), passes=("speed",))
    assert [(c.pass_name, c.method.name) for c in expand(TINY, MACHINE, filters)] == [
        ("speed", "spion_cf")
    ]


def test_method_filter_knows_implementations():
    cells = expand(TINY, MACHINE, Filters(methods=("pipeline",)))
    assert [cell.case for cell in cells] == ["attention_256"]


@pytest.mark.parametrize(
    ("filters", "nearest"),
    [
        (Filters(tasks=("imge",)), "image"),
        (Filters(methods=("spion_cff",)), "spion_cf"),
        (Filters(passes=("sped",)), "speed"),
    ],
)
def test_unknown_filter_names_suggest_the_nearest(filters, nearest):
    with pytest.raises(UsageError, match=f"did you mean '{nearest}'"):
        expand(TINY, MACHINE, filters)


def test_turns_keep_interleaved_cells_together():
    groups = list(turns(tiny_cells()))
    sizes = [(group[0].pass_name, len(group)) for group in groups]
    assert sizes == [
        *[("gate", 1)] * 2,
        ("prefix", 1),
        *[("accuracy", 1)] * 2,
        ("speed", 2),
        ("memory", 2),
        ("kernel", 3),
        ("kernel", 3),
    ]
    assert [cell for group in groups for cell in group] == tiny_cells()
