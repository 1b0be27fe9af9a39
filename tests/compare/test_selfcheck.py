from types import SimpleNamespace

import pytest

from spion_bench.compare.verdict import Compared
from spion_bench.compare.worker import load
from spion_bench.records import append_record, now, read_records
from spion_bench.records.statistics import Estimate
from tests.cells import ENVIRONMENT
from tests.compare.selfcheck import PROMISES, record_of, slowed_side

NONE, FIVE, FIFTEEN = PROMISES


@pytest.mark.parametrize(
    ("promise", "slower", "faster", "kept"),
    [
        (NONE, 0, 0, True),
        (NONE, 1, 0, True),
        (NONE, 1, 1, False),
        (FIVE, 15, 0, True),
        (FIVE, 14, 0, False),
        (FIFTEEN, 20, 0, True),
        (FIFTEEN, 19, 0, False),
    ],
)
def test_promises(promise, slower, faster, kept):
    verdicts = ["SLOWER"] * slower + ["FASTER"] * faster
    assert promise.is_kept(verdicts + ["SAME"] * (20 - len(verdicts))) is kept


def test_the_result_is_a_record(tmp_path):
    ratio = Estimate(1.15, 1.14, 1.16)
    found = [Compared("forward/attention_1024", "SLOWER", ratio, ratio, 1.0, 1.15)] * 20
    append_record(
        tmp_path / "records.jsonl", record_of(0.15, found, True, ENVIRONMENT, now(), threads=2)
    )
    (record,), problems = read_records(tmp_path)
    assert problems == []
    assert (record.cell.pass_name, record.cell.method.arguments["slowdown"]) == ("compare", 0.15)
    assert record.measurement.metrics["slower"].value == 20
    assert record.measurement.metrics["ratio"].value == 1.15


def test_the_slower_side_waits_after_every_call(tmp_path, monkeypatch):
    side = slowed_side(tmp_path, 0.15)
    text = (side.benchmarks / "bench_attention.py").read_text()
    slowed = tmp_path / "slowed.py"
    slowed.write_text(text[text.rindex("import time") : text.rindex("Attention.time_forward =")])
    module = load("slowed", slowed)
    ticks = iter([0.0, 2.0, 2.0, 2.1, 2.2, 2.3, 9.9])  # reads: start, end twice, then until 2.3
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    module.slowed(lambda self, case: None)(None, "case")
    assert next(ticks) == 9.9
