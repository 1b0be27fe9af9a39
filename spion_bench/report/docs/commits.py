"""The picture of asv's results: the time of a training step at every commit that was measured."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes

from spion_bench.report.style import HUES, as_file, new_figure, to_svg

SERIES: Final = "bench_training.TrainingStep.time_step"
MACHINE_FILE: Final = "machine.json"
_HASH_LENGTH: Final = 7
_COLOURS: Final = {"spion_cf": HUES["spion"], "dense": HUES["dense"]}


@dataclass(frozen=True)
class MeasuredCommit:
    """What asv measured at a commit.

    Attributes:
        name: Its hash, shortened.
        date: When it was made, in milliseconds since 1970.
        times: Shape and attention to the seconds of a step, with the ends of the 99 % interval.
    """

    name: str
    date: int
    times: dict[tuple[str, str], tuple[float, float, float]]


def read_commits(folder: Path) -> list[MeasuredCommit]:
    """Return the commits that a machine's folder of asv's results has the series of, by date."""
    files = [path for path in folder.glob("*.json") if path.name != MACHINE_FILE]
    found = [_read(json.loads(path.read_text(encoding="utf-8"))) for path in files]
    return sorted((one for one in found if one.times), key=lambda one: one.date)


def _read(stored: dict[str, Any]) -> MeasuredCommit:
    name, date = stored["commit_hash"][:_HASH_LENGTH], stored["date"]
    columns = stored["result_columns"]
    row = dict(zip(columns, stored["results"].get(SERIES, ()), strict=False))
    if not row or row["result"] is None:
        return MeasuredCommit(name, date, {})
    # asv writes parameters as Python spells them.
    params = [[ast.literal_eval(value) for value in values] for values in row["params"]]
    numbers = zip(row["result"], row["stats_ci_99_a"], row["stats_ci_99_b"], strict=True)
    pairs = zip(product(*params), numbers, strict=True)
    return MeasuredCommit(name, date, {where: own for where, own in pairs if None not in own})


def commits_picture(folder: Path, stamp: str) -> str:
    """Return the picture of a machine's commits as an SVG file's content."""
    commits = read_commits(folder)
    shapes = list(dict.fromkeys(shape for commit in commits for shape, _ in commit.times))
    with new_figure(9.5, 3.0) as figure:
        axes = figure.subplots(1, len(shapes), squeeze=False)[0]
        for ax, shape in zip(axes, shapes, strict=True):
            _draw(ax, commits, shape)
        axes[0].set_ylabel("training step (s)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
        svg = to_svg(figure, "commits")
    return as_file(svg, stamp)


def _draw(ax: Axes, commits: Sequence[MeasuredCommit], shape: str) -> None:
    for attention, colour in _COLOURS.items():
        known = [
            (place, commit.times[shape, attention])
            for place, commit in enumerate(commits)
            if (shape, attention) in commit.times
        ]
        places = [place for place, _ in known]
        values = [time for _, (time, _, _) in known]
        reach = [[t - low for _, (t, low, _) in known], [high - t for _, (t, _, high) in known]]
        ax.errorbar(
            *(places, values, reach),
            label=attention,
            color=colour,
            marker="o" if attention == "spion_cf" else "D",
            markersize=4,
            capsize=2,
        )
    ax.set_title(shape)
    ax.set_ylim(bottom=0)
    ax.set_xticks(range(len(commits)), [commit.name for commit in commits], rotation=60)
