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
from browsing import (
    BARS,
    CHROMIUM,
    DRAWN,
    by_row,
    chart,
    column,
    compared_metric,
    new_page,
    pictures,
    run_names,
)
from mlflow_server import free_port, wait_until_up
from playwright.sync_api import expect
from tiny_job import ROOT, client, environment, run_inside, runs, share_data

HIDDEN, EPOCHS = (8, 16), (2, 3)
SETTINGS = ("trainer.max_epochs", "model.hidden")
SWEPT = ("trainer.max_epochs=2,3", "model.hidden=8,16")
PARENT = f"sweep {' '.join(SWEPT)}"
CHILDREN = [f"model.hidden={hidden},trainer.max_epochs={epochs}" for epochs in EPOCHS for hidden in HIDDEN]
CURVE = "Overview/val_rmse_mV"
METRICS = ("val/rmse_mV_best", "test/rmse_mV_mean", "test/rmse_mV_median", "test/rmse_mV_p95", "test/rmse_mV_max")

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
    result = run_inside("-m", *tiny, *SWEPT, "evaluation.every_epochs=1", cwd=cwd)
    parent, *children = runs(cwd)
    (address,) = set(re.findall(r"^compare runs cardioemu ui, then (\S+)$", result.stdout, re.M))
    return SimpleNamespace(cwd=cwd, parent=parent, children=children, address=address)


@pytest.fixture(scope="module")
def address(sweep, tmp_path_factory):
    """What `make ui` serves of it: the address that the sweep printed, on a port of its own."""
    folder = tmp_path_factory.mktemp("ui")
    port = free_port()
    options = (f"BIN={Path(sys.executable).parent}", f"DATABASE={sweep.cwd / 'mlflow.db'}", f"PORT={port}")
    # The environment exists already; make would rebuild it if its files looked old.
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


@pytest.fixture
def page(browser):
    with new_page(browser) as found:
        yield found


@pytest.fixture
def picture(page, tmp_path):
    """Keeps a picture of the page, under a name."""
    folder = pictures(tmp_path)

    def keep(name):
        page.mouse.move(0, 0)
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    return keep


def run_page(address, run, tab=""):
    return f"{address.partition('#')[0]}#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{tab}"


def test_it_listens_to_this_machine_only(address):
    listening = [at.laddr for at in psutil.net_connections("tcp") if at.status == psutil.CONN_LISTEN]
    assert {at.ip for at in listening if at.port == urlsplit(address).port} == {"127.0.0.1"}


def test_table_of_runs(sweep, address, page, picture):
    """Settings and errors of a sweep's runs without a click, the best run first."""
    page.set_viewport_size({"width": 1700, "height": 900})
    page.goto(address)
    expect(run_names(page)).to_have_count(len(CHILDREN))
    columns = {**{f"params.`{name}`": name for name in SETTINGS}, **{f"metrics.`{name}`": name for name in METRICS}}
    for key, name in columns.items():
        header = page.locator(f'.ag-header-cell[col-id="{key}"]')
        expect(header).to_have_text(name)
        expect(header).to_be_in_viewport(ratio=1)
    picture("runs")
    best_first = sorted(sweep.children, key=lambda run: run.data.metrics["test/rmse_mV_mean"])
    names = [text.splitlines()[-1] for text in run_names(page).all_inner_texts()]
    assert names == [run.info.run_name for run in best_first]
    for name in SETTINGS:
        assert by_row(page, f"params.`{name}`", len(CHILDREN)) == [run.data.params[name] for run in best_first]
    for name in METRICS:
        shown = [float(text) for text in by_row(page, f"metrics.`{name}`", len(CHILDREN))]
        assert shown == pytest.approx([run.data.metrics[name] for run in best_first])


def test_datasets_of_the_runs(sweep, address, page, picture):
    page.set_viewport_size({"width": 2600, "height": 900})
    page.goto(address)
    page.get_by_role("button", name="Columns", exact=True).click()
    page.get_by_role("dialog").get_by_text("Dataset", exact=True).click()
    page.keyboard.press("Escape")
    datasets = column(page, "attributes.`Dataset`")
    expect(datasets).to_have_count(len(CHILDREN))
    page.locator('.ag-header-cell[col-id="attributes.`Dataset`"] .ag-header-cell-resize').dblclick()
    expect(datasets.get_by_role("button", name="+1")).to_have_count(0)
    for item in sweep.children[0].inputs.dataset_inputs:
        button = datasets.get_by_role("button", name=f"{item.dataset.name} ({item.dataset.digest})")
        expect(button).to_have_count(len(CHILDREN))
    picture("datasets")


