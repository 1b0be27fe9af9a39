"""Prepared data: a task's examples as plain ``.npy`` arrays that are mapped, not read, into memory.

``<data folder>/prepared/<task>-<fingerprint>/`` holds six arrays and ``manifest.json``. The
fingerprint is that of the request: task, version of the task, and all options. Prepared data is
used if it was made from the files that are in the data folder now: files that it was made from may
be gone, but a file that it was not made from makes it stale. Files are compared by name and size.
Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from spion_bench.datasets.verify import Finding
from spion_bench.records.files import file_digest, replaced_folder
from spion_bench.records.settings import Settings, describe_problems
from spion_bench.tasks.registry import load_spec
from spion_bench.tasks.task import DataSource, Split, TaskSplits

PREPARED_FOLDER = "prepared"  # in the data folder
MANIFEST_FILE = "manifest.json"
_SPLITS = ("train", "dev", "test")
# A manifest names no file outside of its folder.
ArrayName = Annotated[str, Field(pattern="^(train|dev|test)_(inputs|labels)$")]
_FINGERPRINT_DIGITS = 12


class ArrayEntry(Settings):
    """One ``.npy`` file."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class Manifest(Settings):
    """What a folder of prepared data holds and what it was made from.

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
    source: DataSource
    arrays: dict[ArrayName, ArrayEntry]


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
    return TaskSplits(train, dev, test, manifest.source)


def is_current(folder: Path, data_dir: Path) -> bool:
    """Whether no raw file is in the data folder that the prepared data was not made of."""
    manifest = _read_manifest(folder)
    return raw_files(manifest.task, data_dir).items() <= manifest.raw_files.items()


def write_prepared(
    folder: Path, task: str, version: str, options: Mapping[str, object], splits: TaskSplits
) -> None:
    """Write a task's examples to ``folder``, in place of what was prepared there before."""
    data_dir = folder.parent.parent
    with replaced_folder(folder) as work:
        arrays = {}
        for name, split in zip(_SPLITS, (splits.train, splits.dev, splits.test), strict=True):
            for part, array in (("inputs", split.inputs), ("labels", split.labels)):
                path = work / f"{name}_{part}.npy"
                np.save(path, array, allow_pickle=False)
                arrays[path.stem] = ArrayEntry(
                    dtype=array.dtype.str, shape=array.shape, sha256=file_digest(path)
                )
        manifest = Manifest(
            format=1,
            task=task,
            task_version=version,
            options=_all_options(task, options),
            raw_files=raw_files(task, data_dir),
            source=splits.source,
            arrays=arrays,
        )
        text = manifest.model_dump_json(indent=1)
        (work / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


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
        if (sha256 := file_digest(path)) != entry.sha256:
            raise ValueError(f"{path}: expected sha256 {entry.sha256}, got {sha256}; {_REMEDY}")


def verify_all_prepared(data_dir: Path) -> Iterator[Finding]:
    """Read every array that ``data prepare`` wrote and compare it with its manifest."""
    for folder in find_manifests(data_dir):
        path = folder.relative_to(data_dir).as_posix()
        try:
            verify_prepared(folder)
        except (OSError, ValueError) as error:
            yield Finding(path, "damaged", str(error))
        else:
            yield Finding(path, "ok", "every array matches its manifest")


def raw_files(task: str, data_dir: Path) -> dict[str, int]:
    """Return the files that the task may read and that are there, with their sizes in bytes.

    A folder of many files counts as there, with 0 bytes.
    """
    found = {}
    for name in load_spec(task).raw_files:
        path = data_dir / name
        if path.exists():
            found[name] = 0 if path.is_dir() else path.stat().st_size
    return found


_REMEDY = "delete the folder, or run `spion-bench data prepare` again"


def _all_options(task: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Return all options of a task with their values, as JSON has them."""
    parsed: Settings = load_spec(task).parse(options)
    return parsed.model_dump(mode="json")


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; {_REMEDY}") from error
    except ValidationError as error:
        raise ValueError(
            f"{path}: not a manifest: {describe_problems(error)}; {_REMEDY}"
        ) from error


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
