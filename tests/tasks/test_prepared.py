from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spion_bench.tasks import load_task
from spion_bench.tasks import prepare_task as prepare
from spion_bench.tasks.prepared import find_manifests, verify_prepared
from tests.tasks.image.test_cifar10 import write_cifar10

SMALL = {"length": 64, "n_train": 20, "n_dev": 5, "n_test": 5}


def splits_of(task: Any) -> list[np.ndarray[Any, Any]]:
    return [array for s in (task.train, task.dev, task.test) for array in (s.inputs, s.labels)]


def test_prepared_data_is_mapped_and_the_same(tmp_path: Path) -> None:
    _, folder = prepare("listops", tmp_path, SMALL)
    raw = load_task("listops", data_dir=tmp_path, options=SMALL, use_prepared=False)
    mapped = load_task("listops", data_dir=tmp_path, options=SMALL)
    assert isinstance(mapped.train.inputs, np.memmap)
    for ours, theirs in zip(splits_of(mapped), splits_of(raw), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    assert mapped.source.fingerprint == raw.source.fingerprint
    assert (
        mapped.source.description == f"{raw.source.description}; mapped from prepared/{folder.name}"
    )
    assert mapped.majority_share == raw.majority_share


def test_mapped_arrays_cannot_be_written(tmp_path: Path) -> None:
    prepare("listops", tmp_path, SMALL)
    inputs = load_task("listops", data_dir=tmp_path, options=SMALL).train.inputs
    with pytest.raises(ValueError, match="read-only"):
        inputs[0, 0] = 1


def test_default_options_written_out_are_the_same_request(tmp_path: Path) -> None:
    prepare("listops", tmp_path, SMALL)
    same = load_task("listops", data_dir=tmp_path, options={**SMALL, "seed": 0})
    assert "mapped from" in same.source.description


@pytest.mark.parametrize("other", [{"seed": 1}, {"n_train": 19}, {"tokens": "legacy"}])
def test_other_options_are_not_served_from_it(tmp_path: Path, other: dict[str, object]) -> None:
    prepare("listops", tmp_path, SMALL)
    task = load_task("listops", data_dir=tmp_path, options={**SMALL, **other})
    assert "prepared" not in task.source.description


def test_prepared_data_outlives_its_raw_files(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    options = {"source": "auto", "verify": False}
    prepare("image", tmp_path, options)
    archive.unlink()
    task = load_task("image", data_dir=tmp_path, options=options)
    assert task.source.name == "cifar10"
    assert "mapped from" in task.source.description


def test_a_raw_file_that_came_later_makes_it_stale(tmp_path: Path, no_system_data: None) -> None:
    options = {"source": "auto", "verify": False}
    _, folder = prepare("image", tmp_path, options)
    assert load_task("image", data_dir=tmp_path, options=options).source.name == "digits"
    write_cifar10(tmp_path)
    task = load_task("image", data_dir=tmp_path, options=options)
    assert task.source.name == "cifar10"
    note = f"not from prepared/{folder.name}, which was made of other files"
    assert task.source.description.endswith(note)
    prepare("image", tmp_path, options)
    task = load_task("image", data_dir=tmp_path, options=options)
    assert (task.source.name, "mapped from" in task.source.description) == ("cifar10", True)


def test_preparing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    _, folder = prepare("listops", tmp_path, SMALL)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _, again = prepare("listops", tmp_path, SMALL)
    assert again == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert find_manifests(tmp_path) == [folder]


def test_there_are_no_pickles(tmp_path: Path) -> None:
    _, folder = prepare("listops", tmp_path, SMALL)
    for path in folder.glob("*.npy"):
        np.load(path, allow_pickle=False)
    assert len(list(folder.iterdir())) == 7


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return prepare("listops", tmp_path, SMALL)[1]

    def load(self, folder: Path) -> None:
        load_task("listops", data_dir=folder.parents[1], options=SMALL)

    def test_a_flipped_bit_is_found_by_verify(self, folder: Path) -> None:
        path = folder / "dev_inputs.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"dev_inputs\.npy: expected sha256"):
            verify_prepared(folder)

    def test_a_cut_array_is_refused(self, folder: Path) -> None:
        path = folder / "train_inputs.npy"
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(
            ValueError, match=r"train_inputs\.npy: cannot be mapped.*prepare` again"
        ):
            self.load(folder)

    def test_another_shape_is_refused(self, folder: Path) -> None:
        np.save(folder / "train_inputs.npy", np.zeros((20, 32), np.int16))
        with pytest.raises(ValueError, match=r"expected <i2 \[20, 64\], got <i2 \[20, 32\]"):
            self.load(folder)

    def test_a_pickle_is_refused(self, folder: Path) -> None:
        np.save(folder / "train_inputs.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(ValueError, match="cannot be mapped"):
            self.load(folder)

    def test_a_missing_array_is_refused(self, folder: Path) -> None:
        (folder / "test_labels.npy").unlink()
        with pytest.raises(ValueError, match=r"test_labels\.npy: cannot be mapped"):
            self.load(folder)

    @pytest.mark.parametrize("text", ["{half", "{}"])
    def test_a_damaged_manifest_is_refused(self, folder: Path, text: str) -> None:
        (folder / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match=r"manifest\.json: not a manifest"):
            self.load(folder)

    def test_a_manifest_names_nothing_outside_of_its_folder(self, folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["arrays"]["../../secret"] = manifest["arrays"]["dev_labels"]
        path.write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=r"manifest\.json: not a manifest: arrays"):
            verify_prepared(folder)

    def test_an_array_that_the_manifest_does_not_name_is_not_guessed(self, folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["arrays"]["dev_labels"]
        path.write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match="names no array dev_labels"):
            self.load(folder)

    def test_an_interrupted_writing_leaves_the_old_data(self, folder: Path) -> None:
        (folder.with_name(f".{folder.name}.writing")).mkdir()
        self.load(folder)
        assert find_manifests(folder.parents[1]) == [folder]
