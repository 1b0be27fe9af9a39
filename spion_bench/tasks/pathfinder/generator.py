"""The generator of Pathfinder pictures: two snakes and distractors; are both markers on one snake?

The algorithm is that of github.com/drewlinsley/pathfinder as it ran in 2019, when resizing and
saving a picture rescaled its values, and as its wrapper calls it, without single dashes. Each
picture has its own random sequence, so it does not depend on which process draws it.

Distractors begin where not even the faint edges of two dashes touch. With a tolerance of 0.3, as
for the targets' frame, nearly all distractors asked for find room, and 54 % of a picture's pixels
are black instead of the 66 % that are known of the original.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.pathfinder.canvas import Canvas
from spion_bench.tasks.pathfinder.dashes import (
    SEED_ANGLES,
    Point,
    Scene,
    dash_tables,
    marker,
    move,
)

GENERATOR_VERSION = "1"
"""Raised whenever the same parameters and seed give other pictures."""

_SEED_TRIES = 3
_DASH_TRIES = 3
_SNAKE_TRIES = 5  # of the pair before the margin is drawn anew, of a distractor before it is left
_MARGIN_TRIES = 10_000
_MIN_TOTAL_WEIGHT = 1e-4
_MAX_OVERLAP = 1.8
_MIN_FREE_SHARE = 0.01

Draw = Callable[[], float]
"""Returns a random number, uniform in [0, 1)."""


class _FullError(Exception):
    """There is no more room for distractors."""


class _Snake:
    """A growing snake.

    Attributes:
        start: Where its first dash begins.
        end: Where its last dash ends.
        pivot: From where its last dash was aimed.
        direction: Number of its last dash's direction.
        mask: The last dash's mask. It joins the canvas's mask after the next dash, so it does not
            block that one.
        mask_at: The point around which ``mask`` lies.
    """

    def __init__(self, canvas: Canvas, start: Point, head: Point, pivot: Point, direction: int):
        self.start, self.end, self.pivot, self.direction = start, head, pivot, direction
        self.mask, self.mask_at = canvas.tables.masks[direction], start

    def grow(self, canvas: Canvas, contrast: float, draw: Draw) -> bool:
        """Add a dash; return whether there was room for one."""
        tables = canvas.tables
        y, x = tables.to_pivot[self.direction]
        pivot = (self.pivot[0] + y, self.pivot[1] + x)
        weights = canvas.candidate_weights(pivot, self.direction).cumsum()
        if weights[-1] < _MIN_TOTAL_WEIGHT:
            return False
        for _ in range(_DASH_TRIES):
            chosen = int(weights.searchsorted(draw() * weights[-1], side="right"))
            end = (pivot[0] + tables.candidates[chosen][0], pivot[1] + tables.candidates[chosen][1])
            direction = len(SEED_ANGLES) + chosen
            mask = tables.masks[direction]
            if canvas.overlap(mask, end) < _MAX_OVERLAP:
                canvas.draw(contrast * tables.inks[direction], end)
                canvas.occupy(self.mask, self.mask_at)
                self.mask, self.mask_at = mask, end
                self.end, self.pivot, self.direction = end, pivot, direction
                return True
        return False


def draw_picture(scene: Scene, seed: int, index: int) -> tuple[NDArray[np.uint8], int]:
    """Draw picture number ``index`` of a seed.

    Returns:
        uint8 ``[side, side]``, and the label: 1 if both markers lie on one snake, else 0.
    """
    # Python guarantees that a text seeds the same sequence of random() in every version.
    draw = random.Random(f"pathfinder {scene.side} {scene.dashes} {seed} {index}").random
    label = _pick(draw, 2)
    canvas, snakes = _draw_targets(scene, draw)
    with contextlib.suppress(_FullError):
        for _ in range(scene.distractors):
            _draw_distractor(canvas, draw)
    first = _pick(draw, 2)
    disk_patch = marker(scene.marker_radius)
    canvas.draw(disk_patch, snakes[first].start)
    canvas.draw(disk_patch, snakes[first if label else 1 - first].end)
    return _to_grey(canvas.picture()), label


def _draw_targets(scene: Scene, draw: Draw) -> tuple[Canvas, tuple[_Snake, _Snake]]:
    for _ in range(_MARGIN_TRIES):
        canvas = _canvas(scene, scene.margins[_pick(draw, len(scene.margins))])
        for _ in range(_SNAKE_TRIES):
            canvas.clear()
            snakes = _draw_pair(canvas, draw)
            if snakes is not None:
                return canvas, snakes
    raise RuntimeError(
        f"scene: found no room for two snakes of {scene.dashes} dashes in {scene.side}x"
        f"{scene.side} pixels in {_MARGIN_TRIES * _SNAKE_TRIES} tries; ask for shorter ones"
    )


def _draw_pair(canvas: Canvas, draw: Draw) -> tuple[_Snake, _Snake] | None:
    """Draw the two target snakes, dash by dash in turns; None if one finds no room."""
    contrast = canvas.scene.target_contrast
    first = _seed_snake(canvas, canvas.central_places, contrast, draw)
    if first is None:
        return None
    near_first = functools.partial(_place_near, first.start, canvas.scene.seed_distance, draw)
    second = _seed_snake(canvas, near_first, contrast, draw)
    if second is None:
        return None
    for _ in range(canvas.scene.dashes - 1):
        if not (first.grow(canvas, contrast, draw) and second.grow(canvas, contrast, draw)):
            return None
    for snake in (first, second):
        canvas.occupy(snake.mask, snake.mask_at)
    return first, second


def _draw_distractor(canvas: Canvas, draw: Draw) -> None:
    """Draw a distractor, or leave it after some tries; raise if the picture is full."""
    scene, contrast = canvas.scene, canvas.scene.distractor_contrast
    ink, mask = canvas.ink.copy(), canvas.mask.copy()
    places = functools.partial(_roomy_places, canvas)
    for _ in range(_SNAKE_TRIES):
        snake = _seed_snake(canvas, places, contrast, draw)
        if snake is not None and all(
            snake.grow(canvas, contrast, draw) for _ in range(scene.distractor_dashes - 1)
        ):
            canvas.occupy(snake.mask, snake.mask_at)
            return
        canvas.ink[:], canvas.mask[:] = ink, mask


def _seed_snake(
    canvas: Canvas, places: Callable[[int], NDArray[np.int64]], contrast: float, draw: Draw
) -> _Snake | None:
    """Draw a snake's first dash at one of ``places(direction)``."""
    for _ in range(_SEED_TRIES):
        direction = _pick(draw, len(SEED_ANGLES))
        starts = places(direction)
        if len(starts) == 0:
            return None
        y, x = starts[_pick(draw, len(starts))].tolist()
        start = (y, x)
        angle = SEED_ANGLES[direction]
        head = move(start, angle, canvas.scene.dash_length)
        pivot = move(head, angle + math.pi, canvas.scene.dash_length + canvas.margin)
        if canvas.contains(head) and canvas.contains(pivot):
            canvas.draw(contrast * canvas.tables.inks[direction], start)
            return _Snake(canvas, start, head, pivot, direction)
    return None


