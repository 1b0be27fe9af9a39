"""The ``.npz`` files of accuracy cells: curves, attention maps, patterns. No pickle."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spion_bench.block_pattern import BlockPattern
from spion_bench.records.files import file_digest, replace_file
from spion_bench.train import TrainResult

PHASE_NUMBERS = {"dense": 0, "sparse": 1}


def write_artifact(path: Path, result: TrainResult) -> str:
    """Store the curves and patterns of a training run; return the file's sha256.

    Arrays: ``curve_step curve_phase curve_train_loss`` for every point of the curve,
    ``curve_dev_step curve_dev_accuracy curve_dev_loss`` for those with an evaluation, and for
    SPION ``block_size`` and per layer i ``layer{i}_map`` (averaged to at most 256 x 256),
    ``layer{i}_pooled``, ``layer{i}_mask``, ``layer{i}_crow_indices``, ``layer{i}_col_indices``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {**_curves(result), **_layers(result)}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    replace_file(path, content.getvalue())
    return file_digest(path)


def read_patterns(path: Path) -> list[BlockPattern]:
    """Read the patterns of an artifact, first layer first.

    Raises:
        ValueError: If the file holds none.
    """
    with np.load(path, allow_pickle=False) as arrays:
        if "block_size" not in arrays:
            raise ValueError(f"{path}: holds no patterns; it is not from a SPION run")
        n_layers = sum(name.endswith("_crow_indices") for name in arrays.files)
        return [
            BlockPattern(
                int(arrays["block_size"]),
                torch.from_numpy(arrays[f"layer{i}_crow_indices"]),
                torch.from_numpy(arrays[f"layer{i}_col_indices"]),
            )
            for i in range(n_layers)
        ]


def _curves(result: TrainResult) -> dict[str, NDArray[np.generic]]:
    curve = result.curve
    evaluated = [point for point in curve if point.dev_accuracy is not None]
    return {
        "curve_step": np.array([point.step for point in curve], dtype=np.int64),
        "curve_phase": np.array([PHASE_NUMBERS[point.phase] for point in curve], dtype=np.int8),
        "curve_train_loss": np.array([point.train_loss for point in curve], dtype=np.float64),
        "curve_dev_step": np.array([point.step for point in evaluated], dtype=np.int64),
        "curve_dev_accuracy": np.array([p.dev_accuracy for p in evaluated], dtype=np.float64),
        "curve_dev_loss": np.array([p.dev_loss for p in evaluated], dtype=np.float64),
    }


def _layers(result: TrainResult) -> dict[str, NDArray[np.generic]]:
    if not result.patterns or not result.stages:
        return {}
    arrays: dict[str, NDArray[np.generic]] = {
        "block_size": np.array(result.patterns[0].block_size, dtype=np.int64)
    }
    for i, (pattern, stage) in enumerate(zip(result.patterns, result.stages, strict=True)):
        arrays[f"layer{i}_map"] = stage.map.numpy()
        arrays[f"layer{i}_pooled"] = stage.pooled.float().cpu().numpy()
        arrays[f"layer{i}_mask"] = stage.mask.cpu().numpy()
        arrays[f"layer{i}_crow_indices"] = pattern.crow_indices.cpu().numpy()
        arrays[f"layer{i}_col_indices"] = pattern.col_indices.cpu().numpy()
    return arrays
