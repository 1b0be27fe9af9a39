import contextlib
import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spion_bench.records import read_records
from spion_bench.records.artifacts import (
    Artifact,
    Layer,
    read_artifact,
    read_patterns,
    write_artifact,
)
from tests.cells import CURVE

COMMITTED = Path(__file__).resolve().parents[2] / "results" / "records"

LAYER = Layer(
    attention=np.full((8, 8), 0.125, dtype=np.float32),
    pooled=np.eye(4, dtype=np.float32),
    selected=np.zeros((4, 4), dtype=bool),
    crow_indices=np.array([0, 1, 3, 4, 5], dtype=np.int32),
    col_indices=np.array([0, 0, 1, 2, 3], dtype=np.int32),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "artifacts" / "a.npz"


def stored(path, arrays):
    """Store arrays as another program would; return the content's sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrays_of(path):
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_an_artifact_survives_writing_and_reading(path):
    digest = write_artifact(path, Artifact(CURVE, (LAYER, LAYER), 32))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    read = read_artifact(path, digest)
    for name in vars(CURVE):
        np.testing.assert_array_equal(getattr(read.curve, name), getattr(CURVE, name))
    assert (len(read.layers), read.block_size) == (2, 32)
    for name in vars(LAYER):
        np.testing.assert_array_equal(getattr(read.layers[1], name), getattr(LAYER, name))
    expected = np.eye(4, dtype=bool)
    expected[1, 0] = True
    np.testing.assert_array_equal(read.layers[0].kept, expected)


def test_the_arrays_have_the_documented_names_and_dtypes(path):
    write_artifact(path, Artifact(CURVE, (LAYER,), 32))
    found = {name: array.dtype.name for name, array in arrays_of(path).items()}
    assert found == {
        "curve_step": "int64",
        "curve_phase": "int8",
        "curve_train_loss": "float64",
        "curve_dev_step": "int64",
        "curve_dev_accuracy": "float64",
        "curve_dev_loss": "float64",
        "block_size": "int64",
        "layer0_map": "float32",
        "layer0_pooled": "float32",
        "layer0_mask": "bool",
        "layer0_crow_indices": "int32",
        "layer0_col_indices": "int32",
    }


def test_patterns_are_read_without_torch(path):
    digest = write_artifact(path, Artifact(CURVE, (LAYER,), 32))
    [(block_size, crow, col)] = read_patterns(path, digest)
    assert block_size == 32
    np.testing.assert_array_equal(crow, LAYER.crow_indices)
    np.testing.assert_array_equal(col, LAYER.col_indices)


def test_a_dense_run_has_no_patterns(path):
    digest = write_artifact(path, Artifact(CURVE))
    with pytest.raises(ValueError, match="holds no patterns"):
        read_patterns(path, digest)


def test_content_of_another_hash_is_refused(path):
    digest = write_artifact(path, Artifact(CURVE))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="its sha256 is not the recorded one"):
        read_artifact(path, digest)


def test_a_missing_file_is_an_error_of_the_system(path):
    with pytest.raises(FileNotFoundError):
        read_artifact(path, "0")


def test_an_artifact_that_could_not_be_read_back_is_not_written(path):
    broken = Layer(**{**vars(LAYER), "col_indices": np.array([0, 0, 1, 2, 9], dtype=np.int32)})
    with pytest.raises(ValueError, match="col_indices: a column is not in 0 to 3"):
        write_artifact(path, Artifact(CURVE, (broken,), 32))
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    digest = write_artifact(path, Artifact(CURVE))

    def full(descriptor):
        raise OSError(28, "No space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_artifact(path, Artifact(CURVE, (LAYER,), 32))
    assert read_artifact(path, digest).layers == ()
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("curve_step", None, "array 'curve_step' is missing"),
        ("curve_step", np.array([{}], dtype=object), "object"),
        ("curve_step", np.array(["1", "2", "3"]), "dtype <U1"),
        ("curve_step", np.array([1.0, 2.0, 3.0]), "1 axes of float64"),
        ("curve_step", np.arange(9), "unequal length"),
        ("curve_train_loss", np.zeros((3, 3)), "2 axes of float64"),
        ("block_size", None, "array 'block_size' is missing"),
        ("block_size", np.array(-1), "expected a positive number"),
        ("layer0_mask", np.zeros((5, 5), dtype=bool), "are not 4 x 4"),
        ("layer0_crow_indices", np.array([0, 1, 3, 4, 9], dtype=np.int32), "no row pointers"),
        ("layer0_crow_indices", np.array([0, 3, 1, 4, 5], dtype=np.int32), "no row pointers"),
        ("layer0_col_indices", np.array([0, 0, 1, 2, -1], dtype=np.int32), "not in 0 to 3"),
    ],
)
def test_odd_arrays_are_refused(path, name, value, reason):
    write_artifact(path, Artifact(CURVE, (LAYER,), 32))
    arrays = arrays_of(path) | {name: value}
    digest = stored(path, {key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=reason):
        read_artifact(path, digest)


def bomb(shape):
    """Return a .npz whose only header promises an array that is not there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return archive_of("curve_step.npy", header.getvalue())


def archive_of(name, data):
    """Return an archive with one member."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip file",
        bomb((2**50,)),
        bomb((2**62, 2**62)),
        bomb((-1,)),
        bomb((3,))[:-30],
        bomb((3,)).replace(b"\x08\x00", b"\x0e\x00"),
        archive_of("curve_step.npy", b"\x93NUMPY\x01\x00\x06\x00'''{(\n"),
        archive_of("curve_step.npy", b"\x93NUMPY\x01\x00\xff\x00" + b"(" * 255),
    ],
    ids=[
        *("empty", "text", "huge", "overflow", "negative", "cut"),
        *("other compression", "no header", "nested header"),
    ],
)
def test_every_damaged_content_is_a_value_error(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: "):
        read_artifact(path, hashlib.sha256(content).hexdigest())


def test_a_flipped_byte_anywhere_is_a_value_error_or_harmless(path):
    write_artifact(path, Artifact(CURVE, (LAYER,), 32))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        content = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            read_artifact(path, hashlib.sha256(content).hexdigest())


def test_a_message_does_not_hold_the_whole_file(path):
    write_artifact(path, Artifact(CURVE, (LAYER,), 32))
    content = path.read_bytes().replace(b"curve_step.npy", b"curve_st" + b"p" * 6000, 1)
    content = content[:28] + b"\xff\xff" + content[30:] + b"x" * 60_000
    for damaged in (content, path.read_bytes()[:26] + b"\x70\x17" + content[28:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.npz: ") as caught:
            read_artifact(path, hashlib.sha256(damaged).hexdigest())
        assert len(str(caught.value)) < len(str(path)) + 400


def test_an_archive_that_unpacks_to_too_much_is_refused(path, monkeypatch):
    digest = write_artifact(path, Artifact(CURVE))
    monkeypatch.setattr("spion_bench.records.artifacts.MOST_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 bytes unpacked"):
        read_artifact(path, digest)


def test_every_committed_artifact_is_readable():
    n_read = 0
    for file in COMMITTED.rglob("records.jsonl"):
        for record in read_records(file)[0]:
            for name, sha256 in record.measurement.artifacts.items():
                artifact = read_artifact(file.parent / "artifacts" / name, sha256)
                if record.cell.pass_name == "accuracy":  # a shortcut has only its answers
                    assert len(artifact.curve.step)
                else:
                    assert artifact.test_correct is not None
                pattern = record.measurement.pattern
                kept = [len(layer.col_indices) for layer in artifact.layers]
                assert kept == ([] if pattern is None else pattern.nnzb)
                n_read += 1
    assert n_read > 60
