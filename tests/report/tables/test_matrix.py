from spion_bench.report.load import load_records
from spion_bench.report.page import build_page
from spion_bench.report.tables.matrix import matrix_table
from tests.report.reading import plain
from tests.report.run_writer import IMAGE, RunWriter, gate_errors


def test_matrix_says_what_runs_where(tmp_path):
    def write(writer):
        errors = gate_errors(out=(1e-7, 4e-7), dq=(3e-7, 4e-7))
        writer.add("steps", "spion_cf", gate=errors)
        writer.add("steps", "flex", status="unsupported", reason="no backward pass")
        text = IMAGE.model_copy(update={"name": "text"})
        writer.add("steps", "spion_cf", task=text, gate=gate_errors(shift=0.0))

    write(RunWriter(tmp_path))
    run = load_records(tmp_path)
    table = matrix_table(run)
    rows = {row[0].value: row[1:] for row in table.rows}
    assert [plain(column.label) for column in table.columns] == [
        "Method",
        "image, L = 1024",
        "text, L = 1024",
    ]
    assert [entry.note for entry in rows["spion_cf"]] == ["75% of the allowed error", "gate passed"]
    assert (rows["flex"][0].text, rows["flex"][0].note) == ("unsupported", "no backward pass")
    assert rows["flex"][1].flag == "absent"
    assert "matrix" in {section.key for section in build_page(run).sections}
