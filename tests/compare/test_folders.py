import numpy as np
import pytest

from spion_bench.compare.folders import compare_folders
from spion_bench.records import Metric, Turn, append_record
from spion_bench.records.names import UsageError
from tests.cells import ENVIRONMENT, record_of, tiny_cell

OTHER_MACHINE = ENVIRONMENT.model_copy(update={"machine": "Other x 8"})
OTHER_CPU = ENVIRONMENT.model_copy(update={"cpu_capability": "AVX2"})


def write(folder, ms, *, aa=(0.99, 1.01), environment=ENVIRONMENT, n=30, **changes):
    """Store one speed cell whose steps take about `ms` milliseconds."""
    samples = list(ms * np.exp(np.random.default_rng(0).normal(0, 0.002, size=n)))
    step = Metric(value=ms, unit="ms", lower_is_better=True, samples=samples)
    noise = None
    if aa is not None:
        ratio = Metric(value=1.0, unit="ratio", lower_is_better=False, low=aa[0], high=aa[1])
        noise = Turn(methods=["spion_cf"], rounds=n, aa={"train_step_ms": ratio})
    record = record_of(tiny_cell("speed", **changes), metrics={"train_step_ms": step}, turn=noise)
    record = record.model_copy(update={"environment": environment})
    append_record(folder / "records.jsonl", record)
    return folder


@pytest.mark.parametrize(
    ("ms", "expected"), [(10.0, "SAME"), (11.0, "SLOWER"), (9.0, "FASTER"), (10.1, "UNCLEAR")]
)
def test_records_that_agree_are_compared(tmp_path, ms, expected):
    base, head = write(tmp_path / "base", 10.0), write(tmp_path / "head", ms)
    (found,), apart, _ = compare_folders(base, head)
    assert apart == {}
    assert found.verdict == expected
    assert found.case.endswith("spion_cf/seed0/train_step_ms")
    assert "not paired" in found.ratio.basis
    assert "99 %" in found.ratio.basis


def test_without_an_a_a_ratio_no_record_is_slower(tmp_path):
    base, head = write(tmp_path / "base", 10.0), write(tmp_path / "head", 20.0, aa=None)
    (found,), _, _ = compare_folders(base, head)
    assert (found.verdict, found.null) == ("UNCLEAR", None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"environment": OTHER_MACHINE}, "machine: Test CPU x 2 and Other x 8"),
        ({"environment": OTHER_CPU}, "instructions: None and AVX2"),
        ({"device": "cuda"}, "device: cpu and cuda"),
        ({"threads": 1}, "threads: 2 and 1"),
        ({"measure": {"batch_size": 3}}, "settings.measure.batch_size: "),
        ({"model": {"layers": 3}}, "settings.model.layers: "),
    ],
)
def test_records_that_differ_are_kept_apart_with_the_reason(tmp_path, change, reason):
    base, head = write(tmp_path / "base", 10.0), write(tmp_path / "head", 10.0, **change)
    found, apart, _ = compare_folders(base, head)
    assert found == []
    (said,) = apart.values()
    assert reason in said


def test_a_case_of_one_folder_is_named(tmp_path):
    base = write(write(tmp_path / "base", 10.0), 10.0, method="dense_sdpa")
    head = write(tmp_path / "head", 10.0)
    found, apart, _ = compare_folders(base, head)
    assert len(found) == 1
    ((name, said),) = apart.items()
    assert "dense_sdpa" in name
    assert said == f"only in {base}"


def test_a_folder_without_records_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="expected a folder of records, found none below it"):
        compare_folders(write(tmp_path / "base", 10.0), tmp_path / "empty")


def test_runs_with_other_threads_in_one_folder_are_compared_with_their_own(tmp_path):
    base, head = tmp_path / "base", tmp_path / "head"
    write(base, 10.0, key="two")
    write(base, 20.0, key="one", threads=1)
    write(head, 10.0, key="two")
    write(head, 30.0, key="one", threads=1)
    write(head, 5.0, key="four", threads=4)
    found, apart, _ = compare_folders(base, head)
    verdicts = {one.case.split("/")[-2]: one.verdict for one in found}
    assert verdicts == {"2 threads": "SAME", "1 thread": "SLOWER"}
    ((name, said),) = apart.items()
    assert name.endswith("seed0/4 threads")
    assert said == f"only in {head}"
