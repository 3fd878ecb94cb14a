"""One small job of `experiment=steady` as a user runs it: registered cycles, firing, SOAP; killed and resumed."""

import re
import signal

import numpy as np
import pytest
import torch
from test_resume import epochs_done, wait_for
from tiny_job import STEADY, client, command, error_message, metrics_of, run_inside, runs

from cardioemu import load_emulator
from cardioemu.simulation import TraceStore, design
from cardioemu.traces import Trace

pytestmark = pytest.mark.xdist_group("steady")  # one undisturbed run for all

OWN = ("experiment=steady", *STEADY, "optimizer.warmup=5")
EPOCHS = 100


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """The folder of an undisturbed run."""
    cwd = tmp_path_factory.mktemp("steady")
    run_inside(*OWN, f"trainer.max_epochs={EPOCHS}", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    return folder


def job(steady, *overrides):
    """Arguments of another run on the same data."""
    return (*OWN, f"data_dir={steady.parents[2] / 'data'}", *overrides)


def test_run_folder(steady):
    files = {path.name for path in steady.iterdir()}
    assert {"config.yaml", "metrics.json", "best.ckpt", "last.ckpt", "test_cells.csv", "figures"} <= files
    metrics = metrics_of(steady)
    expected = {"train/loss", "train/firing_loss", "val/rmse_mV", "test/rmse_mV_mean", "test/cl_mape_percent"}
    assert expected | {"calibration/temperature", "calibration/val_cross_entropy"} <= metrics.keys()
    assert np.isfinite([*metrics.values()]).all()
    last = torch.load(steady / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (EPOCHS - 1, EPOCHS)  # an epoch is one batch
    assert last["emulator"]["network"] == "MLP"


def test_every_other_epoch_is_validated_and_recorded(steady):
    (run,) = runs(steady.parents[2])
    history = client(steady.parents[2]).get_metric_history(run.info.run_id, "val/rmse_mV")
    assert [metric.step for metric in history] == [*range(1, EPOCHS, 2)]
    assert metrics_of(steady)["val/rmse_mV_best"] == pytest.approx(min(metric.value for metric in history))


def test_prediction(steady):
    emulator = load_emulator(steady / "best.ckpt")
    prediction = emulator.predict(design("sobol", n=48))
    np.testing.assert_array_equal(prediction.time_ms, np.arange(-50.0, 450.0))
    np.testing.assert_array_equal(prediction.fires, prediction.fires_probability >= 0.5)
    assert 0 < prediction.fires.sum() < 48
    np.testing.assert_array_equal(np.isnan(prediction.voltage_mV), np.repeat(~prediction.fires[:, None], 500, 1))
    np.testing.assert_array_equal(np.isnan(prediction.cycle_length_ms), ~prediction.fires)
    # The cycle length is the distance of the AP starts in the window; there are two if it is short.
    np.testing.assert_allclose(prediction.voltage_mV[prediction.fires, 50], -40, rtol=0, atol=0.1)
    short = np.flatnonzero(prediction.cycle_length_ms < 430)
    assert len(short) > 3
    for cell in short:
        starts_ms = Trace.from_samples(prediction.time_ms, prediction.voltage_mV[cell]).starts_ms
        assert np.diff(starts_ms)[-1] == pytest.approx(prediction.cycle_length_ms[cell], abs=1.0)


def test_it_is_measured_after_its_own_transient(steady, tmp_path):
    where = (f"checkpoint={steady / 'best.ckpt'}", f"data_dir={steady.parents[2] / 'data'}", "published_lstm=false")
    result = run_inside(*where, "design=sobol", "design.n=24", "design.seed=1", cwd=tmp_path, script="evaluate.py")
    assert "24 unseen cells of akwaboah2021 (variant program), 2.5 s each after 1 s: " in result.stdout, result.stderr
    stores = [TraceStore(path) for path in (steady.parents[2] / "data" / "traces").iterdir()]
    assert {(store.metadata["cells"], store.metadata["transient_ms"]) for store in stores} == {(24, 1000), (48, 1000)}


def test_a_killed_run_resumes_as_if_nothing_had_been(steady, begin, tmp_path):
    process = begin(command(*job(steady, f"trainer.max_epochs={EPOCHS}")), tmp_path)
    folder, done = wait_for(lambda: (found := epochs_done(tmp_path)) and found[1] >= 4 and found, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert done % 2 == 0
    assert epochs_done(tmp_path)[1] < EPOCHS
    assert not (folder / "metrics.json").exists()
    run_inside(f"resume={folder}", cwd=tmp_path)
    assert metrics_of(folder) == metrics_of(steady)
    (run,) = runs(tmp_path)
    history = client(tmp_path).get_metric_history(run.info.run_id, "val/rmse_mV")
    assert len(history) <= EPOCHS / 2 + 1  # the epoch that was not yet saved is recorded twice


def test_a_run_that_diverges_is_a_user_error(steady, tmp_path):
    result = run_inside(*job(steady, "trainer.max_epochs=4", "optimizer.lr=1e30"), cwd=tmp_path, check=False)
    assert re.fullmatch(r"optimizer.lr: training diverged in epoch 1 \(train/loss .*; lower it", error_message(result))
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]


def test_dry_run(tmp_path):
    result = run_inside("experiment=steady", "dry_run=true", cwd=tmp_path)
    assert "simulate 4096 cells of 5 s after 45 s, 4096 of them distinct" in result.stdout
