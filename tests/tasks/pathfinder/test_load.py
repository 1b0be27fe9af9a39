from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spion_bench.tasks.pathfinder import SPEC
from spion_bench.tasks.pathfinder.release import list_pictures

load = SPEC.load
HARD = "pathfinder32/curv_contour_length_14"


def write_release(level: Path, tables: int = 2, pictures: int = 10, side: int = 32) -> Path:
    """Write the release's layout: picture k of table n is all grey value 20 n + k."""
    (level / "metadata").mkdir(parents=True)
    for n in range(tables):
        (level / f"imgs/{n}").mkdir(parents=True)
        lines = []
        for k in range(pictures):
            name = f"sample_{k}.png"
            Image.new("L", (side, side), 20 * n + k).save(level / f"imgs/{n}" / name)
            lines.append(f"imgs/{n} {name} {k} {k % 2} 1.0 14 4 2 0.5 1 1")
        (level / f"metadata/{n}.npy").write_text("\n".join(lines) + "\n")
    return level


def greys(inputs: np.ndarray) -> list[int]:
    assert (inputs == inputs[:, :1]).all()
    return list(inputs[:, 0].tolist())


def test_release_is_split_in_table_order(tmp_path: Path) -> None:
    level = write_release(tmp_path / HARD)
    (level / "metadata/1.npy").rename(level / "metadata/10.npy")
    (level / "metadata/0.npy").rename(level / "metadata/2.npy")  # by number 2 comes before 10
    splits = load(tmp_path, {})
    assert greys(splits.train.inputs) == [*range(10), *range(20, 26)]
    assert greys(splits.dev.inputs) == [26, 27]
    assert greys(splits.test.inputs) == [28, 29]
    assert splits.train.labels.tolist() == [0, 1] * 8
    assert splits.train.inputs.dtype == np.int16
    assert (splits.source.name, splits.source.stand_in) == ("release", False)


def test_release_can_be_shuffled_with_a_seed(tmp_path: Path) -> None:
    write_release(tmp_path / HARD)
    one, again, other = (load(tmp_path, {"split": "shuffle", "seed": seed}) for seed in (0, 0, 1))
    parts = [greys(split.inputs) for split in (one.train, one.dev, one.test)]
    assert sorted(parts[0] + parts[1] + parts[2]) == [*range(10), *range(20, 30)]
    assert one.source.fingerprint == again.source.fingerprint != other.source.fingerprint
    assert "shuffled with seed 0" in one.source.description
    assert all((g % 10) % 2 == y for g, y in zip(parts[0], one.train.labels, strict=True))


def test_zero_byte_pictures_are_left_out(tmp_path: Path) -> None:
    level = write_release(tmp_path / "pathfinder32/curv_baseline")
    (level / "imgs/0/sample_3.png").write_bytes(b"")
    entries, left_out = list_pictures(level)
    assert (len(entries), left_out) == (19, 1)
    splits = load(tmp_path, {"contour_length": 6})
    assert 3 not in greys(splits.train.inputs)
    assert "19 pictures (1 of zero bytes left out)" in splits.source.description
    assert splits.source.stand_in  # an easier level than the published task's


def test_pixels_are_read_row_by_row_and_caps_keep_the_first(tmp_path: Path) -> None:
    level = write_release(tmp_path / HARD)
    picture = Image.new("L", (32, 32))
    picture.putpixel((7, 5), 200)  # column 7 of row 5
    picture.save(level / "imgs/0/sample_0.png")
    splits = load(tmp_path, {"n_train": 3})
    assert len(splits.train) == 3
    assert np.flatnonzero(splits.train.inputs[0]).tolist() == [5 * 32 + 7]


@pytest.mark.parametrize("side", [64, 128, 256])
def test_other_sizes_have_folders_of_their_own(tmp_path: Path, side: int) -> None:
    write_release(tmp_path / f"pathfinder{side}/curv_contour_length_14", side=side, pictures=5)
    splits = load(tmp_path, {"length": side * side})
    assert splits.train.inputs.shape == (8, side * side)


def test_two_copies_must_be_told_apart(tmp_path: Path) -> None:
    inner = "lra_release/lra_release/pathfinder128"
    for folder in ("lra_release/pathfinder128", inner):
        write_release(tmp_path / folder / "curv_contour_length_14", side=128, pictures=5)
    with pytest.raises(ValueError, match="option folder: expected one release, found"):
        load(tmp_path, {"length": 16384})
    source = load(tmp_path, {"length": 16384, "folder": inner}).source
    assert source.name == "release"


