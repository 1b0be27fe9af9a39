import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile, load_profile
from spion_bench.tasks import load_spec
from spion_bench.tasks.variants import spell_out, variants_of
from tests.cells import MACHINE


def test_a_variant_stands_for_its_options_and_others_replace_them():
    options = variants_of("listops")["shallow"].options
    assert spell_out("listops", {"variant": "shallow"}) == options
    assert spell_out("listops", {"variant": "shallow", "seed": 3}) == {**options, "seed": 3}
    assert spell_out("listops", {"variant": "shallow", "n_dev": 9})["n_dev"] == 9
    assert spell_out("image", {"length": 256}) == {"length": 256}


def test_unknown_variants_are_named_with_the_nearest():
    with pytest.raises(UsageError, match="listops variant 'shalow': did you mean 'shallow'"):
        spell_out("listops", {"variant": "shalow"})
    with pytest.raises(UsageError, match="image option variant: the task has no named variants"):
        spell_out("image", {"variant": "shallow"})


def test_every_variant_can_be_drawn_and_none_shares_its_label():
    spec, lengths = load_spec("listops"), []
    for name, variant in variants_of("listops").items():
        few = spell_out("listops", {"variant": name, "n_train": 8, "n_dev": 2, "n_test": 2})
        splits = spec.load(None, few)
        assert (splits.train.inputs != 0).any(axis=1).all()
        lengths.append(variant.options["length"])
    assert len(set(lengths)) == len(lengths)  # tables tell groups apart by task and length


def test_a_cell_of_a_variant_is_that_of_its_options():
    def cells(options):
        fields = {"passes": ("accuracy",), "task": "listops", "methods": ("spion_cf",)}
        group = CellGroup(options=options, **fields)
        return expand(Profile(name="mine", description="", cells=(group,)), MACHINE)

    named = cells({"variant": "shallow"})
    assert [cell.key for cell in named] == [
        cell.key for cell in cells(variants_of("listops")["shallow"].options)
    ]
    assert {cell.length for cell in named} == {64}


def test_the_calibrated_groups_are_named_variants():
    groups = [group for group in load_profile("calibrate").cells if group.task == "listops"]
    used = [spell_out("listops", group.options) for group in groups]
    known = variants_of("listops")
    assert used == [known["shallow"].options, known["wide"].options]


def test_the_profile_of_variants_has_them_all():
    *named, published = [group.options for group in load_profile("variants").cells]
    assert [options["variant"] for options in named] == list(variants_of("listops"))
    assert load_spec("listops").parse(published).is_published
