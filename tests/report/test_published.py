import csv
from collections import Counter

import pytest

from spion_bench.report.published import HEADER, UNITS, published_folder, read_published
from spion_bench.tasks import task_names

# File -> lines, lines with a value, rows of the printed table, tasks per row.
EXPECTED = {
    "lra_leaderboard.csv": (13 * 7, 13 * 7 - 13, 13),
    "skyformer_table1.csv": (9 * 6, 9 * 6, 9),
    "skyformer_table2.csv": (9 * 10, 9 * 10, 9),
    "skyformer_appendix_table1.csv": (3 * 5, 3 * 5, 3),
    "nystromformer_readme.csv": (5 * 6, 5 * 6, 5),
    "s4_readme.csv": (6, 6, 1),
    "spion_abstracts.csv": (7, 2, 1),
}
TASKS = {"listops", "text", "retrieval", "image", "pathfinder"}


@pytest.fixture(scope="module")
def numbers():
    return read_published()


def of(numbers, file):
    return [number for number in numbers if number.file == file]


def test_every_file_has_as_many_cells_as_the_printed_table(numbers):
    found = {
        file: (
            len(of(numbers, file)),
            sum(number.number is not None for number in of(numbers, file)),
            len({number.model for number in of(numbers, file)}),
        )
        for file in {number.file for number in numbers}
    }
    assert found == EXPECTED


def test_no_cell_is_there_twice(numbers):
    cells = Counter((n.source, n.table, n.model, n.task, n.metric) for n in numbers)
    assert max(cells.values()) == 1


def test_units_and_tasks_are_known(numbers):
    assert {number.unit for number in numbers} <= set(UNITS)
    assert {number.task for number in numbers} <= TASKS | {"path-x", "average", ""}
    assert set(task_names()) <= TASKS


def test_accuracies_are_percentages(numbers):
    found = [n for n in numbers if n.metric == "accuracy" and n.number is not None]
    assert all(n.unit == "%" and 10 < n.number < 100 for n in found)


@pytest.mark.parametrize(
    "file", ["lra_leaderboard.csv", "skyformer_table1.csv", "nystromformer_readme.csv"]
)
def test_printed_averages_are_those_of_their_rows(numbers, file):
    # A mistyped cell would show: five hundredths in one of five cells move the mean by 0.01.
    rows = {}
    for number in of(numbers, file):
        rows.setdefault(number.model, {})[number.task] = number.number
    means = {m: sum(row[task] for task in TASKS) / len(TASKS) for m, row in rows.items()}
    wrong = [m for m, row in rows.items() if abs(row["average"] - means[m]) > 0.006]
    assert wrong == (["Sinkhorn"] if file == "lra_leaderboard.csv" else [])  # so in the source


def test_the_two_claims_about_speed_and_nothing_else_about_spion(numbers):
    given = [n for n in numbers if "SPION" in n.source and n.number is not None]
    assert [(n.value, n.unit) for n in given] == [("3.08", "x"), ("2.78", "x")]
    assert all("up to" in n.note for n in given)
    assert [n for n in numbers if n.model == "SPION"] == of(numbers, "spion_abstracts.csv")


def test_path_x_was_beyond_the_leaderboard(numbers):
    cells = [n for n in of(numbers, "lra_leaderboard.csv") if n.task == "path-x"]
    assert Counter(n.note.split(": ")[0].split("; ")[-1] for n in cells) == {
        "printed as FAIL": 12,
        "printed as NA": 1,
    }


@pytest.mark.parametrize(
    ("model", "task", "file", "value"),
    [
        ("Transformer", "listops", "lra_leaderboard.csv", "36.37"),
        ("BigBird", "average", "lra_leaderboard.csv", "55.01"),
        ("Reformer", "image", "skyformer_table1.csv", "48.87"),
        ("Standard", "retrieval", "nystromformer_readme.csv", "79.35"),
        ("S4", "path-x", "s4_readme.csv", "96.0"),
        ("Skyformer", "image", "skyformer_appendix_table1.csv", "0.65"),
    ],
)
def test_cells_are_as_printed(numbers, model, task, file, value):
    (found,) = [n for n in of(numbers, file) if (n.model, n.task) == (model, task)]
    assert found.value == value


def test_hours_and_gigabytes_are_not_mixed_up(numbers):
    cells = {(n.model, n.task, n.metric): (n.value, n.unit) for n in numbers}
    assert cells["BigBird", "text", "training time"] == ("2.00", "h")
    assert cells["BigBird", "text", "memory"] == ("2.83", "GB")


def test_every_file_is_described():
    readme = (published_folder() / "README.md").read_text(encoding="utf-8")
    assert all(file in readme for file in EXPECTED)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["s", "t", "m", "image", "accuracy", "about 40", "%", ""], "expected a number"),
        (
            ["s", "t", "m", "image", "accuracy", "", "%", ""],
            "expected the reason for the missing value",
        ),
        (["s", "t", "m", "image", "accuracy", "40", "percent", ""], "unit: expected one of"),
        (["", "t", "m", "image", "accuracy", "40", "%", ""], "may not be empty"),
        (["s", "t", "m"], "expected 8 columns, got 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path, row, message):
    with open(tmp_path / "bad.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, row])
    with pytest.raises(ValueError, match=rf"bad\.csv:2: .*{message}"):
        read_published(tmp_path)