def test_table_of_all_runs(sweep, address, page):
    """Runs of a sweep are folded into its row, and its settings are columns."""
    page.goto(address.replace(f"viewStateShareKey={sweep.parent.info.run_id}", "viewStateShareKey=runs"))
    expect(run_names(page)).to_have_text([PARENT])
    page.get_by_role("gridcell", name=PARENT).get_by_role("button").click()
    expect(run_names(page)).to_have_count(1 + len(CHILDREN))
    assert sorted(run_names(page).all_inner_texts()) == sorted([PARENT, *CHILDREN])
    for name in ("params.`model.hidden`", "params.`trainer.max_epochs`", "metrics.`val/rmse_mV_best`"):
        expect(page.locator(f'.ag-header-cell[col-id="{name}"]')).to_be_in_viewport()
    expect(page.get_by_test_id("saved-views-trigger")).to_have_text("settings and errors")


def test_comparison(sweep, address, page, picture):
    page.goto(address)
    expect(run_names(page)).to_have_count(len(CHILDREN))
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


def test_charts(sweep, address, page, picture):
    """Curves of many points, and single values as bars."""
    page.set_viewport_size({"width": 1400, "height": 1130})
    page.goto(f"{address}&compareRunsMode=CHART")
    expect(run_names(page)).to_have_count(len(CHILDREN))
    lines = chart(page, CURVE).locator(".scatterlayer .trace")
    expect(lines).to_have_count(2 * len(CHILDREN))  # as is, and smooth
    drawn = chart(page, CURVE).locator(".js-plotly-plot").evaluate(DRAWN)
    assert drawn == {run.info.run_name: history(sweep, run, "val/rmse_mV") for run in sweep.children}
    picture("charts")
    for name in ("test/rmse_mV_mean", "val/rmse_mV_best"):
        page.get_by_placeholder("Search metric charts").fill(name)
        expect(chart(page, name).locator(".barlayer .point")).to_have_count(len(CHILDREN))
        found = chart(page, name).locator(".js-plotly-plot").evaluate(BARS)
        assert found == {run.info.run_id: run.data.metrics[name] for run in sweep.children}


def history(sweep, run, name):
    return [[metric.step, metric.value] for metric in client(sweep.cwd).get_metric_history(run.info.run_id, name)]


def test_page_of_a_run(sweep, address, page, picture):
    """The errors of its test, few params, then the error epoch by epoch next to a large picture of predictions."""
    run = sweep.children[-1]
    page.goto(run_page(address, run))
    summary = page.get_by_role("table").filter(has_text="RMSE mean (mV)").get_by_role("row")
    expect(summary.last.get_by_role("cell")).to_contain_text(["test", f"{run.data.metrics['test/rmse_mV_mean']:.3g}"])
    expect(summary.last).to_be_in_viewport()
    expect(page.get_by_text(f"Parameters ({len(run.data.params)})")).to_be_visible()
    assert len(run.data.params) < 15
    picture("run")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="predictions and charts").click()
    opened.value.close()

    page.goto(run_page(address, run, "/model-metrics"))
    curve, card = chart(page, CURVE), chart(page, "Overview/predictions")
    expect(curve.locator(".scatterlayer .trace").first).to_be_in_viewport()
    slider, image = card.get_by_role("slider"), card.locator("img")
    expect(slider).to_have_attribute("aria-valuemax", str(max(EPOCHS) - 1))
    for step in range(max(EPOCHS)):
        expect(slider).to_have_attribute("aria-valuenow", str(step))
        expect(card.get_by_role("spinbutton")).to_have_value(str(step))
        expect(image).to_have_attribute("src", re.compile(rf"predictions%2Bstep%2B{step}%2B.*{run.info.run_id}"))
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 500
        assert image.bounding_box()["width"] > 300
        expect(image).to_be_in_viewport(ratio=0.3)
        if step == 1:
            picture("predictions")
        slider.press("ArrowRight")


def test_page_of_the_sweep(sweep, address, page, picture):
    """Its best runs, and links to all of them and to the figure of their errors."""
    page.goto(run_page(address, sweep.parent))
    best = min(sweep.children, key=lambda run: run.data.metrics["test/rmse_mV_mean"])
    rows = page.get_by_role("table").filter(has_text="RMSE mean (mV)").get_by_role("row")
    expect(rows).to_have_count(3)
    for name in SETTINGS:
        expect(rows.nth(1)).to_contain_text(best.data.params[name])
    expect(rows.nth(1)).to_contain_text(f"{best.data.metrics['test/rmse_mV_mean']:.3g}")
    expect(page.get_by_role("link", name="all runs")).to_have_attribute("href", f"#{address.partition('#')[2]}")
    expect(page.get_by_role("link", name="figure of the errors")).to_be_in_viewport()
    picture("sweep")


def test_files_of_the_sweep(sweep, address, page, picture):
    page.goto(run_page(address, sweep.parent, "/artifacts"))
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
