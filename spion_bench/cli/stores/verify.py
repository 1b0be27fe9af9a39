"""The command ``verify``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from spion_bench.cli.console import RECORDS, examples, make_console, plain_errors, print_line
from spion_bench.cli.run import environment_of

STYLES = {"reproduces": "green", "differs": "red", "cannot be told": "yellow"}


@click.command(
    epilog=examples(
        "spion-bench verify results/records --sample 10 --seed 1",
        "spion-bench verify results/local/smoke --sample 0    only the artifacts",
    )
)
@RECORDS
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many cells to measure again.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the cells.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with downloaded data sets.  [default: as the records say]",
)
@plain_errors()
def verify(records: Path, sample: int, seed: int, data_dir: Path | None) -> None:
    """Hash the artifacts of RECORDS again, and measure a random sample of cells once more.

    Accuracies, losses, errors of the gate, patterns and artifacts must agree to the bit, if the
    machine's class, threads, code and libraries are those of the record. Times and peaks are
    compared as ratios to a method of the same turn, which is measured with them: they agree within
    the width that the turn aimed at, or if their intervals overlap. For every other cell the reason
    is printed. RECORDS is a folder of runs, or one records.jsonl; nothing in it is changed.

    Exit codes: 0, 1 if an artifact is damaged or a cell differs, 2 if no sampled cell could be
    told, 130 after Ctrl-C.
    """
    console = make_console()
    from spion_bench.cli.display import showing
    from spion_bench.records.store import open_stores
    from spion_bench.run import verify as check
    from spion_bench.run.conduct import WarmConductor
    from spion_bench.run.interrupts import interrupt_on_sigterm

    stores = open_stores(records)
    for problem in [problem for store in stores for problem in store.problems]:
        click.echo(f"warning: {problem}", err=True)
    n_artifacts, damaged = check.damaged_artifacts(stores)
    for sentence in damaged:
        print_line(console, escape(sentence))
    print_line(console, f"{n_artifacts} artifacts, {len(damaged)} damaged or missing")
    chosen = check.draw(stores, sample, seed)
    findings = []
    with interrupt_on_sigterm():
        for again in chosen:
            here = environment_of(again.record.cell)
            with (
                tempfile.TemporaryDirectory(prefix="spion_bench_verify_") as folder,
                showing(console, {}) as display,
                WarmConductor() as conductor,
            ):
                findings.append(
                    check.verify(
                        again,
                        here,
                        display,
                        Path(folder),
                        data_dir=data_dir,
                        conduct=conductor,
                    )
                )
    if findings:
        table = Table(title="Measured again", title_justify="left")
        for name in ("cell", "verdict", "why"):
            table.add_column(name, overflow="fold")
        for found in findings:
            style = STYLES[found.verdict]
            table.add_row(escape(found.key), f"[{style}]{found.verdict}[/]", escape(found.reason))
        console.print(table)
        n_good = sum(record.is_ok for store in stores for record in check.latest(store))
        print_line(
            console,
            f"{len(findings)} of {n_good} cells (seed {seed}): {check.summary(findings)}",
        )
    verdicts = {found.verdict for found in findings}
    is_bad = bool(damaged) or "differs" in verdicts
    raise SystemExit(1 if is_bad else 2 if verdicts == {"cannot be told"} else 0)
