from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spion_bench.tasks.shared.byte_encoding import DocumentOptions, encode_bytes


def encoded(text: bytes, length: int, max_length: int) -> list[int]:
    row = np.full(length, 7, np.int16)
    encode_bytes(text, row, max_length)
    return list(row.tolist())


def test_golden_encoding(golden: dict[str, Any]) -> None:
    case = golden["byte_encoding"]
    text = case["inputs"]["text"].encode()
    assert list(text) == case["expected"]["utf8_bytes"]
    assert encoded(text, case["inputs"]["max_length"], 10) == case["expected"]["ids"]


def test_golden_truncation(golden: dict[str, Any]) -> None:
    case = golden["byte_encoding_truncated"]
    text = case["inputs"]["text"].encode()
    assert encoded(text, case["inputs"]["max_length"], 4) == case["expected"]["ids"]


def test_bytes_are_cut_before_the_row_ends() -> None:
    assert encoded(b"abcdef", 6, 4) == [98, 99, 100, 101, 0, 0]
    assert encoded(b"abcdef", 4, 6) == [98, 99, 100, 101]
    assert encoded(b"\xff\x00", 3, 3) == [256, 1, 0]


@pytest.mark.parametrize(("length", "cut"), [(4096, 4000), (1024, 1000), (512, 512), (8, 8)])
def test_published_cuts(length: int, cut: int) -> None:
    assert DocumentOptions(length=length).n_bytes == cut
