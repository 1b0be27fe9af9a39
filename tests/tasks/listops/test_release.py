from __future__ import annotations

import csv
from pathlib import Path

import pytest

from spion_bench.tasks.listops.expressions import Example, tokenise
from spion_bench.tasks.listops.release import read_tsv

EXAMPLES = (("( ( ( [MAX 4 ) 3 ) ] )", 4), ("( ( ( ( [SM 9 ) 8 ) 7 ) ] )", 4), ("7", 7))


def small_examples() -> list[Example]:
    return [(tokenise(text), value) for text, value in EXAMPLES]


def write_small(path: Path) -> None:
    """Write the small examples in the Long Range Arena's format."""
    with open(path, "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([("Source", "Target"), *EXAMPLES])


def test_the_arena_s_format_is_read(tmp_path: Path) -> None:
    write_small(tmp_path / "a.tsv")
    expected = (
        b"Source\tTarget\r\n( ( ( [MAX 4 ) 3 ) ] )\t4\r\n( ( ( ( [SM 9 ) 8 ) 7 ) ] )\t4\r\n7\t7\r\n"
    )
    assert (tmp_path / "a.tsv").read_bytes() == expected
    assert list(read_tsv(tmp_path / "a.tsv")) == small_examples()


def test_columns_are_found_by_name_and_a_mark_is_no_column(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(
        b"\xef\xbb\xbfTarget\tnote\tSource\r\n4\tx\t( ( [MAX 4 ) ] )\r\n"
    )
    assert list(read_tsv(tmp_path / "a.tsv")) == [(tokenise("( ( [MAX 4 ) ] )"), 4)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.tsv:0: expected a header"),
        (b"Text\tTarget\r\n", r"a\.tsv:1: expected a header"),
        (b"Source\tSource\tTarget\r\n", r"a\.tsv:1: expected a header .* got 'Source', 'Source'"),
        (
            b"Source " * 999,
            r"a\.tsv:1: .* got 'Source Source .{,30}' \.\.\. '.{30}' \(6993 in all\)$",
        ),
        (b"Source\tTarget\r\n7\t7\r\n( ( [MAX 4 ) ] )", r"a\.tsv:3: expected 2 columns, got 1"),
        (b"Source\tTarget\r\n7\t77\r\n", r"a\.tsv:2: Target: expected a digit, got '77'$"),
        (b"Source\tTarget\r\n7\t7 \r\n", r"a\.tsv:2: Target: expected a digit, got '7 '$"),
        (b"Source\tTarget\r\n7\t8\r\n", r"a\.tsv:2: Target: expected 7, the value of '7', got 8$"),
        (b"\xff\xfeS\0o\0", r"a\.tsv: expected UTF-8, got UTF-16"),
        (b"Source\tTarget\r\n( ( [TOP 4 ) ] )\t4\r\n", r"a\.tsv:2: text: '\[TOP' is no token"),
        (b"Source\tTarget\r\n\xff\t4\r\n", r"a\.tsv:2: text: .* is no token"),
        (b"Source\tTarget\r\n" + b"( " * 70_000, r"a\.tsv:\d: field larger than field limit"),
    ],
)
def test_damaged_tsv_names_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_tsv(tmp_path / "a.tsv"))
