from spion_bench.suite.passes import time_limit
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile
from tests.cells import MACHINE


def test_a_compiled_encoder_has_a_gate_a_key_and_time_of_its_own():
    fields = {"passes": ("speed",), "methods": ("spion_cf",), "task": "image"}
    groups = [CellGroup(compile=how, **fields) for how in ("none", "default")]
    plain, compiled = (
        expand(Profile(name="mine", description="", cells=(group,)), MACHINE) for group in groups
    )
    assert [cell.pass_name for cell in compiled] == ["gate", "speed"]
    assert set({cell.key for cell in plain}).isdisjoint({cell.key for cell in compiled})
    assert [cell.settings.compile for cell in compiled] == ["default"] * 2
    assert [time_limit(cell) for cell in plain] == [600.0] * 2
    assert min(time_limit(cell) for cell in compiled) > 1200.0
