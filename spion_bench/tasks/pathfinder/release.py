"""The Long Range Arena's Pathfinder folders: text tables of labels, and one PNG per picture.

``pathfinder<side>/<level>/metadata/<n>.npy`` is plain text in spite of its name: one line per
picture, fields separated by spaces. The first is the folder (``imgs/<n>``), the second the file and
the fourth the label.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spion_bench.records.quote import quote
from spion_bench.tasks.formats import damaged, open_text
from spion_bench.tasks.shared import long_range_arena
from spion_bench.tasks.task import SourceSpec, Split

PUBLISHED_SIDE, PUBLISHED_DASHES = 32, 14
LEVELS = {6: "curv_baseline", 9: "curv_contour_length_9", 14: "curv_contour_length_14"}
_TABLE = re.compile(r"[0-9]{1,9}\.npy")
_PICTURE_FOLDER = re.compile(r"imgs/[0-9]{1,9}/?")
_PICTURE_FILE = re.compile(r"[\w-]{1,99}\.png")
_REMEDY = "unpack the folder again from the Long Range Arena's archive lra_release.gz"

# Pillow's for what is no PNG, a cut or an odd one, and one that would unpack to gigabytes
_PNG_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

Entry = tuple[Path, int]
"""A picture's file and its label."""


def folder_name(side: int) -> str:
    """Return the name of the folder of pictures of this size."""
    return f"pathfinder{side}"


def find_releases(data_dir: Path | None, side: int, dashes: int) -> list[Path]:
    """Return the folders of a data folder that hold pictures of this size and level."""
    if data_dir is None:
        return []
    folders = [data_dir / layout for layout in long_range_arena.layouts(folder_name(side))]
    return [folder for folder in folders if (folder / LEVELS[dashes] / "metadata").is_dir()]


def find_published(data_dir: Path | None) -> Path | None:
    """Return the folder that holds the published task's pictures."""
    return next(iter(find_releases(data_dir, PUBLISHED_SIDE, PUBLISHED_DASHES)), None)


def list_pictures(level_folder: Path) -> tuple[list[Entry], int]:
    """Return the pictures of a level in the order of its tables, and how many were left out.

    Pictures of zero bytes are left out; the release has one. Tables are called ``<n>.npy``;
    whatever else stands next to them is no part of the release and is not read.

    Raises:
        ValueError: If a table is damaged, or lists a picture twice; it names file and line.
        FileNotFoundError: If there is no table, or a picture is missing.
    """
    folder = level_folder / "metadata"
    tables = sorted((p for p in folder.glob("*.npy") if _TABLE.fullmatch(p.name)), key=_number_of)
    if not tables:
        raise FileNotFoundError(f"{folder}: holds no table <n>.npy; {_REMEDY}")
    entries: dict[Path, int] = {}
    empty: set[Path] = set()
    for table in tables:
        with open_text(table) as file:
            lines = file.read().splitlines()
        for number, line in enumerate(lines, 1):
            where = f"{table}:{number}"
            path, label = _parse_line(level_folder, line, where)
            if path in entries:
                raise ValueError(
                    f"{where}: {path.name} of {path.parent} is listed twice; {_REMEDY}"
                )
            entries[path] = label
            try:
                if path.stat().st_size == 0:
                    empty.add(path)
            except OSError as error:
                raise FileNotFoundError(
                    f"{where}: the picture {path} cannot be read ({error.strerror}); {_REMEDY}"
                ) from error
    return [entry for entry in entries.items() if entry[0] not in empty], len(empty)


def split_pictures(
    entries: Sequence[Entry], how: Literal["order", "shuffle"], seed: int
) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Split eight to one to one, in the order given or after a shuffle."""
    ordered = list(entries)
    if how == "shuffle":
        draw = random.Random(seed).random
        ordered = [entry for _, entry in sorted((draw(), entry) for entry in entries)]
    n_train, n_known = len(ordered) * 8 // 10, len(ordered) * 9 // 10
    return ordered[:n_train], ordered[n_train:n_known], ordered[n_known:]


def read_pictures(entries: Sequence[Entry], side: int) -> Split:
    """Read pictures: grey values int16 ``[N, side * side]`` row by row, and labels.

    Raises:
        ValueError: If a picture is damaged, not grey, or its size is wrong.
    """
    pixels = np.empty((len(entries), side * side), np.int16)
    for row, (path, _) in enumerate(entries):
        pixels[row] = _read_picture(path, side)
    return Split(pixels, np.array([label for _, label in entries], np.int64))


def _read_picture(path: Path, side: int) -> NDArray[np.uint8]:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            size, mode = picture.size, picture.mode
            if (mode, size) == ("L", (side, side)):  # else it is not unpacked, however large
                return np.asarray(picture).ravel()
    except _PNG_ERRORS as error:
        raise damaged(path, f"cannot be read as a PNG: {error}", _REMEDY) from error
    problem = f"expected {side}x{side} grey pixels, got {size} of mode {mode}"
    raise damaged(path, problem, _REMEDY)


def _number_of(table: Path) -> int:
    return int(table.stem)


def _parse_line(level_folder: Path, line: str, where: str) -> Entry:
    fields = line.split()
    if (
        len(fields) < 4
        or not _PICTURE_FOLDER.fullmatch(fields[0])
        or not _PICTURE_FILE.fullmatch(fields[1])
        or fields[3] not in ("0", "1")
    ):
        raise ValueError(
            f"{where}: expected imgs/<n>, a PNG's name, a number and the label 0 or 1, got "
            f"{quote(line)}; {_REMEDY}"
        )
    return level_folder / fields[0] / fields[1], int(fields[3])


SOURCE = SourceSpec(
    name="release",
    stand_in=False,
    find=find_published,
    how_to_get=(
        f"run `spion-bench data fetch lra-release --part {folder_name(PUBLISHED_SIDE)}`, or put "
        f"the release's {folder_name(PUBLISHED_SIDE)} into {{folder}}"
    ),
    raw_files=tuple(
        layout
        for side in long_range_arena.SIDES
        for layout in long_range_arena.layouts(folder_name(side))
    ),
    data_sets=(long_range_arena.RELEASE,),
)
