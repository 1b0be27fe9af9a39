"""The ``.npz`` files next to records: curves, maps, patterns, and what was answered correctly.

No pickle, no torch. ``results/README.md`` lists the arrays.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from spion_bench.records.files import replace_file
from spion_bench.records.quote import shorten

MOST_BYTES: Final = 2**30
"""Unpacked size beyond which a file is no artifact; a real one has a few megabytes."""


@dataclass(frozen=True)
class Curve:
    """The course of one training run.

    Attributes:
        step: Training step of each point, int64 ``[n]``.
        sparse: Whether the point belongs to the sparse phase, bool ``[n]``.
        train_loss: Cross entropy (nat) of the batch, float64 ``[n]``.
        dev_step: Step of each evaluation, int64 ``[m]``.
        dev_accuracy: Accuracy on the dev set (0 to 1), float64 ``[m]``.
        dev_loss: Cross entropy (nat) on the dev set, float64 ``[m]``.
    """

    step: NDArray[Any]
    sparse: NDArray[Any]
    train_loss: NDArray[Any]
    dev_step: NDArray[Any]
    dev_accuracy: NDArray[Any]
    dev_loss: NDArray[Any]

    @classmethod
    def empty(cls) -> Curve:
        """Return the course of what takes no steps."""
        none = np.empty(0)
        steps = np.empty(0, dtype=np.int64)
        return cls(steps, steps == 1, none, steps, none, none)


@dataclass(frozen=True)
class Layer:
    """How one layer's pattern came about: attention map, pooled map, selection, kept blocks.

    A block that is kept but not selected is there because the diagonal is always kept.

    Attributes:
        attention: Attention averaged over heads and a batch, ``[k, k]`` with k of at most 256.
        pooled: The pooled map from which blocks are chosen, ``[nb, nb]``.
        selected: The chosen blocks, before the diagonal is forced, bool ``[nb, nb]``.
        crow_indices: The pattern's row pointers, int32 ``[nb + 1]``.
        col_indices: The pattern's block columns, int32 ``[nnzb]``.
    """

    attention: NDArray[Any]
    pooled: NDArray[Any]
    selected: NDArray[Any]
    crow_indices: NDArray[Any]
    col_indices: NDArray[Any]

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """The pattern as a mask, bool ``[nb, nb]``."""
        nb = len(self.crow_indices) - 1
        mask = np.zeros((nb, nb), dtype=bool)
        mask[np.repeat(np.arange(nb), np.diff(self.crow_indices)), self.col_indices] = True
        return mask


@dataclass(frozen=True)
class Artifact:
    """What a cell with a test accuracy left next to its record.

    Attributes:
        curve: The course of training.
        layers: One per layer; empty unless every layer turned sparse.
        block_size: Rows and columns of a block in tokens; None without layers.
        test_correct: Which test examples, in their order, were answered correctly, bool ``[n]``;
            None in artifacts of before 2026-12.
    """

    curve: Curve
    layers: tuple[Layer, ...] = ()
    block_size: int | None = None
    test_correct: NDArray[Any] | None = None


def write_artifact(path: Path, artifact: Artifact) -> str:
    """Store an artifact atomically; return the file's sha256 as hex.

    Raises:
        ValueError: If it could not be read back; nothing is written then.
        OSError: If it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **_arrays_of(artifact))
    content = buffer.getvalue()
    _parse(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)
    return hashlib.sha256(content).hexdigest()


def read_artifact(path: Path, sha256: str) -> Artifact:
    """Read an artifact.

    Args:
        path: The file.
        sha256: What its record says of its content.

    Raises:
        OSError: If it cannot be read.
        ValueError: If its content is not the recorded one, or is no artifact.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path}: its sha256 is not the recorded one")
    try:
        return _parse(content)
    except Exception as error:  # zipfile, its decoders and numpy raise whatever the bytes lead to
        raise ValueError(f"{path}: {shorten(str(error)) or type(error).__name__}") from error


def is_artifact(path: Path, sha256: str) -> bool:
    """Return whether ``read_artifact`` would succeed."""
    try:
        read_artifact(path, sha256)
    except (OSError, ValueError):
        return False
    return True


def read_patterns(path: Path, sha256: str) -> list[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Read the patterns of an artifact, first layer first.

    Returns:
        Block size in tokens, ``crow_indices`` int32 ``[nb + 1]`` and ``col_indices`` int32
        ``[nnzb]`` of every layer.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds none, if its content is not the recorded one, or is no artifact.
    """
    artifact = read_artifact(path, sha256)
    if artifact.block_size is None:
        raise ValueError(f"{path}: holds no patterns; it is not from a SPION run")
    return [
        (artifact.block_size, layer.crow_indices, layer.col_indices) for layer in artifact.layers
    ]


