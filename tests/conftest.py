"""The tiny job, simulated for real once per test process; campaigns of a small cell model."""

import runpy
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import psutil
import pytest
import torch
from hypothesis import settings
from small_campaign import DURATION, files_of, finish, logged, oscillator, start
from tiny_job import ROOT, RULE, SPLIT, TINY, environment, evaluate, metrics_of, run_cli

from cardioemu.data import WindowDataModule
from cardioemu.simulation import CampaignSpec, SolverSettings, campaign, design, load_cell
from cardioemu.simulation.campaigns import plan, shard_work
from cardioemu.tracking import Sqlite
from cardioemu.windowing import build_window_set

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None, print_blob=True)  # machines are noisy
settings.load_profile("untimed")
# A shell that starts the tests in the background has them, and all that they start, pass over Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What takes minutes, the longest first: started last, it would keep one worker waiting for the other.
LONG = ("test_studies.py::test_in_miniature[emulators]", "test_studies.py", "test_robustness.py::test_any_path")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((place for place, name in enumerate(LONG) if name in item.nodeid), len(LONG)))


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    """The trace store of the tiny design."""
    cell = load_cell("akwaboah2021")
    solver = SolverSettings(threads=1)
    return campaign(CampaignSpec(cell, design("sobol", n=24), 2500.0, solver, tmp_path_factory.mktemp("traces")))


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
    result = run_cli(*TINY, "trainer.max_epochs=4", cwd=cwd)
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


@pytest.fixture
def run_inside(monkeypatch, capsys):
    """Runs a program in this process, which has everything imported: for what is soon over."""

    def run(*arguments, cwd, script="train.py"):
        monkeypatch.chdir(cwd)
        monkeypatch.syspath_prepend(str(ROOT))
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as `launch` leaves it behind
        monkeypatch.setattr(sys, "argv", [str(ROOT / script), *arguments])
        # Hydra's would send what all tests to come log to the output of this one.
        monkeypatch.setattr("hydra._internal.logging_config.configure_logging", lambda config: None)
        status = 0
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as end:
            status = end.code
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run


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
