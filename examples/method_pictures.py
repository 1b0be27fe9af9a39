"""The pictures of docs/method.md, drawn from a stored training run; needs no data and no time.

``python examples/method_pictures.py`` reads one SPION-CF run per seed from the committed records,
makes each pattern again from its attention map, checks that it is the pattern that the run trained
with, and writes the pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from numpy.typing import NDArray

from spion_bench.ops import average_pool, diagonal_conv
from spion_bench.pattern.generate import pattern_stages, quantile_threshold
from spion_bench.records.artifacts import Artifact, Layer
from spion_bench.records.files import replace_file
from spion_bench.report.load import Outcome, load_records
from spion_bench.report.style import INK, as_file, new_figure, to_svg

ROOT = Path(__file__).resolve().parents[1]
RUN = "results/records/amd-epyc-x2/smoke"
LABEL, METHOD = "image256", "spion_cf"
BLOCK_SIZE, QUANTILE = 8, 0.92  # of the profile; the check below fails with others
COMMAND = "python examples/method_pictures.py"
COLOUR = "#d55e00"
SHOWN = 128  # rows of a drawn map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    print(*write_pictures(parser.parse_args().out), sep="\n")


def write_pictures(folder: Path) -> list[Path]:
    """Write every picture into ``folder`` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, svg in pictures().items():
        paths.append(folder / f"{name}.svg")
        stamp = f"Written by `{COMMAND}` from {RUN}."
        replace_file(paths[-1], as_file(svg, stamp).encode("utf-8"))
    return paths


def pictures() -> dict[str, str]:
    """Return every picture as SVG, by its file's name."""
    runs = spion_runs()
    return {
        "stages": stages_picture(artifact_of(runs[0]).layers[0]),
        "layers": layers_picture(runs),
        "training": training_picture(runs[0]),
    }


def spion_runs() -> list[Outcome]:
    """Return the SPION-CF runs of the records, one per seed."""
    found = [
        outcome
        for outcome in load_records(ROOT / RUN).outcomes
        if (outcome.cell.pass_name, outcome.cell.label, outcome.method.name)
        == ("accuracy", LABEL, METHOD)
    ]
    return sorted(found, key=lambda outcome: outcome.cell.seed)


def artifact_of(run: Outcome) -> Artifact:
    if run.artifact is None:
        raise FileNotFoundError(f"{run.cell.key}: its artifact is not in {RUN}")
    return run.artifact


def stages_picture(layer: Layer) -> str:
    """Draw what becomes of one layer's attention map, stage by stage."""
    attention = torch.tensor(layer.attention, dtype=torch.float32)
    stages = pattern_stages(attention, variant="CF", block_size=BLOCK_SIZE, quantile=QUANTILE)
    if not np.array_equal(stages.mask.numpy(), layer.selected):
        raise ValueError("the map does not give the blocks that the run kept: other settings?")
    above = stages.pooled > quantile_threshold(stages.pooled, QUANTILE)
    filtered = diagonal_conv(attention, 31)
    length = attention.shape[0]
    with new_figure(11.0, 2.7) as figure:
        axes = figure.subplots(1, 5)
        draw_map(axes[0], attention * length, f"1. attention map\n{length} x {length} tokens")
        draw_map(axes[1], filtered * length, "2. filtered along\nthe diagonals")
        draw_map(axes[2], stages.pooled * length, f"3. pooled\nto {len(above)} x {len(above)}")
        draw_blocks(axes[3], [above.numpy()], f"4. above the {QUANTILE:g}\nquantile")
        kept = layer.kept
        draw_blocks(
            axes[4],
            [kept & layer.selected, kept & ~layer.selected],
            f"5. reached by the fill,\nand the diagonal: {kept.mean():.1%}",
        )
        return to_svg(figure, "stages")


def layers_picture(runs: list[Outcome]) -> str:
    """Draw the kept blocks of every layer (rows) in every run (columns)."""
    n_layers = len(artifact_of(runs[0]).layers)
    with new_figure(2.4 * len(runs), 2.5 * n_layers) as figure:
        axes = figure.subplots(n_layers, len(runs), squeeze=False)
        for column, run in zip(axes.T, runs, strict=True):
            for place, layer in enumerate(artifact_of(run).layers):
                kept = [layer.kept & layer.selected, layer.kept & ~layer.selected]
                share = f"{layer.kept.mean():.1%}"
                title = f"seed {run.cell.seed}, layer {place + 1}: {share}"
                draw_blocks(column[place], kept, title)
        return to_svg(figure, "layers")


def training_picture(run: Outcome) -> str:
    """Draw the loss of a run, dense steps and sparse steps apart."""
    curve = artifact_of(run).curve
    with new_figure(7.0, 2.6) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for sparse, colour, name in (
            (False, "#0072b2", "dense phase"),
            (True, COLOUR, "sparse phase"),
        ):
            of_phase = curve.sparse == sparse
            steps = curve.step[of_phase]
            loss.plot(steps, curve.train_loss[of_phase], color=colour, linewidth=1, label=name)
        accuracy.plot(curve.dev_step, curve.dev_accuracy, color=INK, marker="o", markersize=3)
        accuracy.axvline(curve.step[~curve.sparse].max(), color=COLOUR, linestyle="--")
        loss.set(title="training loss", xlabel="step")
        accuracy.set(title="dev accuracy", xlabel="step")
        loss.legend()
        return to_svg(figure, "training")


def draw_map(ax: Axes, values: torch.Tensor, title: str) -> None:
    shown = average_pool(values, len(values) // SHOWN) if len(values) > SHOWN else values
    low, high = np.percentile(shown.numpy(), [5, 99.9])
    norm = LogNorm(low, high, clip=True)
    ax.imshow(shown.numpy(), norm=norm, cmap="viridis", interpolation="none")
    bare(ax, title)


def draw_blocks(ax: Axes, masks: list[NDArray[np.bool_]], title: str) -> None:
    """Draw blocks; those of a second mask are faint."""
    for mask, alpha in zip(masks, (1.0, 0.4), strict=False):
        shown = np.ma.masked_equal(mask, 0)
        ax.imshow(shown, cmap=ListedColormap([COLOUR]), alpha=alpha, interpolation="none")
    bare(ax, title)


def bare(ax: Axes, title: str) -> None:
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)
    for spine in ax.spines.values():
        spine.set_visible(True)


if __name__ == "__main__":
    main()