def _arrays_of(artifact: Artifact) -> dict[str, NDArray[Any]]:
    curve = artifact.curve
    arrays: dict[str, NDArray[Any]] = {
        "curve_step": np.asarray(curve.step, dtype=np.int64),
        "curve_phase": np.asarray(curve.sparse, dtype=np.int8),
        "curve_train_loss": np.asarray(curve.train_loss, dtype=np.float64),
        "curve_dev_step": np.asarray(curve.dev_step, dtype=np.int64),
        "curve_dev_accuracy": np.asarray(curve.dev_accuracy, dtype=np.float64),
        "curve_dev_loss": np.asarray(curve.dev_loss, dtype=np.float64),
    }
    if artifact.test_correct is not None:
        arrays["test_correct"] = np.asarray(artifact.test_correct, dtype=bool)
    if artifact.block_size is not None:
        arrays["block_size"] = np.array(artifact.block_size, dtype=np.int64)
    for i, layer in enumerate(artifact.layers):
        arrays |= {
            f"layer{i}_map": layer.attention,
            f"layer{i}_pooled": layer.pooled,
            f"layer{i}_mask": np.asarray(layer.selected, dtype=bool),
            f"layer{i}_crow_indices": np.asarray(layer.crow_indices, dtype=np.int32),
            f"layer{i}_col_indices": np.asarray(layer.col_indices, dtype=np.int32),
        }
    return arrays


def _parse(content: bytes) -> Artifact:
    arrays = _unpack(content)
    curve = Curve(
        step=_take(arrays, "curve_step", "iu", "n"),
        sparse=_take(arrays, "curve_phase", "iu", "n") == 1,
        train_loss=_take(arrays, "curve_train_loss", "f", "n"),
        dev_step=_take(arrays, "curve_dev_step", "iu", "m"),
        dev_accuracy=_take(arrays, "curve_dev_accuracy", "f", "m"),
        dev_loss=_take(arrays, "curve_dev_loss", "f", "m"),
    )
    _check_equal_lengths("curve", curve.step, curve.sparse, curve.train_loss)
    _check_equal_lengths("curve_dev", curve.dev_step, curve.dev_accuracy, curve.dev_loss)
    layers: list[Layer] = []
    while f"layer{len(layers)}_map" in arrays:
        layers.append(_layer(arrays, f"layer{len(layers)}"))
    size = int(_take(arrays, "block_size", "iu", "")) if layers or "block_size" in arrays else None
    if size is not None and size <= 0:
        raise ValueError(f"block_size: expected a positive number, got {size}")
    correct = _take(arrays, "test_correct", "b", "n") if "test_correct" in arrays else None
    return Artifact(curve, tuple(layers), size, correct)


def _layer(arrays: Mapping[str, NDArray[Any]], name: str) -> Layer:
    layer = Layer(
        attention=_take(arrays, f"{name}_map", "f", "kk"),
        pooled=_take(arrays, f"{name}_pooled", "f", "bb"),
        selected=_take(arrays, f"{name}_mask", "b", "bb"),
        crow_indices=_take(arrays, f"{name}_crow_indices", "iu", "b"),
        col_indices=_take(arrays, f"{name}_col_indices", "iu", "n"),
    )
    crow, col, nb = layer.crow_indices, layer.col_indices, len(layer.crow_indices) - 1
    if nb < 1 or crow[0] != 0 or crow[-1] != len(col) or (np.diff(crow) < 0).any():
        raise ValueError(f"{name}_crow_indices: no row pointers of {len(col)} blocks")
    if len(col) and not (col.min() >= 0 and col.max() < nb):
        raise ValueError(f"{name}_col_indices: a column is not in 0 to {nb - 1}")
    if layer.pooled.shape != (nb, nb) or layer.selected.shape != (nb, nb):
        raise ValueError(f"{name}: pooled map and mask are not {nb} x {nb}")
    return layer


def _check_equal_lengths(name: str, *arrays: NDArray[Any]) -> None:
    if len({len(array) for array in arrays}) > 1:
        raise ValueError(f"{name}: arrays of unequal length {[len(array) for array in arrays]}")


def _take(arrays: Mapping[str, NDArray[Any]], name: str, kinds: str, axes: str) -> NDArray[Any]:
    """Return an array of one of the dtype ``kinds`` with an axis for each letter of ``axes``."""
    if name not in arrays:
        raise ValueError(f"array {name!r} is missing")
    array = arrays[name]
    if array.dtype.kind not in kinds or array.ndim != len(axes):
        raise ValueError(f"array {name!r}: got {array.ndim} axes of {array.dtype}")
    return array


def _unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """Return all arrays of a ``.npz`` file; what headers promise is held against what is there."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"expected at most {MOST_BYTES} bytes unpacked, got {size}")
        return {
            member.filename.removesuffix(".npy"): _array(archive.read(member))
            for member in archive.infolist()
        }


def _array(data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read_header(stream)
    n_bytes = len(data) - stream.tell()
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"an array of dtype {dtype}")
    if math.prod(shape) * dtype.itemsize != n_bytes:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} in {n_bytes} bytes")
    flat = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")
