"""What Pathfinder pictures are made of: the published parameters, and tables of dashes.

Pathfinder pictures (Linsley et al. 2018, github.com/drewlinsley/pathfinder; parameters of the Long
Range Arena: comments of its ``data/pathfinder.py``) show snakes: paths of dashes, each at a small
gap from the one before, in a direction near its. A dash has one of few directions: integer degrees
for the first of a snake, that of one of some twenty neighbours for all others. Everything that
depends on the direction alone is computed once, here.

Coordinates are (row, column); an angle a points to ``(sin a, cos a)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ANTIALIAS = 2
SEED_ANGLES = tuple(math.radians(degrees) for degrees in range(-180, 180))
_ROUNDING = 1e-9  # 2 * cos(90 degrees) = 1e-16 must be rounded up to 0, not to 1

Point = tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """The parameters of one kind of picture; lengths in pixels.

    Attributes:
        side: Rows and columns of the picture.
        dashes: Dashes of each of the two target snakes: 14 is the published "hard" level, 9 and 6
            the easier ones.
        margins: Gaps between dashes, one of which is drawn for each picture.
        dash_length: Length of a dash.
        thickness: Thickness of a dash.
        seed_distance: From the first dash of the one target snake to that of the other.
        marker_radius: Radius of the disks that mark two ends.
        continuity: The larger, the straighter the snakes.
        distractors: Further snakes asked for; they have a third of ``dashes``.
        target_contrast: Contrast of the target snakes' dashes.
        distractor_contrast: Contrast of the other dashes.
        padding: Width of the frame that no snake crosses.
    """

    side: int
    dashes: int
    margins: tuple[int, ...]
    dash_length: int
    thickness: float
    seed_distance: int
    marker_radius: float
    continuity: float
    distractors: int
    target_contrast: float
    distractor_contrast: float
    padding: int = 1

    @property
    def distractor_dashes(self) -> int:
        """Dashes of a distractor."""
        return self.dashes // 3


def published_scene(side: int, dashes: int) -> Scene:
    """Return the Long Range Arena's parameters for pictures of ``side`` 32, 64, 128 or 256.

    What its comments leave open is the generator's default, as is all of side 256 that they do not
    name. Targets have the product of two contrasts, distractors the snakes' contrast alone.
    """
    divided = dashes // 3
    if side == 32:
        return Scene(side, dashes, (1,), 2, 0.5, 7, 1.5, 1.0, 20 // divided, 0.75 * 2, 2.0)
    if side == 64:
        return Scene(side, dashes, (1,), 5, 1.0, 12, 2.5, 1.8, 22 // divided, 0.8, 0.8)
    if side == 128:
        return Scene(side, dashes, (2, 3), 5, 1.5, 20, 3.0, 1.8, 35 // divided, 0.9, 0.9)
    if side == 256:
        return Scene(side, dashes, (3,), 5, 2.0, 27, 5.0, 1.8, 30 // divided, 1.0, 1.0, 22)
    raise ValueError(f"side: expected 32, 64, 128 or 256, got {side}")


def move(point: Point, angle: float, distance: float) -> Point:
    """Move a point; both coordinates are rounded up."""
    return (
        math.ceil(point[0] + distance * math.sin(angle) - _ROUNDING),
        math.ceil(point[1] + distance * math.cos(angle) - _ROUNDING),
    )


def circle_offsets(radius: int) -> list[Point]:
    """Return the points on a circle around the origin, sorted, without repetition.

    The circle is sampled every ``1 / radius`` radians from 0 on. Coordinates are rounded down,
    which for pixels of the picture is the same as truncating them.
    """
    angles = np.arange(0, 2 * np.pi, 1 / radius)
    points = np.floor(radius * np.stack([np.sin(angles), np.cos(angles)], 1) + _ROUNDING)
    return sorted({(int(y), int(x)) for y, x in points})


def turn_weight(angle: float, direction: float, continuity: float) -> float:
    """Return how much a dash of ``angle`` is liked after one of ``direction``."""
    turn = abs(math.remainder(angle - direction, 2 * math.pi))
    return math.cos(min(continuity * turn, math.pi / 2)) ** 2


def disk(radius: float) -> list[Point]:
    """Return the points of a filled disk around the origin."""
    reach = math.ceil(radius)
    around = range(-reach, reach + 1)
    return [(y, x) for y in around for x in around if y * y + x * x <= radius * radius]


class DashTables:
    """All dashes of a scene with one margin, by number of their direction.

    Directions 0 to 359 are ``SEED_ANGLES``, those of first dashes; 360 and on are those of the
    ``candidates``, the ends that a next dash may have.

    Attributes:
        angles: Angle of each direction.
        candidates: Ends of a next dash, relative to its pivot.
        weights: float64 ``[directions, candidates]``: ``turn_weight`` of each candidate.
        to_pivot: The next dash's pivot relative to the pivot of a dash of each direction.
        reach: Rows of a patch above its middle.
        inks: float32 ``[directions, P, P]``: each dash as it is drawn, brightness 0..1. A first
            dash starts in the middle of its patch, any other ends there.
        masks: float32 ``[directions, P, P]``: what each dash occupies, its margin included.
    """

    def __init__(self, scene: Scene, margin: int) -> None:
        step = scene.dash_length + margin
        self.candidates = circle_offsets(step)
        self.angles = (*SEED_ANGLES, *(math.atan2(y, x) for y, x in self.candidates))
        liked = self.angles[len(SEED_ANGLES) :]
        self.weights = np.array(
            [[turn_weight(a, b, scene.continuity) for a in liked] for b in self.angles]
        )
        self.to_pivot = [move((0, 0), a, step + margin) for a in self.angles]
        self.reach = scene.dash_length + math.ceil(scene.thickness) + margin
        drawn = [*SEED_ANGLES, *(a + math.pi for a in liked)]
        pairs = [_draw_dash(scene, margin, self.reach, angle) for angle in drawn]
        self.inks = np.stack([ink for ink, _ in pairs])
        self.masks = np.stack([mask for _, mask in pairs])

    def free_places(
        self, mask: NDArray[np.float32], direction: int, tolerance: float
    ) -> NDArray[np.int64]:
        """Return where (int64 ``[N, 2]``) a first dash may begin in a picture with ``mask``.

        Pixels whose mask is at most ``tolerance`` are free and do not count as the dash's.
        """
        taken = np.pad(mask > tolerance, self.reach)
        touched = np.zeros(mask.shape, bool)
        rows, columns = mask.shape
        for top, left in np.argwhere(self.masks[direction] > tolerance):
            touched |= taken[top : top + rows, left : left + columns]
        return np.argwhere(~touched)


@lru_cache(maxsize=8)
def dash_tables(scene: Scene, margin: int) -> DashTables:
    """Return the tables of a scene, computed once in a process."""
    return DashTables(scene, margin)


@lru_cache(maxsize=8)
def marker(radius: float) -> NDArray[np.float32]:
    """Return a filled disk, brightness 0..1, in the middle of an odd-sided patch."""
    reach = math.ceil(radius) + 1
    middle, r = reach * ANTIALIAS, radius * ANTIALIAS
    enlarged = Image.new("L", (2 * middle + 1, 2 * middle + 1))
    ImageDraw.Draw(enlarged).ellipse((middle - r, middle - r, middle + r, middle + r), fill=255)
    return _reduce(enlarged, reach)


def _draw_dash(
    scene: Scene, margin: int, reach: int, angle: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a dash from the middle of its patch in direction ``angle``, and its mask."""
    middle = reach * ANTIALIAS
    end = move((middle, middle), angle, scene.dash_length * ANTIALIAS)
    enlarged = Image.new("L", (2 * middle + 1, 2 * middle + 1))
    width = round(scene.thickness * ANTIALIAS)
    ImageDraw.Draw(enlarged).line((middle, middle, end[1], end[0]), fill=255, width=width)
    line = np.asarray(enlarged)
    spread = margin * ANTIALIAS
    padded = np.pad(line, spread)
    dilated = np.zeros_like(line)
    for y, x in disk(spread):
        top, left = spread + y, spread + x
        shifted = padded[top : top + len(line), left : left + len(line)]
        dilated = np.maximum(dilated, shifted)
    return _reduce(enlarged, reach), _reduce(Image.fromarray(dilated), reach)


def _reduce(enlarged: Image.Image, reach: int) -> NDArray[np.float32]:
    side = 2 * reach + 1
    reduced = enlarged.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(reduced, np.float32) / np.float32(255)
