"""The command ``spion-bench model``: prints the GPU model, or writes it into its page."""

from __future__ import annotations

from pathlib import Path

import click

from spion_bench.cli.console import examples, plain_errors
from spion_bench.gpu_model.devices import GPUS, PRECISIONS
from spion_bench.gpu_model.tables import SECTION, model_text


@click.command(
    epilog=examples(
        "spion-bench model --device A100 --precision 16bit",
        "spion-bench model --write docs/gpu_model.md",
    )
)
@click.option("--device", "devices", multiple=True, type=click.Choice(list(GPUS)))
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(list(PRECISIONS)),
    help="How products are computed (repeatable).",
)
@click.option(
    "--write",
    "page",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Replace the tables of this Markdown page instead of printing them.",
)
def model(devices: tuple[str, ...], precisions: tuple[str, ...], page: Path | None) -> None:
    """Model attention on GPUs at the tasks' shapes: floors and expected times, not measured.

    docs/gpu_model.md says how. Needs no GPU.
    """
    if page is not None and (devices or precisions):
        raise click.UsageError("expected --write without --device, --precision: a page holds all")
    text = model_text(
        [GPUS[name] for name in devices or GPUS],
        [PRECISIONS[name] for name in precisions or PRECISIONS],
    )
    if page is None:
        click.echo(text)
        return
    with plain_errors():
        SECTION.write(page, text)
    click.echo(f"{page}: tables written")
