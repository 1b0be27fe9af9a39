import math

from spion_bench.report.parts import (
    Column,
    absent,
    make_table,
    missing,
    number,
    slug,
    text,
    text_entry,
)

PARTS = {"key": "k", "title": "t", "caption": "c", "provenance": "p"}


def test_a_table_has_a_row_for_each_thing_and_an_entry_for_each_column():
    table = make_table(
        ["a", "bb"],
        [text("name", "Name", lambda row: row), Column("size", "Size", len)],
        **PARTS,
    )
    assert [[entry.value for entry in row] for row in table.rows] == [["a", 1], ["bb", 2]]
    assert [column.numeric for column in table.columns] == [False, True]
    assert table.file == "tables/k.csv"


def test_columns_that_were_not_tried_can_be_dropped():
    columns = [
        Column("kept", "Kept", lambda row: number(row, "ms")),
        Column("failed", "Failed", lambda row: missing("oom: too large")),
        Column("untried", "Untried", lambda row: missing("no speed cell in this run")),
        Column("absent", "Absent", lambda row: absent("dense method")),
    ]
    table = make_table([1.0], columns, drop_untried=True, **PARTS)
    assert [column.key for column in table.columns] == ["kept", "failed"]
    assert len(table.rows[0]) == 2


def test_the_csv_file_distinguishes_nan_from_nothing():
    entries = [number(math.nan, "ms"), missing("oom"), number(1.5, "ms")]
    table = make_table(entries, [Column("value_ms", "Value", lambda entry: entry)], **PARTS)
    assert table.to_frame().to_csv(index=False) == "value_ms,value_ms_note\nNaN,\n,oom\n1.5,\n"


def test_notes_become_a_column_of_their_own():
    table = make_table(
        ["x"], [text("name", "Name", lambda row: text_entry(row, note="n"))], **PARTS
    )
    assert table.to_frame().to_dict("list") == {"name": ["x"], "name_note": ["n"]}


def test_slugs_are_safe_names():
    assert slug("Image, L\u00a0=\u00a01024", "spion+x@y") == "image-l-1024-spion-x-y"
