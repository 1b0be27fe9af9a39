import contextlib
import errno
import json
import os
from pathlib import Path

import pytest
import torch

from spion_bench.train import checkpoint as checkpoint_module
from spion_bench.train.checkpoint import CheckpointError, CheckpointStore
from tests.unreadable import unreadable

IDENTITY = {"task": "tiny", "seed": 1, "settings": {"betas": (0.9, 0.99)}}


def tree(step=3):
    shared = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    return {
        "step": step,
        "none": None,
        "flag": True,
        "exact": 0.1 + 0.2,
        "infinite": float("inf"),
        "list": [1, "two", {"weights": shared}],
        "same memory": shared,
        "transposed": shared.T,
        "mask": torch.tensor([True, False]),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, dtype=torch.int32),
    }


def store(directory, **identity):
    return CheckpointStore(directory, {**IDENTITY, **identity}, every_s=60)


def assert_same(found, expected):
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def tensor_file(directory):
    (file,) = directory.glob("*.safetensors")
    return file


def test_round_trip_is_exact(tmp_path):
    store(tmp_path / "a" / "b").save(tree())
    assert_same(store(tmp_path / "a" / "b").load(), tree())


def test_nothing_stored_is_none(tmp_path):
    assert store(tmp_path / "absent").load() is None


def test_only_the_newest_is_kept_and_no_temporary_file(tmp_path):
    kept = store(tmp_path)
    kept.save(tree(1))
    kept.save({**tree(2), "scalar": torch.tensor(9.0)})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", tensor_file(tmp_path).name}
    assert kept.load()["step"] == 2


def test_no_pickle_is_written(tmp_path):
    store(tmp_path).save(tree())
    json.loads((tmp_path / "manifest.json").read_text())
    header_size = int.from_bytes(tensor_file(tmp_path).read_bytes()[:8], "little")
    json.loads(tensor_file(tmp_path).read_bytes()[8 : 8 + header_size])


@pytest.mark.parametrize("damage", ["cut short", "one bit", "missing"])
def test_damaged_tensors_are_named(tmp_path, damage):
    store(tmp_path).save(tree())
    file = tensor_file(tmp_path)
    data = bytearray(file.read_bytes())
    if damage == "cut short":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "one bit":
        data[-1] ^= 1
        file.write_bytes(data)
    else:
        file.unlink()
    with pytest.raises(CheckpointError) as caught:
        store(tmp_path).load()
    assert str(file) in str(caught.value)
    assert "delete it or run with --fresh" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"format_version": 3}', '"text"', "\xff", "[" * 100_000],
    ids=lambda content: content[:20],
)
def test_damaged_manifest_is_named(tmp_path, content):
    store(tmp_path).save(tree())
    (tmp_path / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"manifest\.json: .*delete it or run with --fresh"):
        store(tmp_path).load()


def test_a_changed_byte_of_the_manifest_is_noticed_or_changes_nothing(tmp_path):
    store(tmp_path).save(tree())
    manifest = tmp_path / "manifest.json"
    whole = manifest.read_bytes()
    for place in range(len(whole)):
        manifest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with contextlib.suppress(CheckpointError):
            assert_same(store(tmp_path).load(), tree())


def test_other_format_version_is_refused(tmp_path):
    store(tmp_path).save(tree())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(CheckpointError, match="format_version is 99, expected 3"):
        store(tmp_path).load()


def test_checkpoint_of_another_run_is_refused(tmp_path):
    store(tmp_path).save(tree())
    with pytest.raises(CheckpointError, match=r"belongs to another run \(different: seed\)"):
        store(tmp_path, seed=2).load()


def test_clear_forgets_even_a_damaged_checkpoint(tmp_path):
    store(tmp_path).save(tree())
    (tmp_path / "manifest.json").write_text("{")
    (tmp_path / "other.txt").write_text("not ours")
    store(tmp_path).clear()
    assert store(tmp_path).load() is None
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]
    store(tmp_path / "absent").clear()


@pytest.mark.parametrize("failing_write", [0, 1], ids=["tensors", "manifest"])
def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, failing_write):
    kept = store(tmp_path)
    kept.save(tree(1))
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == failing_write + 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match=r"No space left on device.*previous checkpoint"):
        kept.save({**tree(2), "scalar": torch.tensor(9.0)})
    assert not list(tmp_path.glob("*.tmp"))
    assert_same(store(tmp_path).load(), tree(1))


def test_a_folder_that_cannot_be_written_or_read_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/run/.*could not store the checkpoint"):
        CheckpointStore(tmp_path / "file" / "run", IDENTITY, every_s=60).save(tree())
    store = CheckpointStore(tmp_path / "run", IDENTITY, every_s=60)
    store.save(tree())
    with unreadable(tmp_path / "run"), pytest.raises(CheckpointError, match="Permission"):
        store.load()


def test_periodic_checkpoints_are_due_by_time(monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now[0])
    kept = store(tmp_path)
    now[0] = 59
    assert not kept.is_due()
    now[0] = 60
    assert kept.is_due()
    kept.save(tree())
    assert not kept.is_due()


def test_paths_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store(Path("here")).save(tree())
    assert store(tmp_path / "here").load() is not None


def test_a_message_does_not_hold_the_whole_manifest(tmp_path):
    checkpoints = store(tmp_path)
    checkpoints.save(tree())
    path = tmp_path / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\xff" * 10_000)
    with pytest.raises(CheckpointError, match="not a checkpoint manifest") as caught:
        checkpoints.load()
    assert len(str(caught.value)) < len(str(path)) + 600