def _roomy_places(canvas: Canvas, direction: int) -> NDArray[np.int64]:
    """Return where a distractor may begin; raise if that is hardly anywhere."""
    places = canvas.free_places(direction)
    if len(places) < _MIN_FREE_SHARE * canvas.scene.side**2:
        raise _FullError
    return places


def _place_near(point: Point, distance: int, draw: Draw, _direction: int) -> NDArray[np.int64]:
    """Return one point at a distance, in a random direction."""
    angle = SEED_ANGLES[_pick(draw, len(SEED_ANGLES))]
    y, x = point[0] + distance * math.sin(angle), point[1] + distance * math.cos(angle)
    return np.array([(round(y), round(x))])


@functools.lru_cache(maxsize=8)
def _canvas(scene: Scene, margin: int) -> Canvas:
    """Return the canvas that all pictures of a scene and margin are drawn on, one by one."""
    return Canvas(scene, margin, dash_tables(scene, margin))


def _pick(draw: Draw, count: int) -> int:
    return int(draw() * count)


def _to_grey(ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rescale a picture to values from 0 to 255."""
    darkest = ink.min()
    scaled = (ink - darkest) * (255 / (ink.max() - darkest))
    rounded: NDArray[np.uint8] = (scaled + 0.5).astype(np.uint8)
    return rounded
