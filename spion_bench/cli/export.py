"""The command ``spion-bench export``: records as one table for other programs."""

from __future__ import annotations

import importlib.util
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spion_bench.cli.console import RECORDS, examples, plain_errors

if TYPE_CHECKING:
    import pandas as pd


@click.command(
    epilog=examples(
        "spion-bench export results/local/speed > speed.csv",
        "spion-bench export results/records --format parquet --out records.parquet",
    )
)
@RECORDS
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="parquet needs the extra spion_bench[parquet].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: standard output, for csv]",
)
def export(records: Path, file_format: str, out: Path | None) -> None:
    """Write RECORDS, a file or a folder, as one table with a row per metric.

    results/README.md lists the columns. The last outcome of every cell counts.
    """
    if file_format == "parquet" and out is None:
        raise click.UsageError("expected --out with --format parquet: it is a binary format")
    if file_format == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise click.ClickException(
            "parquet needs pyarrow, which is not installed; run pip install 'spion_bench[parquet]'"
        )
    from spion_bench.records.files import replace_file
    from spion_bench.records.frame import records_frame

    with plain_errors(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = records_frame(records)
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    if frame.empty:
        raise click.ClickException(f"{records}: holds no records; run `spion-bench run`")
    if out is None:
        click.echo(_csv(frame), nl=False)
        return
    try:
        content = _csv(frame).encode() if file_format == "csv" else _parquet(frame)
        replace_file(out, content)
    except OSError as error:
        raise click.ClickException(f"{out} was not written: {error}") from error
    n_cells = len(frame.drop_duplicates(["file", "key"]))
    click.echo(f"{out}: {len(frame)} rows of {n_cells} cells", err=True)


def _csv(frame: pd.DataFrame) -> str:
    """Return the frame as CSV; a measured NaN is written, an empty field is no number."""
    is_nan = frame["metric"].notna() & frame["value"].isna()
    return frame.assign(value=frame["value"].astype(object).mask(is_nan, "NaN")).to_csv(
        index=False, lineterminator="\n"
    )


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
