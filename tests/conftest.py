"""The tiny job, simulated for real once per test process."""

from types import SimpleNamespace

import pytest
import torch
from tiny_job import RULE, SPLIT, TINY, run_cli

from cardioemu.data import WindowData, window_set
from cardioemu.simulation import Solver, campaign, design, load_cell

torch.set_num_threads(1)


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
