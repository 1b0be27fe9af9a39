"""Prepared data: a task's examples as plain ``.npy`` arrays that are mapped, not read, into memory.

``<data folder>/prepared/<task>-<fingerprint>/`` holds six arrays and ``manifest.json``. The
fingerprint is that of the request: task, version of the task, and all options. Prepared data is
used if it was made of the very files that are in the data folder now; files that it was made of
may be gone, a file that it was not made of makes it stale. Files are compared by name and size.
Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from spion_bench.records.settings import Settings, describe_problems
from spion_bench.tasks.image_sources import (
    CIFAR10_ARCHIVE,
    FASHION_MNIST_FILES,
    FASHION_MNIST_SYSTEM_FOLDER,
)
from spion_bench.tasks.listops import RELEASE_FILES, RELEASE_FOLDERS
from spion_bench.tasks.sources import file_digest
from spion_bench.tasks.task import (
    PREPARED_FOLDER,
    DataSource,
    Split,
    TaskSplits,
    parse_options,
)

MANIFEST_FILE = "manifest.json"
_SPLITS = ("train", "dev", "test")
_FINGERPRINT_DIGITS = 12

_OPTION_KINDS = {
    "image": "spion_bench.tasks.image:ImageOptions",
    "listops": "spion_bench.tasks.listops:ListOpsOptions",
    "pathfinder": "spion_bench.tasks.pathfinder:PathfinderOptions",
    "retrieval": "spion_bench.tasks.retrieval:RetrievalOptions",
    "text": "spion_bench.tasks.text:TextOptions",
}
_LRA_FOLDERS = ("", "lra_release/", "lra_release/lra_release/")  # where its release may lie
# What each task may read, relative to the data folder (an absolute path stays what it is).
_RAW_PATHS = {
    "image": (
        CIFAR10_ARCHIVE,
        *(f"fashion-mnist/{name}" for name in FASHION_MNIST_FILES),
        *(str(FASHION_MNIST_SYSTEM_FOLDER / name) for name in FASHION_MNIST_FILES),
    ),
    "listops": tuple(f"{folder}/{name}" for folder in RELEASE_FOLDERS for name in RELEASE_FILES),
    "pathfinder": tuple(
        f"{folder}pathfinder{side}" for folder in _LRA_FOLDERS for side in (32, 64, 128, 256)
    ),
    "retrieval": tuple(
        f"{folder}tsv_data/new_aan_pairs.{split}.tsv"
        for folder in _LRA_FOLDERS
        for split in ("train", "eval", "test")
    ),
    "text": ("aclImdb_v1.tar.gz", "aclImdb"),
}


class ArrayEntry(Settings):
    """One ``.npy`` file."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class SourceEntry(Settings):
    """A ``DataSource``."""

    name: str
    version: str
    fingerprint: str
    stand_in: bool
    description: str


class Manifest(Settings):
    """What a folder of prepared data holds and what it was made of.

    Attributes:
        format: Version of this layout.
        task: Name of the task.
        task_version: Its version; it is raised when the task's examples change.
        options: All options of the task, defaults included.
        raw_files: Files in the data folder that the task may have read, and their bytes.
        source: Where the examples came from.
        arrays: ``train_inputs``, ``train_labels`` and so on: the files ``<name>.npy``.
    """

    format: Literal[1]
    task: str
    task_version: str
    options: dict[str, Any]
    raw_files: dict[str, int]
    source: SourceEntry
    arrays: dict[str, ArrayEntry]


def prepared_folder(task: str, version: str, options: Mapping[str, object], data_dir: Path) -> Path:
    """Return where the prepared data of a request lies, or would lie."""
    request = {"task": task, "version": version, "options": _all_options(task, options)}
    text = json.dumps(request, sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_DIGITS]
    return data_dir / PREPARED_FOLDER / f"{task}-{fingerprint}"


