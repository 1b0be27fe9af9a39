from collections import Counter
from pathlib import Path

from spion_bench.report.load import load_records
from spion_bench.report.tables.published import published_tables
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
