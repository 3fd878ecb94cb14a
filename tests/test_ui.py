"""What a user sees of a sweep in MLflow's own pages, in a real browser. Debian's Chromium is used where it is there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
from browsing import CHROMIUM, chromium, new_page, pictures
from mlflow_server import free_port, wait_until_up
from playwright.sync_api import expect
from tiny_job import ROOT, client, environment, run_cli, runs, share_data

HIDDEN, EPOCHS = (8, 16), (2, 3)
SWEPT = ("trainer.max_epochs=2,3", "model.hidden=8,16")
PARENT = f"sweep {' '.join(SWEPT)}"
CHILDREN = [f"model.hidden={hidden},trainer.max_epochs={epochs}" for epochs in EPOCHS for hidden in HIDDEN]
# MLflow opens its assistant beside the first page that a browser sees, over a third of the table.
NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
# What a chart shows: steps and values by the name of the run.
DRAWN = "plot => Object.fromEntries(plot.data.map(line => [line.name, line.x.map((step, i) => [step, line.y[i]])]))"
NUMBERED = "cells => cells.map(cell => [cell.closest('[role=row]').getAttribute('row-index'), cell.innerText])"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.xdist_group("ui"),  # one sweep for all
]


@pytest.fixture(scope="module")
def sweep(job, tmp_path_factory):
    """A sweep of four runs: its folder, its runs, and the address it printed."""
    cwd = tmp_path_factory.mktemp("swept")
    tiny = [override for override in share_data(job, cwd) if not override.startswith("model.hidden=")]
    result = run_cli("-m", *tiny, *SWEPT, "evaluation.every_epochs=1", cwd=cwd)
    parent, *children = runs(cwd)
    (address,) = set(re.findall(r"^compare runs make ui, then (\S+)$", result.stdout, re.M))
    return SimpleNamespace(cwd=cwd, parent=parent, children=children, address=address)


@pytest.fixture(scope="module")
def address(sweep, tmp_path_factory):
    """What `make ui` serves of it: the address that the sweep printed, on a port of its own."""
    folder = tmp_path_factory.mktemp("ui")
    port = free_port()
    options = (f"BIN={Path(sys.executable).parent}", f"DATABASE={sweep.cwd / 'mlflow.db'}", f"PORT={port}")
    # The environment is there already, whatever the age of its files.
    command = ["make", "-f", str(ROOT / "Makefile"), "-o", ".venv/.ready", "ui", *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield sweep.address.replace(":5000/", f":{port}/")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser):
    with new_page(browser, NO_ASSISTANT) as found:
        yield found


@pytest.fixture
def picture(page, tmp_path):
    """Keeps a picture of the page, under a name."""
    folder = pictures(tmp_path)

    def keep(name):
        page.mouse.move(0, 0)
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    return keep


def column(page, name):
    """The cells of a column of the table of runs, below its head."""
    return page.locator(f'[role=gridcell][col-id="{name}"]')


def by_row(page, name):
    """The texts of a column by the number of their row; columns that stay when others scroll have rows of their own."""
    expect(column(page, name)).to_have_count(1 + len(CHILDREN))
    return {row: text.splitlines()[-1] for row, text in column(page, name).evaluate_all(NUMBERED)}


def run_names(page):
    return page.locator('[role=gridcell] a[href*="/runs/"]')


def unfold(page):
    """Shows the runs below the sweep."""
    expect(run_names(page)).to_have_text([PARENT])
    page.get_by_role("gridcell", name=PARENT).get_by_role("button").click()
    expect(run_names(page)).to_have_count(1 + len(CHILDREN))


def widen(page, name):
    """Makes a column as wide as what stands in it, with a double click, as in a spreadsheet."""
    page.locator(f'.ag-header-cell[col-id="{name}"] .ag-header-cell-resize').dblclick()


def test_it_listens_to_this_machine_only(address):
    listening = [at.laddr for at in psutil.net_connections("tcp") if at.status == psutil.CONN_LISTEN]
    assert {at.ip for at in listening if at.port == urlsplit(address).port} == {"127.0.0.1"}


def test_table_of_runs(sweep, address, page, picture):
    page.goto(address)
    unfold(page)
    assert sorted(run_names(page).all_inner_texts()) == sorted([PARENT, *CHILDREN])

    page.get_by_role("button", name="Toggle sidebar").click()
    widen(page, "attributes.`Run Name`")
    widen(page, "attributes.`Dataset`")
    params = sweep.children[0].data.params
    datasets = column(page, "attributes.`Dataset`")
    expect(datasets.get_by_role("button", name="+1")).to_have_count(0)
    for name in ("traces", "windows"):
        expect(datasets.get_by_role("button", name=f"{name} ({params[f'{name}.key']})")).to_have_count(len(CHILDREN))
    picture("datasets")


def test_columns_of_the_table(sweep, address, page, picture):
    page.set_viewport_size({"width": 1400, "height": 500})
    page.goto(address)
    unfold(page)
    page.get_by_role("button", name="Toggle sidebar").click()
    metrics, params = ("val/rmse_mV", "test/rmse_mV_mean"), ("model.hidden", "trainer.max_epochs")
    choose_columns(page, "Dataset", "Source", "Models", *metrics, *params)
    shown = [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in params)]
    for name in ("attributes.`Run Name`", *shown):
        widen(page, name)
    rows = {name: row for row, name in by_row(page, "attributes.`Run Name`").items()}
    for run in sweep.children:
        row = rows[run.info.run_name]
        for name in metrics:
            assert float(by_row(page, f"metrics.`{name}`")[row]) == pytest.approx(run.data.metrics[name])
        for name in params:
            assert by_row(page, f"params.`{name}`")[row] == run.data.params[name]
    picture("columns")


def choose_columns(page, *names):
    """Shows columns that are not shown, and hides those that are."""
    page.get_by_role("button", name="Columns", exact=True).click()
    for name in names:
        page.get_by_role("dialog").get_by_text(name, exact=True).click()
    page.keyboard.press("Escape")


def test_comparison(sweep, address, page, picture):
    page.goto(address)
    unfold(page)
    for name in CHILDREN:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))
        row.get_by_role("checkbox").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name=f"Comparing {len(CHILDREN)} Runs from 1 Experiment")).to_be_visible()
    _, *names = page.get_by_role("row", name="Run Name:").locator("th, td").all_inner_texts()
    assert sorted(names) == sorted(CHILDREN)
    values = {run.info.run_name: run.data.metrics["val/rmse_mV"] for run in sweep.children}
    shown = compared_metric(page, "val/rmse_mV")
    assert all(re.fullmatch(r"\d+\.\d{1,2}", text) for text in shown)
    assert [float(text) for text in shown] == pytest.approx([values[name] for name in names], abs=0.005)
    picture("comparison")


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


def test_charts(sweep, address, page, picture):
    page.set_viewport_size({"width": 1400, "height": 1130})
    page.goto(f"{address}&compareRunsMode=CHART")
    unfold(page)
    page.get_by_role("button", name="Toggle sidebar").click()
    move_divider(page, 165)
    page.get_by_placeholder("Search metric charts").fill("/rmse_mV(_max|_mean|_p95|_best|$)")
    for name in ("test/rmse_mV_mean", "val/rmse_mV", "val/rmse_mV_best"):
        expected = {run.info.run_name: history(sweep, run, name) for run in sweep.children}
        expect(chart(page, name).locator(".scatterlayer .trace")).to_have_count(2 * len(CHILDREN))  # as is, and smooth
        assert chart(page, name).locator(".js-plotly-plot").evaluate(DRAWN) == expected
    picture("ui")


def chart(page, name):
    return page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_title(name, exact=True))


def history(sweep, run, name):
    return [[metric.step, metric.value] for metric in client(sweep.cwd).get_metric_history(run.info.run_id, name)]


def move_divider(page, right_px):
    """Moves what divides the table of runs from the charts."""
    box = page.locator('[data-component-id="mlflow.experiment_page.table_resizer.collapse"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] - 100
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right_px, y, steps=5)
    page.mouse.up()


def test_images_of_a_run(sweep, address, page, picture):
    run = sweep.children[-1]
    page.goto(address)
    unfold(page)
    page.get_by_role("link", name=run.info.run_name, exact=True).click()
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("prediction")
    card = chart(page, "prediction")
    slider, image = card.get_by_role("slider"), card.locator("img")
    expect(slider).to_have_attribute("aria-valuemax", str(max(EPOCHS) - 1))
    for step in range(max(EPOCHS)):
        expect(slider).to_have_attribute("aria-valuenow", str(step))
        expect(card.get_by_role("spinbutton")).to_have_value(str(step))
        expect(image).to_have_attribute("src", re.compile(rf"prediction%2Bstep%2B{step}%2B.*{run.info.run_id}"))
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 100
        if step == 1:
            image.scroll_into_view_if_needed()
            picture("prediction")
        slider.press("ArrowRight")


def test_files_of_the_sweep(sweep, address, page, picture):
    page.goto(address)
    page.get_by_role("link", name=PARENT, exact=True).click()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("listitem").filter(has_text="runs.csv").click()
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(1 + len(CHILDREN))
    for name in CHILDREN:
        expect(rows.filter(has_text=name)).to_have_count(1)
    picture("table")
    page.get_by_role("listitem").filter(has_text="errors.png").click()
    image = page.get_by_role("img", name="errors.png")
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 300
    picture("errors")
