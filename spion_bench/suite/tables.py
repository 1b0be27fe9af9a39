"""The tables of methods and tasks in the Markdown pages, from the registries.

``python -m spion_bench.suite.tables`` writes them into the pages of the checkout that it runs in; a
test compares the pages with what it would write. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spion_bench.suite.method import Argument, Method
from spion_bench.suite.methods import METHODS
from spion_bench.suite.pages import Section, markdown_table
from spion_bench.tasks.registry import load_config, load_spec, task_names

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m spion_bench.suite.tables"

ORIGINS = {
    "lra": "Long Range Arena",
    "skyformer": "Skyformer",
    "paper": "paper",
    "hf": "Hugging Face",
    "ours": "ours",
}

# Fact about SPION on a task -> how a table says it.
FACTS = {
    "length": "the longest sequence",
    "tenth": "a tenth of the tokens",
    "block_size": "SPION's",
    "matched_window": "as many keys as SPION-CF keeps at most",
}


def methods_table() -> str:
    """Return every method: what it is, its purpose, whose kernel it runs."""
    header = ("Method", "What it is", "Family", "Role", "Kernel")
    rows = [
        (
            f"`{name}`",
            method.summary,
            method.family.replace("_", " "),
            method.role,
            method.native,
        )
        for name, method in METHODS.items()
    ]
    return markdown_table(header, rows)


def baselines_table() -> str:
    """Return every method of ``baselines``: its file and its settings, each with its origin."""
    header = ("Method", "What it is", "File", "Role", "Settings (origin)")
    rows = [
        (f"`{name}`", method.summary, f"`{_file(method)}`", method.role, _settings(method))
        for name, method in METHODS.items()
        if method.factory.startswith("baselines.")
    ]
    return markdown_table(header, rows)


def tasks_table() -> str:
    """Return every source of every task, in the order in which they are looked for."""
    header = ("Task", "Length", "Classes", "Source", "Data", "How to get it")
    rows = []
    for name in task_names():
        model = load_config(name).model
        what = (f"`{name}`", str(model.max_length), str(model.n_classes))
        for source in load_spec(name).sources:
            kind = "stand-in" if source.stand_in else "published task"
            get = source.how_to_get.format(folder="the data folder") or "always available"
            rows.append((*what, f"`{source.name}`", kind, get))
            what = ("", "", "")
    return markdown_table(header, rows)


def budgets_table() -> str:
    """Return, per task, the published length, budget and patterns, and what dense maps take."""
    header = ("Task", "Length", "Batch", "Steps", "Layers", "Heads", "Blocks", "Dense maps")
    rows = []
    for name in task_names():
        config = load_config(name)
        model, train = config.model, config.train
        n_maps = train.batch_size * (2 if model.two_towers else 1) * model.heads
        size = 4 * n_maps * model.max_length**2
        sizes = (model.max_length, train.batch_size, train.steps, model.layers, model.heads)
        block = config.spion.block_size
        rows.append((f"`{name}`", *map(str, sizes), f"{block} x {block}", f"{size / 1e9:.1f} GB"))
    return markdown_table(header, rows)


SECTIONS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"methods": methods_table, "tasks": tasks_table},
    "baselines/README.md": {"baselines": baselines_table},
    "docs/paper.md": {"budgets": budgets_table},
}
"""Page -> its sections -> what makes each."""


def section(name: str) -> Section:
    """Return where a table stands in its page."""
    return Section(COMMAND, name)


def write_tables(root: Path = ROOT) -> list[Path]:
    """Write all tables into the pages below ``root`` and return the pages.

    Raises:
        ValueError: If a page does not hold a table's markers once each, in order.
        OSError: If a page cannot be read or written.
    """
    for page, tables in SECTIONS.items():
        for name, make in tables.items():
            section(name).write(root / page, make())
    return [root / page for page in SECTIONS]


def _settings(method: Method) -> str:
    shown = [f"{_setting(name, a)} ({ORIGINS[a.origin]})" for name, a in method.arguments.items()]
    return ", ".join(shown) or "none"


def _setting(name: str, argument: Argument) -> str:
    value = FACTS[str(argument.value)] if argument.of_spion else argument.value
    return f"{name} = {value}"


def _file(method: Method) -> str:
    module = method.factory.partition(":")[0]
    return "/".join(module.split(".")[1:]) + ".py"


if __name__ == "__main__":
    for written in write_tables():
        print(f"{written}: tables written")
