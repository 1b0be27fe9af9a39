from collections import Counter
from pathlib import Path

from spion_bench.report.load import load_records
from spion_bench.report.tables.published import published_tables
from tests.report.run_writer import LISTOPS, RunWriter, method_info, metric
from tests.report.test_render import write_golden_run


def test_the_report_shows_them_next_to_ours_and_says_which_is_which(tmp_path: Path):
    write_golden_run(tmp_path)
    claims, image = published_tables(load_records(tmp_path))
    kinds = Counter(row[2].text for row in image.rows)
    assert kinds == {"measured here": 2, "published": 13 + 9 + 5 + 1 + 1}
    assert image.caption.startswith("This run used a stand-in")
    frame = image.to_frame()
    ours = frame[frame["kind"] == "measured here"]
    assert ours["accuracy_ratio"].tolist() == [0.9, 0.88]
    reformer = frame[(frame["model"] == "Reformer") & frame["source"].str.startswith("Skyformer")]
    assert reformer["accuracy_ratio"].tolist() == [0.4887]
    spion = frame[frame["model"] == "SPION"]
    assert spion["accuracy_ratio"].isna().all()
    assert [row[3].text for row in claims.rows[:1]] == ["3.08 x"]


def test_a_tasks_shortcuts_stand_beside_its_published_accuracies(tmp_path):
    writer = RunWriter(tmp_path)
    found = {"test_accuracy": metric(0.38, "ratio", up=True)}
    root = method_info("root", family="shortcut", role="control", summary="the root alone")
    writer.add("shortcuts", root, task=LISTOPS, metrics=found)
    _, listops = published_tables(load_records(tmp_path))
    rows = [[entry.text for entry in row] for row in listops.rows]
    assert rows[0][:3] == ["root", "38.0\u202f%", "no attention, measured here"]
    assert rows[0][4].startswith("the root alone; ")
    assert {row[2] for row in rows[1:]} == {"published"}
    assert "From 1 record (shortcuts 1)" in listops.provenance
