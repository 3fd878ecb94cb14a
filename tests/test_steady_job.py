"""One small job of `experiment=steady` as a user runs it: registered cycles, firing, SOAP; killed and resumed."""

import signal

import numpy as np
import pytest
import torch
from test_resume import epochs_done, wait_for
from tiny_job import client, command, metrics_of, run_inside, runs

from cardioemu import load_emulator
from cardioemu.simulation import TraceStore, design
from cardioemu.traces import Trace

pytestmark = pytest.mark.xdist_group("steady")  # one undisturbed run for all

STEADY = (
    "experiment=steady",
    "design.n=48",
    "simulator.transient_ms=1000",
    "simulator.duration_ms=2500",
    "windowing.samples=500",
    "trainer.validate_every=2",
    "model.width=16",
    "optimizer.warmup=5",
)
EPOCHS = 100


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """The folder of a run that nothing disturbs."""
    cwd = tmp_path_factory.mktemp("steady")
    run_inside(*STEADY, f"trainer.max_epochs={EPOCHS}", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    return folder


def job(steady, *overrides):
    """Arguments of another run on the same data."""
    return (*STEADY, f"data_dir={steady.parents[2] / 'data'}", *overrides)


def test_run_folder(steady):
    files = {path.name for path in steady.iterdir()}
    assert {"config.yaml", "metrics.json", "best.ckpt", "last.ckpt", "test_cells.csv", "figures"} <= files
    metrics = metrics_of(steady)
    said = {"train/loss", "train/firing_loss", "val/rmse_mV", "test/rmse_mV_mean", "test/cl_mape_percent"}
    assert said | {"calibration/temperature", "calibration/val_cross_entropy"} <= metrics.keys()
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
    found = emulator.predict(design("sobol", n=48))
    np.testing.assert_array_equal(found.time_ms, np.arange(-50.0, 450.0))
    np.testing.assert_array_equal(found.fires, found.fires_probability >= 0.5)
    assert 0 < found.fires.sum() < 48
    np.testing.assert_array_equal(np.isnan(found.voltage_mV), np.repeat(~found.fires[:, None], 500, axis=1))
    np.testing.assert_array_equal(np.isnan(found.cycle_length_ms), ~found.fires)
    # The cycle length is the distance of the AP starts in the window, of which there are two where it is short.
    np.testing.assert_allclose(found.voltage_mV[found.fires, 50], -40, rtol=0, atol=0.1)
    short = np.flatnonzero(found.cycle_length_ms < 430)
    assert len(short) > 3
    for cell in short:
        starts_ms = Trace.from_samples(found.time_ms, found.voltage_mV[cell]).starts_ms
        assert np.diff(starts_ms)[-1] == pytest.approx(found.cycle_length_ms[cell], abs=1.0)


def test_it_is_measured_after_its_own_transient(steady, tmp_path):
    where = (f"checkpoint={steady / 'best.ckpt'}", f"data_dir={steady.parents[2] / 'data'}", "published_lstm=false")
    told = run_inside(*where, "design=sobol", "design.n=24", "design.seed=1", cwd=tmp_path, script="evaluate.py")
    assert "24 unseen cells of akwaboah2021 (variant program), 2.5 s each after 1 s: " in told.stdout, told.stderr
    stores = [TraceStore(path) for path in (steady.parents[2] / "data" / "traces").iterdir()]
    assert sorted((store.metadata["cells"], store.metadata["transient_ms"]) for store in stores) == [
        (24, 1000),
        (48, 1000),
    ]


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
    assert len(history) <= EPOCHS / 2 + 1  # the epoch that was not yet saved stands twice


def sentence(result):
    """The one sentence a run ends with."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def test_the_last_epoch_must_be_validated(steady, tmp_path):
    result = run_inside(*job(steady, "trainer.max_epochs=5"), cwd=tmp_path, check=False)
    assert sentence(result).startswith("trainer.max_epochs: got 5, allowed are multiples of trainer.validate_every")
    assert not list(tmp_path.glob("runs/*/*/*.ckpt"))


def test_a_run_that_diverges_is_a_sentence(steady, tmp_path):
    result = run_inside(*job(steady, "trainer.max_epochs=4", "optimizer.lr=1e30"), cwd=tmp_path, check=False)
    assert sentence(result).startswith("optimizer.lr: training diverged in epoch 1")
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]


def test_what_it_would_simulate(tmp_path):
    told = run_inside("experiment=steady", "dry_run=true", cwd=tmp_path)
    assert "simulate 4096 cells of 5 s after 45 s, 4096 of them distinct" in told.stdout
