from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from spion_bench.tasks.listops import SPEC
from spion_bench.tasks.listops.expressions import value_of
from spion_bench.tasks.listops.generator import generate
from spion_bench.tasks.listops.options import ListOpsOptions
from spion_bench.tasks.listops.release import FILES, FOLDER
from spion_bench.tasks.shared.long_range_arena import layouts
from tests.tasks.listops.test_release import write_small

load = SPEC.load
SMALL = {"length": 64, "n_train": 60, "n_dev": 20, "n_test": 20}


def write_release(data_dir: Path, folder: str = FOLDER) -> Path:
    path = data_dir / folder
    path.mkdir(parents=True)
    for name in FILES:
        write_small(path / name)
    return path


def test_generated_examples_are_pinned() -> None:
    # A change here means: raise GENERATOR_VERSION. The digest holds for every supported Python.
    splits = load(None, SMALL)
    digest = hashlib.sha256()
    for split in (splits.train, splits.dev, splits.test):
        digest.update(split.inputs.astype("<i2").tobytes())
        digest.update(split.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == "dc3a89a751bd1280fd76de11ff38accf96acf115dd597af80df9190e2baa55c0"


def test_same_seed_same_data_and_other_seed_other_data() -> None:
    first, again, other = (load(None, {**SMALL, "seed": seed}) for seed in (3, 3, 4))
    assert np.array_equal(first.train.inputs, again.train.inputs)
    assert first.source.fingerprint == again.source.fingerprint
    assert first.source.fingerprint != other.source.fingerprint


def test_rows_are_padded_expressions_of_the_window_with_their_value() -> None:
    splits = load(None, {**SMALL, "min_length": 20, "max_length": 40})
    for split in (splits.train, splits.dev, splits.test):
        for row, label in zip(split.inputs, split.labels, strict=True):
            n_tokens = int(np.count_nonzero(row))
            assert 20 < n_tokens < 40
            assert not row[n_tokens:].any()
            assert value_of(row[:n_tokens].tolist()) == label


def test_no_expression_occurs_twice() -> None:
    # Five tokens: three digits below one of four operators, 4000 expressions in all.
    options = ListOpsOptions(length=8, min_length=4, max_length=6)
    ids = [ids for ids, _ in itertools.islice(generate(options), 3000)]
    assert len(set(ids)) == 3000
    assert {len(row) for row in ids} == {5}


def test_shapes_dtypes_and_published_defaults() -> None:
    splits = load(None, {"n_train": 3, "n_dev": 2, "n_test": 1})
    assert splits.train.inputs.shape == (3, 2048)
    assert splits.train.inputs.dtype == np.int16
    assert splits.train.labels.dtype == np.int64
    assert (len(splits.dev), len(splits.test)) == (2, 1)
    assert ListOpsOptions().window == (500, 2000)
    assert ListOpsOptions().counts == (96_000, 2_000, 2_000)
    assert splits.source.name == "generated"
    assert not splits.source.stand_in


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ({"length": 256}, (64, 256)),
        ({"length": 256, "min_length": 10}, (10, 256)),
        ({"length": 256, "max_length": 100}, (25, 100)),
        ({"length": 4096}, (500, 2000)),
    ],
)
def test_window_follows_the_length_unless_given(
    options: dict[str, int], window: tuple[int, int]
) -> None:
    assert ListOpsOptions.model_validate(options).window == window


@pytest.mark.parametrize("change", [{"max_depth": 9}, {"max_args": 9}, {"max_length": 1500}])
def test_another_distribution_is_a_stand_in(change: dict[str, int]) -> None:
    splits = load(None, {"n_train": 1, "n_dev": 1, "n_test": 1, **change})
    assert splits.source.stand_in


def test_legacy_tokens_are_the_bracket_tokens_without_closing_ones() -> None:
    brackets, legacy = (load(None, {**SMALL, "tokens": name}) for name in ("brackets", "legacy"))
    assert np.array_equal(brackets.train.labels, legacy.train.labels)
    for full, bare in zip(brackets.train.inputs, legacy.train.inputs, strict=True):
        kept = full[(full != 0) & (full != 5)]
        assert np.array_equal(bare[: len(kept)], kept)
        assert not bare[len(kept) :].any()


def test_long_expressions_are_cut_on_the_right_and_it_is_said() -> None:
    whole, cut = (load(None, {**SMALL, "max_length": 64, "length": n}) for n in (64, 16))
    assert np.array_equal(cut.train.inputs, whole.train.inputs[:, :16])
    assert "cut to 16" in cut.source.description
    assert "cut" not in whole.source.description


def test_exhausted_window_is_an_error_that_names_the_options() -> None:
    # Four tokens: two digits below one of four operators, only 400 expressions exist.
    options = {**SMALL, "min_length": 3, "max_length": 5, "n_train": 500}
    with pytest.raises(ValueError, match=r"min_length, max_length.* after 400; widen"):
        load(None, options)


def test_empty_window_is_an_error() -> None:
    with pytest.raises(ValueError, match="min_length, max_length: no number of tokens"):
        load(None, {**SMALL, "min_length": 10, "max_length": 11})


@pytest.mark.parametrize("folder", layouts(FOLDER))
def test_auto_takes_the_release_where_it_is(tmp_path: Path, folder: str) -> None:
    write_release(tmp_path, folder)
    splits = load(tmp_path, {"n_train": 3, "n_dev": 2, "n_test": 1})
    assert splits.source.name == "release"
    assert not splits.source.stand_in
    assert "release was found" in splits.source.description
    assert splits.train.labels.tolist() == [4, 4, 7]
    assert splits.train.inputs[0, :6].tolist() == [2, 10, 9, 5, 0, 0]


def test_auto_generates_what_the_release_does_not_have(tmp_path: Path) -> None:
    write_release(tmp_path)
    splits = load(tmp_path, SMALL)
    assert splits.source.name == "generated"
    assert splits.source.stand_in
    assert "the release has another length or grammar" in splits.source.description


def test_release_with_another_window_is_refused(tmp_path: Path) -> None:
    write_release(tmp_path)
    with pytest.raises(ValueError, match=r"option source: .* published lengths and grammar only"):
        load(tmp_path, {"source": "release", "max_depth": 5})


@pytest.mark.parametrize("source", ["auto", "release"])
def test_incomplete_release_is_an_error(tmp_path: Path, source: str) -> None:
    (write_release(tmp_path) / "basic_val.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs basic_val\.tsv in "):
        load(tmp_path, {"source": source})


@pytest.mark.parametrize("with_folder", [True, False])
def test_absent_release_says_which_files_to_put_where(tmp_path: Path, with_folder: bool) -> None:
    with pytest.raises(FileNotFoundError, match=r"basic_train\.tsv.*listops-1000; unpack"):
        load(tmp_path if with_folder else None, {"source": "release"})


def test_release_with_too_few_lines_is_an_error(tmp_path: Path) -> None:
    write_release(tmp_path)
    with pytest.raises(ValueError, match=r"basic_train\.tsv: holds 3 examples, 4 are asked for"):
        load(tmp_path, {"source": "release", "n_train": 4, "n_dev": 1, "n_test": 1})


def test_named_release_is_read_as_asked(tmp_path: Path) -> None:
    write_release(tmp_path)
    options = {"source": "release", "n_train": 3, "n_dev": 1, "n_test": 1}
    splits = load(tmp_path, options)
    assert (splits.source.name, splits.source.stand_in) == ("release", False)
    assert "release (as requested)" in splits.source.description
    assert np.array_equal(splits.train.inputs, load(tmp_path, options).train.inputs)