def test_damaged_files_are_named(tmp_path: Path) -> None:
    level = write_release(tmp_path / HARD)
    picture, table = level / "imgs/0/sample_0.png", level / "metadata/0.npy"
    whole = picture.read_bytes()
    for content, message in (
        (whole[:-30], r"sample_0\.png: cannot be read as a PNG"),
        (b"no picture", r"sample_0\.png: cannot be read as a PNG"),
    ):
        picture.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load(tmp_path, {})
    Image.new("L", (16, 16)).save(picture)
    with pytest.raises(ValueError, match=r"expected 32x32 grey pixels, got \(16, 16\) of mode L"):
        load(tmp_path, {})
    Image.new("RGB", (32, 32)).save(picture)
    with pytest.raises(ValueError, match="of mode RGB"):
        load(tmp_path, {})
    picture.write_bytes(whole)
    lines = table.read_text().splitlines()
    long = "9" * 5000
    damages = ("", "imgs/0 sample_0.png 0", "imgs/0 ../../x.png 0 1", "imgs/0 a.png 0 2")
    for bad in (*damages, f"imgs/{long} a.png 0 1", f"imgs/0 {long}.png 0 1"):
        table.write_text("\n".join([lines[0], bad, *lines[2:]]))
        with pytest.raises(ValueError, match=r"0\.npy:2: expected imgs/<n>"):
            load(tmp_path, {})
    (level / "imgs/1/sample_1.png").unlink()
    table.write_text("\n".join(lines))
    message = r"1\.npy:2: the picture .*sample_1\.png cannot be read \(No such file"
    with pytest.raises(FileNotFoundError, match=message):
        load(tmp_path, {})


def test_what_is_no_table_is_not_read(tmp_path: Path) -> None:
    level = write_release(tmp_path / HARD)
    table = level / "metadata/0.npy"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    for name in ("._0.npy", "combined.npy", ".DS_Store"):
        (level / "metadata" / name).write_bytes(b"\x00\x05")
    assert len(load(tmp_path, {}).train) == 16


def test_a_picture_listed_twice_is_refused(tmp_path: Path) -> None:
    level = write_release(tmp_path / HARD)
    table = level / "metadata/0.npy"
    table.write_text(table.read_text() + table.read_text().splitlines()[3] + "\n")
    with pytest.raises(ValueError, match=r"0\.npy:11: sample_3\.png of .*imgs/0 is listed twice"):
        load(tmp_path, {})


def test_pictures_of_16_pixels_are_those_of_32_averaged() -> None:
    options = {"source": "generated", "n_train": 4, "n_dev": 1, "n_test": 1, "contour_length": 6}
    whole, small = load(None, options), load(None, {**options, "length": 256})
    assert small.train.inputs.shape == (4, 256)
    assert small.train.inputs.dtype == np.int16
    assert np.array_equal(small.train.labels, whole.train.labels)
    square = whole.train.inputs.reshape(4, 32, 32)[:, 2:4, 8:10].mean(axis=(1, 2))
    assert np.array_equal(small.train.inputs.reshape(4, 16, 16)[:, 1, 4], np.rint(square))
    assert "16x16 pixels, averaged from 32x32, drawn" in small.source.description
    assert small.source.stand_in


def test_level_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / HARD / "metadata").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"metadata: holds no table"):
        load(tmp_path, {})


def test_without_a_release_pictures_are_drawn_and_the_source_says_so(tmp_path: Path) -> None:
    splits = load(tmp_path, {"n_train": 4, "n_dev": 3, "n_test": 2, "contour_length": 6})
    assert [len(s) for s in (splits.train, splits.dev, splits.test)] == [4, 3, 2]
    assert (splits.source.name, splits.source.stand_in) == ("generated", True)
    assert "drawn because the release was not found" in splits.source.description
    more = load(None, {"n_train": 6, "n_dev": 3, "n_test": 2, "contour_length": 6})
    assert np.array_equal(more.train.inputs[:4], splits.train.inputs)
    assert np.array_equal(more.dev.inputs, splits.dev.inputs)
    with pytest.raises(FileNotFoundError, match=r"'release' needs pathfinder32/.* in"):
        load(tmp_path, {"source": "release"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 512}, "option length: .*256, 1024, 4096, 16384 or 65536, got 512"),
        ({"contour_length": 7}, "option contour_length: .*6, 9 or 14, got 7"),
        ({"split": "random"}, "option split: .*'order' or 'shuffle', got 'random'"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(None, options)
