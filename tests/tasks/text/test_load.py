from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spion_bench.tasks.text import SPEC
from spion_bench.tasks.text.imdb import ARCHIVE, MD5, find_imdb
from tests.tasks.test_formats import write_tar

load = SPEC.load
SMALL = {"length": 16, "verify": False}


def reviews() -> dict[str, bytes]:
    """Return the archive's layout: ten reviews of each kind and split, and what is not read."""
    members = {
        f"aclImdb/{split}/{kind}/{number}_{stars}.txt": f"{split} {kind} {number}".encode()
        for split in ("train", "test")
        for kind, stars in (("neg", 2), ("pos", 9))
        for number in range(10)
    }
    return members | {
        "aclImdb/README": b"read me",
        "aclImdb/train/unsup/0_0.txt": b"unlabelled",
        "aclImdb/train/neg/../../../evil_1.txt": b"evil",
    }


def write_folder(data_dir: Path) -> None:
    for name, content in reviews().items():
        if ".." not in name:
            path = data_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def texts(inputs: np.ndarray) -> list[str]:
    return [bytes(row[row > 0] - 1).decode() for row in inputs.astype(np.uint8)]


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_reviews_are_read_with_their_labels(tmp_path: Path, packed: bool) -> None:
    if packed:
        write_tar(tmp_path / ARCHIVE, reviews())
    else:
        write_folder(tmp_path)
    splits = load(tmp_path, SMALL)
    for split, name in ((splits.train, "train"), (splits.test, "test")):
        found = sorted(zip(texts(split.inputs), split.labels.tolist(), strict=True))
        expected = [
            (f"{name} {kind} {n}", label)
            for label, kind in enumerate(("neg", "pos"))
            for n in range(10)
        ]
        assert found == sorted(expected)
        assert 0 < split.labels[:10].sum() < 10  # mixed
    assert (splits.source.name, splits.source.stand_in) == ("imdb", False)
    assert splits.train.inputs.dtype == np.int16


def test_archive_and_folder_give_the_same_examples(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_tar(tmp_path / "a" / ARCHIVE, reviews())
    write_folder(tmp_path / "b")
    a, b = load(tmp_path / "a", SMALL), load(tmp_path / "b", SMALL)
    assert a.source.fingerprint == b.source.fingerprint


def test_dev_is_the_test_split_unless_held_out(tmp_path: Path) -> None:
    write_folder(tmp_path)
    published = load(tmp_path, SMALL)
    assert np.array_equal(published.dev.inputs, published.test.inputs)
    assert "20 of 20 dev (the test split)" in published.source.description
    held_out = load(tmp_path, {**SMALL, "dev": "held_out"})
    assert (len(held_out.train), len(held_out.dev), len(held_out.test)) == (18, 2, 20)
    assert set(texts(held_out.train.inputs)).isdisjoint(texts(held_out.dev.inputs))
    assert set(texts(held_out.dev.inputs)) <= set(texts(published.train.inputs))


def test_seed_is_of_the_order_and_caps_keep_the_first(tmp_path: Path) -> None:
    write_folder(tmp_path)
    whole, other = load(tmp_path, SMALL), load(tmp_path, {**SMALL, "seed": 1})
    assert texts(whole.train.inputs) != texts(other.train.inputs)
    assert sorted(texts(whole.train.inputs)) == sorted(texts(other.train.inputs))
    capped = load(tmp_path, {**SMALL, "n_train": 3})
    assert np.array_equal(capped.train.inputs, whole.train.inputs[:3])
    assert "3 of 20 train" in capped.source.description


def test_published_length_pads_4000_bytes_to_4096(tmp_path: Path) -> None:
    write_tar(tmp_path / ARCHIVE, {k: b"x" * 5000 for k in reviews() if ".." not in k})
    inputs = load(tmp_path, {"verify": False}).test.inputs
    assert inputs.shape[1] == 4096
    assert (inputs[:, :4000] == ord("x") + 1).all()
    assert not inputs[:, 4000:].any()


@pytest.mark.parametrize("layout", ["aclImdb/aclImdb", "aclImdb_v1/aclImdb", "aclImdb_v1"])
def test_usual_folders_are_found_and_what_systems_add_is_not_read(
    tmp_path: Path, layout: str
) -> None:
    write_folder(tmp_path / "plain")
    write_folder(tmp_path / "raw")
    (tmp_path / layout).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "raw/aclImdb").rename(tmp_path / layout)
    for path in (tmp_path / layout).glob("*/*/*"):
        path.with_name(f"._{path.name}").write_bytes(b"attributes")
        path.rename(path.with_suffix(".TXT"))
    (tmp_path / layout / "train/neg/.DS_Store").write_bytes(b"icons")
    assert (
        load(tmp_path, SMALL).source.fingerprint
        == load(tmp_path / "plain", SMALL).source.fingerprint
    )


def test_members_may_begin_with_a_dot(tmp_path: Path) -> None:
    write_folder(tmp_path / "plain")
    dotted = {f"./{name}": content for name, content in reviews().items()}
    write_tar(tmp_path / ARCHIVE, dotted | {"./aclImdb/train/neg/._0_2.txt": b"attributes"})
    assert (
        load(tmp_path, SMALL).source.fingerprint
        == load(tmp_path / "plain", SMALL).source.fingerprint
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("003_7.txt", r"aclImdb: review 3 is twice in train/neg; download"),
        (
            "3_2.txt.bak",
            r"expected reviews <number>_<stars>\.txt in train/neg, got '3_2\.txt\.bak'",
        ),
    ],
)
def test_no_file_is_passed_over(tmp_path: Path, name: str, message: str) -> None:
    write_folder(tmp_path)
    (tmp_path / "aclImdb/train/neg" / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=message):
        load(tmp_path, SMALL)


def test_a_folder_without_reviews_is_refused_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "aclImdb/data").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected the folders train and test .*, got \['data'\]"):
        load(tmp_path, {"length": 16})


def test_incomplete_folder_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    message = r"expected 12500 reviews in aclImdb/train/neg, got 10 \(in all 10 train/neg, 10 "
    message += r"train/pos, 10 test/neg, 10 test/pos\); download aclImdb_v1\.tar\.gz"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, {"length": 16})


def test_archive_with_another_md5_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / ARCHIVE, reviews())
    with pytest.raises(ValueError, match=rf"expected md5 {MD5}, got .*sha256.*download"):
        load(tmp_path, {"length": 16})


def test_cut_archive_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / ARCHIVE, reviews())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="cannot be read as a gzipped tar archive"):
        load(tmp_path, SMALL)


def test_without_imdb_the_stand_in_is_taken_and_says_so(tmp_path: Path) -> None:
    source = load(tmp_path, {"length": 16, "n_train": 2, "n_dev": 2, "n_test": 2}).source
    assert find_imdb(tmp_path) is None
    assert (source.name, source.stand_in) == ("stand-in", True)
    assert "not IMDb" in source.description
    assert "IMDb was not found" in source.description
    with pytest.raises(FileNotFoundError, match=rf"source 'imdb' needs .* in {tmp_path}"):
        load(tmp_path, {"source": "imdb"})
