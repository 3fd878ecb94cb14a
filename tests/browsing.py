"""Debian's Chromium, where it is there, for the tests of what a user sees in a browser."""

import os
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",  # it does not start as root with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # for the browser's own errands
)
LONGEST_MS = 60_000
# MLflow opens its assistant beside the first page that a browser sees, over a third of the table.
NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
# What a chart shows by the name of the run: steps and values of a curve, or the value of a bar.
DRAWN = "plot => Object.fromEntries(plot.data.map(line => [line.name, line.x.map((step, i) => [step, line.y[i]])]))"
BARS = "plot => Object.fromEntries(plot.data[0].y.map((name, i) => [name, plot.data[0].x[i]]))"
NUMBERED = "cells => cells.map(cell => [cell.closest('[role=row]').getAttribute('row-index'), cell.innerText])"


@contextmanager
def chromium():
    expect.set_options(timeout=LONGEST_MS)
    with sync_playwright() as found:
        browser = found.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def new_page(browser):
    """An empty page of a browser that was never used; what it asks of other machines is an error."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(LONGEST_MS)
    context.add_init_script(NO_ASSISTANT)
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    context.route(lambda url: not here(url), lambda route: route.abort())
    yield context.new_page()
    context.close()
    assert asked
    assert [url for url in asked if not here(url)] == []


def here(url):
    """Whether an address is on this machine, or none of a machine at all (data:, blob:)."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", None)


def pictures(otherwise):
    """The folder where pictures of pages are kept."""
    folder = Path(os.environ.get("CARDIOEMU_SCREENSHOTS", otherwise)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def column(page, name):
    """The cells of a column of the table of runs, below its head."""
    return page.locator(f'[role=gridcell][col-id="{name}"]')


def by_row(page, name, count):
    """The texts of a column from top to bottom."""
    expect(column(page, name)).to_have_count(count)
    return [text for _, text in sorted(column(page, name).evaluate_all(NUMBERED), key=lambda cell: int(cell[0]))]


def run_names(page):
    return page.locator('[role=gridcell] a[href*="/runs/"]')


def compared_metric(page, name):
    """The texts of one of the last rows of the metrics of a comparison; names and values stand in two grids."""
    page.get_by_role("button", name="Metrics", exact=True).scroll_into_view_if_needed()
    values = page.get_by_role("grid").last
    # The names follow the values one scroll event late.
    values.evaluate("grid => { grid.scrollTop = grid.scrollHeight; requestAnimationFrame(() => grid.scrollTop -= 1) }")
    link = page.get_by_role("link", name=name, exact=True)
    expect(link).to_be_in_viewport()
    top = link.locator("..").evaluate("cell => cell.style.top")
    return values.locator(f'[style*=" top: {top};"]').all_inner_texts()


def chart(page, name):
    return page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_title(name, exact=True))