def read_prepared(folder: Path) -> TaskSplits:
    """Map the arrays of a folder into memory, read-only.

    Raises:
        ValueError: If the manifest or an array is damaged.
    """
    manifest = _read_manifest(folder)
    train, dev, test = (
        Split(
            _map_array(folder, manifest, f"{name}_inputs"),
            _map_array(folder, manifest, f"{name}_labels"),
        )
        for name in _SPLITS
    )
    return TaskSplits(train, dev, test, DataSource(**dict(manifest.source)))


def is_current(folder: Path, data_dir: Path) -> bool:
    """Whether no raw file is in the data folder that the prepared data was not made of."""
    manifest = _read_manifest(folder)
    return raw_files(manifest.task, data_dir).items() <= manifest.raw_files.items()


def write_prepared(
    folder: Path, task: str, version: str, options: Mapping[str, object], splits: TaskSplits
) -> None:
    """Write a task's examples to ``folder``, in place of what was prepared there before."""
    data_dir = folder.parent.parent
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    arrays = {}
    for name, split in zip(_SPLITS, (splits.train, splits.dev, splits.test), strict=True):
        for part, array in (("inputs", split.inputs), ("labels", split.labels)):
            path = work / f"{name}_{part}.npy"
            np.save(path, array, allow_pickle=False)
            arrays[path.stem] = ArrayEntry(
                dtype=array.dtype.str, shape=array.shape, sha256=file_digest(path, "sha256")
            )
    manifest = Manifest(
        format=1,
        task=task,
        task_version=version,
        options=_all_options(task, options),
        raw_files=raw_files(task, data_dir),
        source=SourceEntry(**asdict(splits.source)),
        arrays=arrays,
    )
    text = manifest.model_dump_json(indent=1)
    (work / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(work, folder)


def find_manifests(data_dir: Path) -> list[Path]:
    """Return all folders of prepared data."""
    return sorted(p.parent for p in (data_dir / PREPARED_FOLDER).glob(f"*/{MANIFEST_FILE}"))


def verify_prepared(folder: Path) -> None:
    """Read every array of a folder and compare it with the manifest.

    Raises:
        ValueError: If one differs.
        FileNotFoundError: If one is missing.
    """
    for name, entry in _read_manifest(folder).arrays.items():
        path = folder / f"{name}.npy"
        if (sha256 := file_digest(path, "sha256")) != entry.sha256:
            raise ValueError(f"{path}: expected sha256 {entry.sha256}, got {sha256}; {_REMEDY}")


def raw_files(task: str, data_dir: Path) -> dict[str, int]:
    """Return the files that the task may read and that are there, with their bytes.

    A folder of many files counts as there, with 0 bytes.
    """
    found = {}
    for name in _RAW_PATHS[task]:
        path = data_dir / name
        if path.exists():
            found[name] = 0 if path.is_dir() else path.stat().st_size
    return found


_REMEDY = "delete the folder, or run `spion-bench data prepare` again"


def _all_options(task: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Return all options of a task with their values, as JSON has them."""
    module_name, _, kind_name = _OPTION_KINDS[task].partition(":")
    kind: type[Settings] = getattr(importlib.import_module(module_name), kind_name)
    return parse_options(kind, task, options).model_dump(mode="json")


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path}: no manifest: {describe_problems(error)}; {_REMEDY}") from error


def _map_array(folder: Path, manifest: Manifest, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    entry = manifest.arrays.get(name)
    if entry is None:
        raise ValueError(f"{folder / MANIFEST_FILE}: names no array {name}; {_REMEDY}")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: cannot be mapped: {error}; {_REMEDY}") from error
    if (array.dtype.str, array.shape) != (entry.dtype, entry.shape):
        raise ValueError(
            f"{path}: expected {entry.dtype} {list(entry.shape)}, got {array.dtype.str} "
            f"{list(array.shape)}; {_REMEDY}"
        )
    return array
