"""The canvas of a Pathfinder picture: what is drawn on it, and where there is still room."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.pathfinder.dashes import DashTables, Point, Scene, disk

_FRAME_TOLERANCE = 0.3  # at side 32 the frame leaves 4x4 pixels, too few for a dash's faint edge


class Canvas:
    """A picture and its occupancy mask, with a border wide enough for every patch.

    Args:
        scene: Parameters of the picture.
        margin: One of the scene's margins.
        tables: The dashes of scene and margin.

    Attributes:
        ink: float32 ``[side + 2 * border, side + 2 * border]``; the picture.
        mask: float32 of the same shape, 0..1; what is occupied.
    """

    def __init__(self, scene: Scene, margin: int, tables: DashTables) -> None:
        self.scene = scene
        self.margin = margin
        self.tables = tables
        farthest_pivot = scene.dash_length + 2 * margin + 2
        self._border = max(
            tables.reach,
            farthest_pivot + scene.dash_length + 2 * margin,
            math.ceil(scene.marker_radius) + 1,
        )
        stride = scene.side + 2 * self._border
        self.ink = np.zeros((stride, stride), np.float32)
        self.mask = np.zeros_like(self.ink)
        self._blank = np.zeros_like(self.ink)
        self._picture_of(self._blank)[:] = _framed(scene.side, scene.padding)
        self._is_inside = np.pad(np.ones((scene.side, scene.side), bool), self._border)
        self._ends = np.array(tables.candidates) @ (stride, 1)
        self._around_ends = self._ends[:, None] + np.array(disk(margin)) @ (stride, 1)
        self._central_places: dict[int, NDArray[np.int64]] = {}

    def clear(self) -> None:
        """Erase everything."""
        self.ink[:] = 0
        self.mask[:] = self._blank

    def picture(self) -> NDArray[np.float32]:
        """Return the picture without its border."""
        return self._picture_of(self.ink)

    def contains(self, point: Point) -> bool:
        """Whether a point lies in the picture."""
        return 0 <= point[0] < self.scene.side and 0 <= point[1] < self.scene.side

    def draw(self, patch: NDArray[np.float32], point: Point) -> None:
        """Draw a patch around ``point``, as the brighter of what was and what is drawn."""
        window = self._window(self.ink, point, len(patch) // 2)
        np.maximum(window, patch, out=window)

    def occupy(self, patch: NDArray[np.float32], point: Point) -> None:
        """Merge a patch around ``point`` with the mask."""
        window = self._window(self.mask, point, len(patch) // 2)
        np.maximum(window, patch, out=window)

    def overlap(self, patch: NDArray[np.float32], point: Point) -> float:
        """Return the largest sum of the mask and a mask's patch around ``point``."""
        return float((self._window(self.mask, point, len(patch) // 2) + patch).max())

    def candidate_weights(self, pivot: Point, direction: int) -> NDArray[np.float64]:
        """Return each candidate's weight: liked by its turn, and neither blocked nor outside."""
        cell = (pivot[0] + self._border) * len(self.mask) + pivot[1] + self._border
        blocked = self.mask.ravel()[self._around_ends + cell].max(axis=1)
        is_inside = self._is_inside.ravel()[self._ends + cell]
        weights: NDArray[np.float64] = self.tables.weights[direction] * (1 - blocked) * is_inside
        return weights

    def free_places(self, direction: int) -> NDArray[np.int64]:
        """Return where a first dash of ``direction`` touches nothing drawn so far."""
        return self.tables.free_places(self._picture_of(self.mask), direction, 0)

    def central_places(self, direction: int) -> NDArray[np.int64]:
        """Return where a target snake's first dash stays inside a wide frame.

        Target snakes begin in the middle of an empty picture, two seed distances from its edges.
        """
        if direction not in self._central_places:
            framed = _framed(self.scene.side, 2 * self.scene.seed_distance)
            places = self.tables.free_places(framed, direction, _FRAME_TOLERANCE)
            self._central_places[direction] = places
        return self._central_places[direction]

    def _picture_of(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        return padded[self._border : -self._border, self._border : -self._border]

    def _window(self, padded: NDArray[np.float32], point: Point, reach: int) -> NDArray[np.float32]:
        top, left = point[0] + self._border - reach, point[1] + self._border - reach
        return padded[top : top + 2 * reach + 1, left : left + 2 * reach + 1]


def _framed(side: int, width: int) -> NDArray[np.float32]:
    """Return an empty mask inside a frame."""
    inner = np.zeros((side - 2 * width, side - 2 * width), np.float32)
    return np.pad(inner, width, constant_values=1)
