import pytest

from spion_bench.report.sets.lines import lines_of
from spion_bench.report.sets.read import load_sets
from tests.report import full_run
from tests.report.run_writer import ENVIRONMENT, LISTOPS

OTHER = ENVIRONMENT.model_copy(update={"cpu_capability": "AVX512"})
"""Another machine with the same name."""


METHODS = ("dense_sdpa", "no_attention", "mean_attention", "spion_cf", "bigbird")


def write_set(folder, *, step=1.0, environment=ENVIRONMENT, **changes):
    """Write ListOps at L = 128; the steps of SPION's kernel take ``step`` times as long."""
    numbers = {
        name: (accuracy, ms * (step if name.startswith("spion") else 1), attention, megabytes)
        for name, (accuracy, ms, attention, megabytes) in full_run.NUMBERS.items()
        if name in METHODS
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_run, "NUMBERS", numbers)
        changes = {"tasks": (LISTOPS,), **changes}
        return full_run.write_full_run(folder, environment=environment, **changes)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Two machines of one name; on the second one, steps of SPION's kernel take 1.2 times."""
    root = tmp_path_factory.mktemp("sets")
    return write_set(root / "one"), write_set(root / "two", step=1.2, environment=OTHER)


@pytest.fixture(scope="session")
def sets(folders):
    return load_sets(folders)


@pytest.fixture(scope="session")
def lines(sets):
    return lines_of(sets)
