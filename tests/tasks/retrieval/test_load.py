from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spion_bench.tasks.retrieval import SPEC
from spion_bench.tasks.retrieval.aan import FILES, read_tsv

load = SPEC.load
COUNTS = {"n_train": 4, "n_dev": 3, "n_test": 2}
SMALL = {"length": 16, **COUNTS}


def line(number: int) -> bytes:
    text = f'{number % 2}.0\tP{number}\tQ{number}\tfirst "{number}\tsecond {number}'
    return text.encode() + b"\n"


def write_release(folder: Path, lines: bytes | None = None) -> Path:
    folder.mkdir(parents=True)
    for name in FILES:
        content = b"".join(line(number) for number in range(5)) if lines is None else lines
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("place", ["tsv_data", "lra_release/lra_release/tsv_data"])
def test_pairs_are_read_in_order_with_quotes_as_they_are(tmp_path: Path, place: str) -> None:
    write_release(tmp_path / place)
    splits = load(tmp_path, SMALL)
    assert [len(s) for s in (splits.train, splits.dev, splits.test)] == [4, 3, 2]
    assert splits.train.inputs.shape == (4, 2, 16)
    assert splits.train.inputs.dtype == np.int16
    assert splits.train.labels.tolist() == [0, 1, 0, 1]
    first, second = splits.train.inputs[3].astype(np.uint8)
    assert bytes(first[first > 0] - 1) == b'first "3'
    assert bytes(second[second > 0] - 1) == b"second 3"
    assert (splits.source.name, splits.source.stand_in) == ("aan", False)


def test_texts_are_cut_to_10000_bytes_then_to_4000(tmp_path: Path) -> None:
    long = b"1.0\ta\tb\t" + b"x" * 12_000 + b"\t" + b"y" * 3_000 + b"\n"
    folder = write_release(tmp_path / "tsv_data", long)
    ((first, second, label),) = read_tsv(folder / FILES[0])
    assert (len(first), len(second), label) == (10_000, 3_000, 1)
    inputs = load(tmp_path, {"n_train": 1, "n_dev": 1, "n_test": 1}).train.inputs
    assert inputs.shape == (1, 2, 4096)
    assert (inputs[0] > 0).sum(axis=1).tolist() == [4_000, 3_000]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"1.0\ta\tb\tonly four\n", "expected label .* got 4 columns"),
        (b"1.0\ta\tb\tc\td\te\n", "got 6 columns"),
        (b"2.0\ta\tb\tc\td\n", "got label b'2.0'; unpack"),
        (b"label\tid1\tid2\ttext1\ttext2\n", "got label b'label'"),
        (b"1.0 \ta\tb\tc\td\n", "got label b'1.0 '"),
        (b"1" * 99 + b"\ta\tb\tc\td\n", r"got label b'1{30}' \.\.\. b'1{30}' \(99 in all\)"),
    ],
)
def test_damaged_line_is_named(tmp_path: Path, bad: bytes, message: str) -> None:
    write_release(tmp_path / "tsv_data", line(0) + bad)
    with pytest.raises(ValueError, match=rf"new_aan_pairs\.train\.tsv:2: .*{message}"):
        load(tmp_path, SMALL)


def test_a_byte_order_mark_is_no_label(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "tsv_data", b"\xef\xbb\xbf" + line(1))
    assert [label for _, _, label in read_tsv(folder / FILES[0])] == [1]
    (folder / FILES[0]).write_bytes(line(1).decode().encode("utf-16"))
    with pytest.raises(ValueError, match=r"train\.tsv: expected UTF-8, got UTF-16"):
        list(read_tsv(folder / FILES[0]))


def test_short_file_is_refused(tmp_path: Path) -> None:
    write_release(tmp_path / "tsv_data")
    with pytest.raises(ValueError, match=r"train\.tsv: holds 5 pairs, 147086 are asked for"):
        load(tmp_path, {"length": 16})


def test_missing_file_is_named(tmp_path: Path) -> None:
    (write_release(tmp_path / "tsv_data") / FILES[1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"needs new_aan_pairs\.eval\.tsv in .*tsv_data"):
        load(tmp_path, SMALL)


def test_without_aan_the_stand_in_is_taken_and_says_so(tmp_path: Path) -> None:
    source = load(tmp_path, SMALL).source
    assert (source.name, source.stand_in) == ("stand-in", True)
    assert "not AAN" in source.description
    assert "AAN was not found" in source.description
    with pytest.raises(FileNotFoundError, match=rf"source 'aan' needs .* in {tmp_path}"):
        load(tmp_path, {"source": "aan"})
