from pathlib import Path

import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite import plan
from spion_bench.suite.plan import (
    Filters,
    Machine,
    estimate_seconds,
    expand,
    gate_cell,
    turns,
)
from spion_bench.suite.profile import PASSES, CellGroup, Profile, load_profile
from tests.cells import TINY, metric, record_of, tiny_cell, tiny_cells

MACHINE = Machine("cpu", threads=2)
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
    measured = {(c.pass_name, c.method, c.seed) for c in cells if c.pass_name != "gate"}
    assert len(measured) == 8
    assert len(set(keys(cells))) == len(cells)


def test_every_measured_shape_gets_one_gate_cell_and_gates_come_first():
    group = CellGroup(
        passes=("speed", "accuracy"), methods=("dense_sdpa", "spion_c"), seeds=(0, 1, 2), **IMAGE
    )
    cells = expand(profile(group), MACHINE)
    assert [(c.pass_name, c.method) for c in cells[:3]] == [
        ("gate", "dense_sdpa"),
        ("gate", "spion_c"),
        ("accuracy", "dense_sdpa"),
    ]
    by_key = {cell.key: cell for cell in cells}
    for cell in cells:
        gate = gate_cell(cell)
        if gate is not None:
            assert by_key[gate.key].method == cell.method


def test_cells_of_the_steps_pass_are_ordered_by_method_and_check_themselves():
    groups = [
        CellGroup(passes=("steps",), task=task, methods=("spion_c", "dense_sdpa"))
        for task in ("image", "text")
    ]
    cells = expand(profile(*groups), MACHINE)
    assert [(cell.method, cell.task) for cell in cells] == [
        ("dense_sdpa", "image"),
        ("dense_sdpa", "text"),
        ("spion_c", "image"),
        ("spion_c", "text"),
    ]
    assert [gate_cell(cell) for cell in cells] == [None] * 4


def test_passes_run_in_their_order_whatever_the_profile_says():
    order = [cell.pass_name for cell in expand(load_profile("smoke"), MACHINE)]
    assert order == sorted(order, key=list(PASSES).index)


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
        {"measure": {"batch_size": 3}},
    ],
    ids=str,
)
def test_key_changes_with_everything_that_can_change_a_number(change):
    fields = {"passes": ("accuracy",), "methods": ("spion_cf",), **IMAGE}
    before = expand(profile(CellGroup(**fields)), MACHINE)[-1]
    after = expand(profile(CellGroup(**{**fields, **change})), MACHINE)[-1]
    assert before.key != after.key


def test_key_does_not_change_with_the_timeout():
    fields = {"passes": ("accuracy",), "methods": ("spion_cf",), **IMAGE}
    before = expand(profile(CellGroup(**fields)), MACHINE)
    after = expand(profile(CellGroup(**fields, timeout_s=7)), MACHINE)
    assert keys(before) == keys(after)


@pytest.mark.parametrize(
    "machine", [Machine("cuda", 2), Machine("cpu", 1), Machine("cpu", 2, Path("data"))]
)
def test_key_changes_with_the_machine_settings(machine):
    assert set(keys(expand(TINY, machine))).isdisjoint(keys(expand(TINY, MACHINE)))


def test_key_changes_with_the_source_text_and_torch(monkeypatch):
    before = keys(expand(TINY, MACHINE))
    monkeypatch.setattr(plan, "code_hash", lambda: "other")
    assert set(before).isdisjoint(keys(expand(TINY, MACHINE)))
    monkeypatch.undo()
    monkeypatch.setattr(plan, "version", lambda package: "99")
    assert set(before).isdisjoint(keys(expand(TINY, MACHINE)))


def test_source_hash_covers_kernels_and_baselines_but_not_reports(tmp_path, monkeypatch):
    package = tmp_path / "spion_bench"
    files = ["ops/x.py", "report/page.py", "cli.py", "../csrc/cpu/x.cpp", "../baselines/b.py"]
    for name in files:
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    monkeypatch.setattr(plan, "PACKAGE_ROOT", package)
    fresh_hash = plan.code_hash.__wrapped__
    changed = []
    for name in files:
        before = fresh_hash()
        (package / name).write_text("2")
        changed.append(fresh_hash() != before)
    assert changed == [True, False, False, True, True]


def test_filters_keep_what_they_name():
    filters = Filters(tasks=("image",), methods=("spion_cf",), seeds=(0,), passes=("accuracy",))
    assert [(c.pass_name, c.method) for c in expand(TINY, MACHINE, filters)] == [
        ("accuracy", "spion_cf")
    ]
    assert expand(TINY, MACHINE, Filters(seeds=(9,))) == []


def test_method_filter_knows_kernel_subjects():
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


def test_gate_and_kernel_cells_need_no_gate():
    assert gate_cell(tiny_cell("gate")) is None
    assert gate_cell(tiny_cell("kernel", "pipeline")) is None


def test_turns_keep_interleaved_cells_together():
    groups = list(turns(tiny_cells()))
    sizes = [(group[0].pass_name, len(group)) for group in groups]
    assert sizes == [
        *[("gate", 1)] * 2,
        *[("accuracy", 1)] * 2,
        ("speed", 2),
        *[("memory", 1)] * 2,
        ("kernel", 3),
        ("kernel", 3),
    ]
    assert [cell for group in groups for cell in group] == tiny_cells()


def test_estimate_is_the_median_of_earlier_runs_of_the_same_kind():
    cell, other = tiny_cell("speed"), tiny_cell("speed", "dense_sdpa")
    records = [
        record_of(cell, settings={"label": cell.label, "busy_s": seconds})
        for seconds in (1.0, 5.0, 2.0)
    ]
    records += [
        record_of(cell, "timeout", settings={"label": cell.label, "busy_s": 900.0}),
        record_of(other, settings={"label": cell.label, "busy_s": 800.0}),
        record_of(cell, metrics={"train_step_ms": metric(1)}),
    ]
    assert estimate_seconds(cell, records) == 2.0
    assert estimate_seconds(tiny_cell("memory"), records) is None
