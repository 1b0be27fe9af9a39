import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile, load_profile
from spion_bench.suite.profiles.ask import Filters, ask
from tests.cells import MACHINE, TINY

SMOKE = load_profile("smoke")


def cells_of(profile, **filters):
    cells = expand(profile, MACHINE, Filters(**filters))
    return {(c.pass_name, c.label, c.method.name, c.seed) for c in cells}


def test_seeds_replace_the_profiles():
    wanted = {"tasks": ("image",), "methods": ("spion_cf",), "passes": ("accuracy",)}
    for seeds in ((0, 1, 2, 3, 4), (1,), (77,)):
        found = cells_of(SMOKE, seeds=seeds, **wanted)
        assert found - {("prefix", "image256", "dense_sdpa", seed) for seed in seeds} == {
            ("accuracy", "image256", "spion_cf", seed) for seed in seeds
        }


def test_a_method_that_the_profile_lacks_gets_the_budgets_of_its_task():
    assert "reformer" not in {method for group in SMOKE.cells for method in group.methods}
    filters = Filters(tasks=("image",), methods=("reformer",))
    found = expand(SMOKE, MACHINE, filters)
    like = expand(SMOKE, MACHINE, Filters(tasks=("image",), methods=("dense_sdpa",)))
    for pass_name in ("accuracy", "speed", "memory"):
        added, listed = (
            next(c for c in cells if c.pass_name == pass_name) for cells in (found, like)
        )
        assert (added.method.name, listed.method.name) == ("reformer", "dense_sdpa")
        assert (added.settings, added.timeout_s) == (listed.settings, listed.timeout_s)
        assert (added.turn, added.label) == (listed.turn, listed.label)
    (note,) = ask(SMOKE, filters).notes
    assert note == "method reformer is not in profile smoke; it has the profile's settings of image"


def test_a_pass_that_the_profile_lacks_for_a_task_is_added():
    wanted = {"tasks": ("listops",), "passes": ("speed",), "methods": ("spion_cf", "reformer")}
    names = {("speed", "listops128", name, 0) for name in ("spion_cf", "reformer")}
    assert cells_of(SMOKE, **wanted) == names
    assert len(ask(SMOKE, Filters(**wanted)).notes) == 2


def test_an_added_pass_goes_where_it_can_be_measured():
    fields = {"task": "image", "methods": ("dense_sdpa",)}
    compiled = CellGroup(passes=("memory",), compile="default", **fields)
    mine = Profile(
        name="mine", description="", cells=(compiled, CellGroup(passes=("gate",), **fields))
    )
    groups = ask(mine, Filters(passes=("accuracy", "speed"))).groups
    assert [group.passes for group in groups] == [("memory", "speed"), ("gate", "accuracy")]


@pytest.mark.parametrize("pass_name", ["gate", "steps", "accuracy", "speed", "memory"])
@pytest.mark.parametrize("method", ["dense_sdpa", "spion_f", "reformer", "bigbird"])
@pytest.mark.parametrize("task", ["image", "listops"])
def test_any_task_method_and_pass_of_a_profiles_tasks_can_be_asked_for(task, method, pass_name):
    found = cells_of(SMOKE, tasks=(task,), methods=(method,), passes=(pass_name,))
    assert {(p, m) for p, _, m, _ in found} - {("prefix", "dense_sdpa")} == {(pass_name, method)}


def test_what_the_profile_lists_is_only_filtered():
    for filters in (
        Filters(methods=("spion_cf",)),
        Filters(passes=("memory",)),
        Filters(tasks=("image",), methods=("dense_sdpa",), passes=("speed",)),
        Filters(methods=("pipeline",)),
        Filters(passes=("gate",)),
    ):
        asked = ask(TINY, filters)
        assert (asked.groups, asked.notes) == (TINY.cells, ())


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"tasks": ("text",)}, "smoke has no cell of task text; these profiles have: calibrate,"),
        ({"methods": ("flex_forward",)}, "no cell of implementation flex_forward; these profiles"),
    ],
)
def test_what_has_no_settings_there_is_refused_with_the_profiles_that_have(filters, message):
    with pytest.raises(UsageError, match=message):
        ask(SMOKE, Filters(**filters))


def test_a_pass_without_cases_names_the_profiles_that_have_them():
    group = CellGroup(passes=("speed",), task="image", methods=("dense_sdpa",))
    profile = Profile(name="p", description="", cells=(group,))
    with pytest.raises(UsageError, match="no cell of pass kernel; these profiles have: kernels"):
        ask(profile, Filters(passes=("kernel",)))
