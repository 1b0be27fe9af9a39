"""A real browser: the system's Chromium, driven by Playwright.

Without either, the tests are skipped with the reason; with `SPION_BENCH_NEEDS_BROWSER=1`, as in CI,
they fail instead.
"""

import os
import shutil

import pytest

from spion_bench.report import render_comparison, render_report
from tests.report.full_run import write_full_run
from tests.report.sets.conftest import OTHER, write_set

HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{7*7}}&lt;$x^2$"


def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def missing(reason):
    if os.environ.get("SPION_BENCH_NEEDS_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright: pip install 'spion_bench[dev]'")
    path = chromium()
    if path is None:
        missing("no Chromium on PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        # Root has no sandbox in a container.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The report of a run with controls, rivals, turns and marks."""
    folder = tmp_path_factory.mktemp("browser")
    return render_report(write_full_run(folder / "study"), folder / "report").html


@pytest.fixture(scope="session")
def comparison(tmp_path_factory):
    """Two machines side by side; on the second, steps of SPION's kernel take longer."""
    folder = tmp_path_factory.mktemp("comparison")
    sets = write_set(folder / "one"), write_set(folder / "two", step=1.2, environment=OTHER)
    return render_comparison(sets, folder / "report").html


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A report whose method names, reasons and remarks want to be more than text."""
    folder = tmp_path_factory.mktemp("hostile")
    rename = {"bigbird": HOSTILE}
    write_full_run(
        folder / "study",
        lengths=(128,),
        seeds=1,
        rename=lambda name: rename.get(name, name),
        deviations=[HOSTILE],
    )
    return render_report(folder / "study", folder / "report").html


@pytest.fixture
def open_page(browser):
    """Open a report and return its page; anything on the console fails the test at its end."""
    problems, contexts = [], []

    def open_(path, *, width=1280, height=900, address="", **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda said: problems.append(said.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
        page.goto(f"file://{path}{address}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []
