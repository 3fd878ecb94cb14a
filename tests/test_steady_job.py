"""One small job of `experiment=steady` as a user runs it: registered cycles, firing, SOAP; killed and resumed."""

import signal

import numpy as np
import pandas as pd
import pytest
import torch
from test_resume import epochs_done, start, wait_for
from tiny_job import metrics_of, run_cli, runs

from cardioemu import load_emulator
from cardioemu.simulation import design
from cardioemu.traces import Trace

STEADY = (
    "experiment=steady",
    "design.n=48",
    "simulator.transient_ms=1000",
    "simulator.duration_ms=2500",
    "windowing.samples=500",
    "trainer.validate_every=2",
    "model.width=16",
    "model.blocks=1",
    "optimizer.warmup=5",
)


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A run of 300 epochs that nothing disturbs."""
    cwd = tmp_path_factory.mktemp("steady")
    run_cli(*STEADY, "trainer.max_epochs=300", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    return folder


def shared(steady):
    return (*STEADY, f"data_dir={steady.parents[2] / 'data'}")


def test_run_folder(steady):
    files = {path.name for path in steady.iterdir() if not path.name.startswith(".")}
    assert {"config.yaml", "metrics.json", "best.ckpt", "last.ckpt", "test_cells.csv", "figures"} <= files
    metrics = metrics_of(steady)
    said = {"train/loss", "train/firing_loss", "val/rmse_mV", "test/rmse_mV_mean", "test/cl_mape_percent"}
    assert said | {"calibration/temperature", "calibration/val_cross_entropy"} <= metrics.keys()
    assert np.isfinite([*metrics.values()]).all()
    (run,) = runs(steady.parents[2])
    assert run.data.metrics["calibration/temperature"] == metrics["calibration/temperature"]
    assert [torch.load(steady / "last.ckpt", weights_only=True)[key] for key in ("epoch", "global_step")] == [299, 300]


def test_every_other_epoch_is_validated_and_recorded(steady):
    from tiny_job import client

    (run,) = runs(steady.parents[2])
    history = client(steady.parents[2]).get_metric_history(run.info.run_id, "val/rmse_mV")
    assert [metric.step for metric in history] == [*range(1, 300, 2)]
    best = metrics_of(steady)["val/rmse_mV_best"]
    assert best == pytest.approx(min(metric.value for metric in history))
