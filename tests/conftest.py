"""The tiny job, simulated for real once per test process; campaigns of a small cell model."""

import signal
from types import SimpleNamespace

import pytest
import torch
from hypothesis import settings
from small_campaign import DURATION, files_of, finish, logged, oscillator, start
from tiny_job import RULE, SPLIT, TINY, evaluate, metrics_of, run_cli

from cardioemu.data import WindowData
from cardioemu.simulation import Solver, campaign, design, load_cell
from cardioemu.simulation.campaigns import plan, work
from cardioemu.windowing import window_set

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)  # machines are noisy
settings.load_profile("untimed")
# A shell that starts the tests in the background has them, and all that they start, pass over Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    """The trace store of the tiny design."""
    cell = load_cell("akwaboah2021")
    solver = Solver(threads=1)
    return campaign(cell, design("sobol", n=24), 2500.0, solver, tmp_path_factory.mktemp("traces"))


@pytest.fixture(scope="session")
def windows(traces, tmp_path_factory):
    """Its windows."""
    return window_set(traces, RULE, tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="session")
def data(windows):
    """Its windows, split."""
    return WindowData(windows, SPLIT)


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """One run of train.py on the tiny design: its folder, where it ran, and what it printed."""
    cwd = tmp_path_factory.mktemp("job")
    result = run_cli(*TINY, "trainer.max_epochs=4", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    return SimpleNamespace(cwd=cwd, folder=folder, out=result.stdout, err=result.stderr)


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
    counts, simulate = [], work.simulate

    def counting(cell, scales, duration_ms, *args, **kwargs):
        if duration_ms == DURATION:  # not those of the forecast
            counts.append(len(scales))
        return simulate(cell, scales, duration_ms, *args, **kwargs)

    monkeypatch.setattr(work, "simulate", counting)
    return counts


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The shards of the campaign that `small_campaign.py` runs as a program."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert finish(start(folder / "traces", folder / "log"))[0] == 0
    assert len(logged(folder / "log")) == 40
    return files_of(folder / "traces")
