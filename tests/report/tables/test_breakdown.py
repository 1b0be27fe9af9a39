from spion_bench.report.figures.breakdown import breakdown_figures
from spion_bench.report.load import load_records
from spion_bench.report.page import build_page
from spion_bench.report.tables.breakdown import breakdown_tables
from spion_bench.suite.metrics import PARTS, part_metric
from tests.report.reading import plain, rows_of
from tests.report.run_writer import IMAGE, RunWriter, sampled

TIMES = {"dense_sdpa": 60.0, "spion_cf": 10.0}


def test_a_step_is_divided_into_its_parts(tmp_path):
    writer = RunWriter(tmp_path)
    for method, attention in TIMES.items():
        times = {part: attention if part == "attention" else 5.0 for part in PARTS}
        metrics = {part_metric(part): sampled(ms, "ms") for part, ms in times.items()}
        writer.add("breakdown", method, task=IMAGE, metrics=metrics)
    writer.add("breakdown", "reformer", task=IMAGE, status="unsupported", reason="not here")
    run = load_records(tmp_path)
    (table,), (figure,) = breakdown_tables(run), breakdown_figures(run)
    rows = rows_of(table)
    assert plain(rows["dense_sdpa"]["step_attention_ms"].note) == "66.7 % of the step"
    assert plain(rows["spion_cf"]["step_attention_ms"].note) == "25.0 % of the step"
    assert rows["reformer"]["step_attention_ms"].flag == "missing"
    assert "spion_cf: attention 25.0" in plain(figure.alt)
    assert "reformer" not in figure.svg
    assert "breakdown" in [section.key for section in build_page(run).sections]
