from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from spion_bench.tasks.pathfinder.canvas import Canvas
from spion_bench.tasks.pathfinder.dashes import (
    DashTables,
    circle_offsets,
    dash_tables,
    move,
    published_scene,
    turn_weight,
)
from spion_bench.tasks.pathfinder.generator import draw_picture
from spion_bench.tasks.pathfinder.workers import draw_split


@pytest.fixture(scope="module")
def tables() -> DashTables:
    return dash_tables(published_scene(32, 14), 1)


def test_golden_moves(golden: dict[str, Any]) -> None:
    for case in golden["pathfinder_translate"]["expected"]:
        assert (
            list(move(tuple(case["coord"]), case["orientation"], case["dist"]))
            == (case["expected"])
        )


def test_golden_candidates(golden: dict[str, Any]) -> None:
    for case in golden["pathfinder_candidates"]["expected"]:
        (y0, x0), blocked = case["pivot"], {tuple(point) for point in case["blocked"]}
        rows = []
        for y, x in circle_offsets(case["step"]):
            point, angle = (y0 + y, x0 + x), math.atan2(y, x)
            if 0 <= point[0] < 32 and 0 <= point[1] < 32:
                weight = turn_weight(angle, case["orientation"], case["continuity"])
                rows.append([*point, angle, weight * (point not in blocked)])
        found = np.array(rows)
        found[:, 3] /= found[:, 3].sum()
        np.testing.assert_allclose(found, case["expected_y_x_orientation_prob"], atol=1e-6)


def test_canvas_weighs_candidates_as_the_golden_cases_do(
    golden: dict[str, Any], tables: DashTables
) -> None:
    canvas = Canvas(published_scene(32, 14), 1, tables)
    canvas.clear()
    case = golden["pathfinder_candidates"]["expected"][0]
    weights = canvas.candidate_weights((16, 16), 180)  # 0 degrees
    expected = [row[3] for row in case["expected_y_x_orientation_prob"]]
    np.testing.assert_allclose(weights / weights.sum(), expected, atol=1e-6)
    canvas.occupy(np.ones((1, 1), np.float32), (16, 20))
    blocked = canvas.candidate_weights((16, 16), 180)
    places = [(16 + y, 16 + x) for y, x in tables.candidates]
    reached = {place for place, a, b in zip(places, weights, blocked, strict=True) if a != b}
    assert reached == {(16, 19)}  # the disk of radius 1 around (16, 20)
    assert not canvas.candidate_weights((-2, 16), 180)[:8].any()  # outside


def test_dash_is_as_long_as_it_should_be(tables: DashTables) -> None:
    to_the_right = tables.inks[180]
    assert np.flatnonzero(to_the_right.sum(axis=1) > 0.1).tolist() == [tables.reach]
    columns = np.flatnonzero(to_the_right[tables.reach] > 0.1) - tables.reach
    assert columns.tolist() == [0, 1, 2]
    assert (tables.masks[180] >= to_the_right - 0.02).all()


def test_pictures_are_repeatable_and_differ() -> None:
    scene = published_scene(32, 14)
    one, label = draw_picture(scene, 0, 5)
    draw_picture(published_scene(32, 9), 0, 5)
    again, same_label = draw_picture(scene, 0, 5)
    assert np.array_equal(one, again)
    assert label == same_label
    assert not np.array_equal(one, draw_picture(scene, 0, 6)[0])
    assert not np.array_equal(one, draw_picture(scene, 1, 5)[0])


def test_the_number_of_processes_makes_no_difference() -> None:
    one = draw_split(32, 6, 3, range(10, 21), processes=1)
    two = draw_split(32, 6, 3, range(10, 21), processes=2)
    assert np.array_equal(one.inputs, two.inputs)
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.inputs[4:6], draw_split(32, 6, 3, range(14, 16)).inputs)


def test_worker_failure_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="side: expected 32, 64, 128 or 256, got 33"):
        draw_split(33, 6, 0, range(4), processes=2)


# Of 400 pictures of the original with these parameters: share of black pixels; with 14 dashes also
# the mean grey, 20.4, and the median number of pixels above 128, 86. Tolerances cover the sample
# and what is not known of the original: how much room it leaves for distractors.
@pytest.mark.parametrize(("dashes", "black"), [(14, 0.655), (9, 0.733), (6, 0.774)])
def test_pictures_look_like_the_original_ones(dashes: int, black: float) -> None:
    split = draw_split(32, dashes, 0, range(60), processes=1)
    assert (split.inputs == 0).mean() == pytest.approx(black, abs=0.035)
    assert split.inputs.max(axis=1).tolist() == [255] * 60
    assert 15 < split.labels.sum() < 45
    if dashes == 14:
        assert split.inputs.mean() == pytest.approx(20.4, abs=1.5)
        assert np.median((split.inputs > 128).sum(axis=1)) == pytest.approx(86, abs=6)


@pytest.mark.parametrize("side", [64, 128, 256])
def test_other_sizes_are_drawn(side: int) -> None:
    pixels, label = draw_picture(published_scene(side, 6), 0, 0)
    assert pixels.shape == (side, side)
    assert pixels.max() == 255
    assert label in (0, 1)
