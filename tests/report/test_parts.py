import math

from spion_bench.report.parts import Column, Entry, Table, slug

PARTS = {"key": "k", "title": "t", "caption": "c", "provenance": "p"}


def test_a_table_has_a_row_for_each_thing_and_an_entry_for_each_column():
    table = Table.of(
        ["a", "bb"],
        [Column.text("name", "Name", lambda row: row), Column("size", "Size", len)],
        **PARTS,
    )
    assert [[entry.value for entry in row] for row in table.rows] == [["a", 1], ["bb", 2]]
    assert [column.numeric for column in table.columns] == [False, True]
    assert table.file == "tables/k.csv"


def test_columns_that_were_not_tried_can_be_dropped():
    columns = [
        Column("kept", "Kept", lambda row: Entry.number(row, "ms")),
        Column("failed", "Failed", lambda row: Entry.missing("oom: too large")),
        Column("untried", "Untried", lambda row: Entry.missing("no speed cell in this run")),
        Column("absent", "Absent", lambda row: Entry.absent("dense method")),
    ]
    table = Table.of([1.0], columns, drop_untried=True, **PARTS)
    assert [column.key for column in table.columns] == ["kept", "failed"]
    assert len(table.rows[0]) == 2


def test_the_csv_file_distinguishes_nan_from_nothing():
    entries = [Entry.number(math.nan, "ms"), Entry.missing("oom"), Entry.number(1.5, "ms")]
    table = Table.of(entries, [Column("value_ms", "Value", lambda entry: entry)], **PARTS)
    assert table.to_frame().to_csv(index=False) == "value_ms,value_ms_note\nNaN,\n,oom\n1.5,\n"


def test_notes_become_a_column_of_their_own():
    table = Table.of(
        ["x"], [Column.text("name", "Name", lambda row: Entry.of_text(row, note="n"))], **PARTS
    )
    assert table.to_frame().to_dict("list") == {"name": ["x"], "name_note": ["n"]}


def test_slugs_are_safe_names():
    assert slug("Image, L\u00a0=\u00a01024", "spion+x@y") == "image-l-1024-spion-x-y"
