"""The tiny job of the tests, and the programs as a user runs them."""

import json
import os
import runpy
import shutil
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from importlib import import_module
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest
import torch
from mlflow import MlflowClient

from cardioemu.data import SplitRule
from cardioemu.emulator import Specification
from cardioemu.windowing import WindowRule

ROOT = Path(__file__).parent.parent
# Program -> what its config is checked against.
PROGRAMS = ("train", "simulate", "evaluate", "tune", "sync", "ui")
JOBS = {name: getattr(import_module(f"cardioemu.settings.{name}"), f"{name.title()}Settings") for name in PROGRAMS}
TINY = (
    "design=sobol",
    "design.n=24",
    "simulator.duration_ms=2500",
    "windowing.samples=200",
    "windowing.settle_ms=500",
    "model.hidden=8",
)
# Sizes of a small run of `experiment=steady`, or of another one that is built on it.
STEADY = (
    *("design.n=48", "simulator.transient_ms=1000", "simulator.duration_ms=2500"),
    *("windowing.samples=500", "trainer.validate_every=2", "model.width=16"),
)
RULE = WindowRule(length_ms=500.0, samples=200, count=3, offset_ms=50.0, settle_ms=500.0)
SPLIT = SplitRule(validation=0.15, test=0.15, duplicates="keep", batch_size=8, seed=0)
SCALED = ["ICaL", "IK1", "IKr", "IKur", "INa"]
# What MLflow shows of a test; metrics.json has more.
SUMMARY = {
    *("rmse_mV_mean", "rmse_mV_median", "rmse_mV_p95", "rmse_mV_max", "fires_accuracy", "cl_mape_percent"),
    *("apd50_mape_percent", "apd75_mape_percent", "apd90_mape_percent"),
}
CURVES = {"train/loss", "train/firing_loss", "val/rmse_mV", "val/rmse_mV_best"}
SIZES = {"samples": 200, "inputs": 5, "hidden": 8}


def specification(**changed):
    """What the checkpoint of a tiny network says, as of the tiny job's windows."""
    facts = {
        "network": "LSTMNetwork",
        "network_arguments": SIZES,
        "scaled": SCALED,
        "lowest": [0.0] * 5,
        "highest": [2.0] * 5,
        "window": asdict(RULE),
        "simulator_arguments": {"model": "akwaboah2021", "duration_ms": 2500.0, "variant": "program", "scaled": None},
        "cell_sha256": "0" * 64,
        "solver": {"name": "rodas", "rtol": 1e-4},
        "split": asdict(SPLIT),
        "windows_key": "0" * 16,
        "design": torch.ones(24, 5, dtype=torch.float64),
    }
    return Specification(**facts | changed)


def run_cli(*arguments, cwd, check=True, script="train.py", preexec_fn=None, env=None):
    """Runs an entry point in a folder of its own, as a user would; with `check`, it must succeed."""
    result = subprocess.run(
        command(*arguments, script=script),
        cwd=cwd,
        env=env or environment(),
        capture_output=True,
        text=True,
        preexec_fn=preexec_fn,
    )
    assert not check or result.returncode == 0, result.stderr
    return result


def run_inside(*arguments, cwd, check=True, script="train.py", env=None):
    """The same in this process, which has everything imported: for all that neither kills nor needs a fresh process."""
    out, err, status = StringIO(), StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(ROOT / script), *arguments])
        # pytest keeps warnings to itself, and Hydra would send what all tests to come log to the output of this one.
        patch.setattr(warnings, "showwarning", lambda *warning: sys.stderr.write(warnings.formatwarning(*warning[:4])))
        patch.setattr("hydra._internal.logging_config.configure_logging", lambda config: None)
        with mock.patch.dict(os.environ, env or {}):  # and with what the program sets taken back
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            except SystemExit as end:
                status = end.code or 0
    assert not check or status == 0, err.getvalue()
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def error_message(result):
    """The last line of a program that ended with a user error."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def command(*arguments, script="train.py"):
    return [sys.executable, str(ROOT / script), *arguments]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def client(cwd):
    return MlflowClient(f"sqlite:///{cwd}/mlflow.db")


def runs(cwd):
    found = client(cwd)
    return found.search_runs([e.experiment_id for e in found.search_experiments()], order_by=["start_time"])


def children_of(parent, all_runs):
    return [run for run in all_runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def own_metrics(run):
    """What a run in MLflow says of itself, not of its machine; a chart at the top of its page has a copy of a curve."""
    return {name: value for name, value in run.data.metrics.items() if not name.startswith(("system/", "Overview/"))}


def shown(metrics):
    """The metrics that MLflow has, of all metrics of a run or an evaluation."""
    return {name: v for name, v in metrics.items() if name in CURVES or name.rpartition("/")[2] in SUMMARY}


def run_of(folder, cwd):
    return client(cwd).get_run((folder / "mlflow_run_id").read_text())


def evaluate(job, cwd, *arguments, check=True):
    """Evaluates the tiny job's emulator on its own design, unless arguments say otherwise."""
    put_database(job, cwd)
    own = (f"checkpoint={job.folder / 'best.ckpt'}", "design=sobol", "design.n=24", f"data_dir={job.cwd / 'data'}")
    return run_inside(*own, *arguments, cwd=cwd, check=check, script="evaluate.py")


def share_data(job, cwd):
    """Overrides with which a run in another folder uses the traces and windows of the tiny job."""
    put_database(job, cwd)
    return (*TINY, f"data_dir={job.cwd / 'data'}")


def put_database(job, cwd):
    """Puts an empty database into a folder that has none: MLflow takes three seconds to make one."""
    if not (cwd / "mlflow.db").exists():
        shutil.copy(job.empty_database, cwd / "mlflow.db")


def whole(data, name):
    """Scales and all windows of a part."""
    rows = data.cell_indices[name]
    return torch.tensor(data.windows.scales[rows], dtype=torch.float32), torch.from_numpy(data.windows.windows(rows))
