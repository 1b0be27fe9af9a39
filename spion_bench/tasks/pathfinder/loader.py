"""Loading Pathfinder: from the release, or drawn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from pydantic import NonNegativeInt

from spion_bench.tasks.pathfinder.generator import GENERATOR_VERSION
from spion_bench.tasks.pathfinder.release import (
    LEVELS,
    find_releases,
    folder_name,
    list_pictures,
    read_pictures,
    split_pictures,
)
from spion_bench.tasks.pathfinder.workers import draw_split
from spion_bench.tasks.shared import long_range_arena
from spion_bench.tasks.task import CountedOptions, Split, TaskSplits

_PUBLISHED_COUNTS = (160_000, 20_000, 20_000)
_LEAST_DRAWN = 32  # rows and columns in which two paths find room
_SPLIT_STRIDE = 1_000_000_000  # between the numbers of train, dev and test pictures


class PathfinderOptions(CountedOptions):
    """Options of the Pathfinder task, besides those of ``CountedOptions``.

    Of drawn pictures, ``n_train``, ``n_dev`` and ``n_test`` are 160000, 20000 and 20000 by default.

    Attributes:
        source: ``"auto"`` takes the Long Range Arena's release if pictures of this size and level
            are there, else they are drawn; the data source says which.
        length: Pixels of a picture: 1024 (32x32), 4096, 16384 (128x128: Path-X) or 65536; or 256:
            drawn pictures of 32x32 averaged down to 16x16, which no release has.
        contour_length: Dashes of a path: 14 is the published level; 9 and 6 are easier.
        folder: The release's folder inside the data folder; needed if there are two.
        split: How the release is split into eight, one and one tenths: in the ``"order"`` of its
            tables, or after a ``"shuffle"`` with ``seed``. The Long Range Arena splits by an order
            that TensorFlow Datasets made, PyTorch ports after a shuffle without a seed: neither
            can be repeated.
        seed: Seed of the generator, or of the shuffle.
    """

    source: Literal["auto", "release", "generated"] = "auto"
    length: Literal[256, 1024, 4096, 16384, 65536] = 1024
    contour_length: Literal[6, 9, 14] = 14
    folder: str | None = None
    split: Literal["order", "shuffle"] = "order"
    seed: NonNegativeInt = 0

    @property
    def side(self) -> int:
        """Rows and columns of a picture."""
        return math.isqrt(self.length)


def load(data_dir: Path | None, options: PathfinderOptions) -> TaskSplits:
    """Load or draw Pathfinder.

    Raises:
        ValueError: If a file is damaged, or there are two releases.
        FileNotFoundError: If the release is incomplete, or is asked for and missing.
    """
    if options.source == "generated":
        return _draw(options, "as requested")
    folder = _find_release(data_dir, options)
    if folder is None:
        return _draw(options, "drawn because the release was not found")
    return _read(folder, options)


def _find_release(data_dir: Path | None, options: PathfinderOptions) -> Path | None:
    if options.folder is None:
        found = find_releases(data_dir, options.side, options.contour_length)
    else:
        folder = (data_dir or Path()) / options.folder
        found = [folder] if (folder / LEVELS[options.contour_length]).is_dir() else []
    if len(found) > 1:
        raise ValueError(
            f"task pathfinder: option folder: expected one release, found {found[0]} and "
            f"{found[1]}; name one of them, relative to the data folder (of the two copies with "
            "128x128 pixels, one is reported not to be learnable)"
        )
    if not found and (options.source == "release" or options.folder is not None):
        name = options.folder or folder_name(options.side)
        raise FileNotFoundError(
            f"source 'release' needs {name}/{LEVELS[options.contour_length]} in "
            f"{data_dir or 'a data folder'}; unpack it from the archive {long_range_arena.ARCHIVE} "
            f"that {long_range_arena.PAGE} links, or use source 'generated'"
        )
    return found[0] if found else None


def _read(folder: Path, options: PathfinderOptions) -> TaskSplits:
    entries, left_out = list_pictures(folder / LEVELS[options.contour_length])
    parts = split_pictures(entries, options.split, options.seed)
    splits = [
        read_pictures(part[:count], options.side)
        for part, count in zip(parts, options.counts, strict=True)
    ]
    train, dev, test = splits
    how = f"shuffled with seed {options.seed}" if options.split == "shuffle" else "in table order"
    return TaskSplits.of(
        splits,
        name="release",
        version="lra_release",
        stand_in=options.contour_length != 14,
        description=(
            f"Long Range Arena's release, {folder.name}/{LEVELS[options.contour_length]}, "
            f"{len(entries)} pictures ({left_out} of zero bytes left out), {how}; uses "
            f"{len(train)} train, {len(dev)} dev and {len(test)} test examples"
        ),
    )


def _draw(options: PathfinderOptions, reason: str) -> TaskSplits:
    splits = []
    for number, (count, published) in enumerate(
        zip(options.counts, _PUBLISHED_COUNTS, strict=True)
    ):
        start = number * _SPLIT_STRIDE
        numbers = range(start, start + (published if count is None else count))
        drawn_side = max(_LEAST_DRAWN, options.side)
        split = draw_split(drawn_side, options.contour_length, options.seed, numbers)
        splits.append(_averaged(split, drawn_side, options.side))
    train, dev, test = splits
    is_small = options.side < _LEAST_DRAWN
    averaged = f", averaged from {_LEAST_DRAWN}x{_LEAST_DRAWN}," if is_small else ""
    return TaskSplits.of(
        splits,
        name="generated",
        version=f"{GENERATOR_VERSION}, pillow {PIL.__version__}",
        stand_in=True,
        description=(
            f"Stand-in: {options.side}x{options.side} pixels{averaged} drawn with seed "
            f"{options.seed} and the Long Range Arena's parameters ({reason}), paths of "
            f"{options.contour_length} dashes; {len(train)} train, {len(dev)} dev and {len(test)} "
            "test examples"
        ),
    )


def _averaged(split: Split, side: int, smaller: int) -> Split:
    """Return pictures of ``side`` averaged down to ``smaller`` rows and columns."""
    if smaller == side:
        return split
    cell = side // smaller
    cells = split.inputs.reshape(len(split), smaller, cell, smaller, cell)
    grey = np.rint(cells.mean(axis=(2, 4), dtype=np.float32)).astype(np.int16)
    return Split(grey.reshape(len(split), -1), split.labels)
