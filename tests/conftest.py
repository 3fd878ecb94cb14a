"""The tiny job, simulated for real once per test process; campaigns of a small cell model."""

import signal
import subprocess
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import psutil
import pytest
import torch
from browsing import chromium
from hypothesis import settings
from small_campaign import DURATION, files_of, finish, logged, oscillator, run, start
from tiny_job import RULE, SPLIT, TINY, environment, evaluate, metrics_of, run_inside

from cardioemu.data import WindowDataModule
from cardioemu.simulation import design, load_cell
from cardioemu.simulation.campaigns import plan, shard_work
from cardioemu.tracking import Sqlite
from cardioemu.windowing import build_window_set

torch.set_num_threads(1)
# Machines are noisy: no test is timed.
settings.register_profile("fast", max_examples=15, deadline=None, print_blob=True)
settings.register_profile("all", max_examples=150, deadline=None, print_blob=True)
settings.load_profile("fast")
# A shell that starts the tests in the background has them, and all that they start, pass over Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Marker -> what it says of a test. `make test` leaves out all of these, which are `slow`; `make test-all` runs them.
SLOW = {
    "browser": "opens pages in Chromium",
    "cluster": "starts workers of Dask, or jobs as a scheduler would",
    "compiler": "builds the solver with many compilers and flags",
    "fuzz": "feeds random models and numbers to the compiled solver",
    "long": "simulates or trains for long",
    "manual": "does what the manual says",
    "memory": "measures the memory of processes",
    "program": "starts programs as processes of their own, many of them to be killed",
    "server": "starts a server of MLflow or PostgreSQL",
    "study": "runs a study in miniature",
}
SLOW_FIXTURES = {
    "begin": "program",
    "browser": "browser",
    "server": "server",
    "steady": "long",
    "swept": "program",
    "uninterrupted": "program",
    "workshop": "manual",
}
# What takes minutes, the longest first: started last, it would keep one worker waiting for the other.
LONG = ("test_studies.py::test_in_miniature[emulators]", "test_studies.py", "test_robustness.py::test_any_path")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: left out by `make test`; another marker says what takes its time")
    for name, reason in SLOW.items():
        config.addinivalue_line("markers", f"{name}: slow, since it {reason}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in SLOW_FIXTURES.keys() & set(item.fixturenames):
            item.add_marker(SLOW_FIXTURES[fixture])
        if any(item.get_closest_marker(name) for name in SLOW):
            item.add_marker("slow")
    items.sort(key=lambda item: next((place for place, name in enumerate(LONG) if name in item.nodeid), len(LONG)))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    """The trace store of the tiny design."""
    return run(load_cell("akwaboah2021"), tmp_path_factory.mktemp("traces"), design("sobol", n=24))


@pytest.fixture(scope="session")
def windows(traces, tmp_path_factory):
    """Its windows."""
    return build_window_set(traces, RULE, tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="session")
def data(windows):
    """Its windows, split."""
    return WindowDataModule(windows, SPLIT)


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """One run of train.py on the tiny design: its folder, where it ran, what it printed, and a database without it."""
    cwd, empty = tmp_path_factory.mktemp("job"), tmp_path_factory.mktemp("empty") / "mlflow.db"
    result = run_inside(*TINY, "trainer.max_epochs=4", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    Sqlite(experiment="Default", database=empty, artifacts=empty.parent).connect()
    return SimpleNamespace(cwd=cwd, folder=folder, out=result.stdout, err=result.stderr, empty_database=empty)


@pytest.fixture
def begin():
    """Starts programs for a test to stop, or to wait for; none of them outlives it."""
    with ExitStack() as begun:

        def begin_one(command, cwd, **how):
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = subprocess.Popen(command, cwd=cwd, **{"env": environment()} | pipes | how)
            begun.enter_context(process)
            begun.callback(kill, process)
            return process

        yield begin_one


def kill(process):
    """Ends a program and all that it has started, if it still runs."""
    if process.poll() is None:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def evaluation(job, tmp_path_factory):
    """One run of evaluate.py on the tiny job's own design: its folder, metrics, where it ran, and what it printed."""
    cwd = tmp_path_factory.mktemp("evaluation")
    result = evaluate(job, cwd)
    (folder,) = cwd.glob("evaluations/*/*")
    return SimpleNamespace(cwd=cwd, folder=folder, out=result.stdout, err=result.stderr, metrics=metrics_of(folder))


@pytest.fixture(scope="session")
def cell(tmp_path_factory):
    """The cell model of the small campaigns."""
    return oscillator(tmp_path_factory.mktemp("cell"))


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of two of its cells."""
    monkeypatch.setattr(plan, "CELL_MS_PER_SHARD", 2 * DURATION)


@pytest.fixture
def simulated(monkeypatch):
    """The number of cells of every shard that is simulated, since the test began."""
    counts, simulate = [], shard_work.simulate

    def counting(cell, scales, duration_ms, *args, **kwargs):
        if duration_ms == DURATION:  # not those of the forecast
            counts.append(len(scales))
        return simulate(cell, scales, duration_ms, *args, **kwargs)

    monkeypatch.setattr(shard_work, "simulate", counting)
    return counts


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The shards of the campaign that `small_campaign.py` runs as a program."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert finish(start(folder / "traces", folder / "log"))[0] == 0
    assert len(logged(folder / "log")) == 40
    return files_of(folder / "traces")
