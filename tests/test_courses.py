"""How a training goes on and ends: resumed, with fewer rates, stopped early, smoothed at the end."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from scipy import ndimage
from small_training import EXPECTED_WARNINGS, assert_same, make_module, training, weights
from test_checkpoints import flip_a_bit
from tiny_job import metrics_of, run_inside, share_data, whole
from torch import nn
from torch.optim import lr_scheduler

from cardioemu import load_emulator
from cardioemu.comparison.lineage import load_training_cell, training_windows
from cardioemu.config.build import build
from cardioemu.config.run_config import open_run_to_resume
from cardioemu.data import VALIDATION
from cardioemu.evaluation import rmse_mV
from cardioemu.jobs.train_steps import prepare_data, prepare_module
from cardioemu.models import LSTMNetwork
from cardioemu.settings.train import TrainSettings
from cardioemu.simulation import Executor
from cardioemu.tracking.run import NullRun
from cardioemu.training import BEST, LAST, choose_smoothing
from cardioemu.training.calibration import interval_factors
from cardioemu.training.module import CONSTANT

pytestmark = [*EXPECTED_WARNINGS, pytest.mark.filterwarnings("ignore:.* of .* cells .* outside the trained range")]


class Dropping(LSTMNetwork):
    """The published LSTM with dropout: a network that draws random numbers while it trains."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.dense.append(nn.Dropout(0.5))


NETWORKS = {
    "seed": LSTMNetwork,
    "lstm3": partial(LSTMNetwork, lstm_layers=3, dense_layers=3, dead_weights="drop"),
    "dropout": Dropping,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_resumed_is_uninterrupted_bit_for_bit(data, tmp_path, name):
    make = NETWORKS[name]
    cosine = partial(lr_scheduler.CosineAnnealingLR, T_max=8)
    through = training(data, tmp_path / "through", 8, schedule=cosine, make=make)
    recorded = {}
    for seed, epochs in enumerate((3, 5, 8)):  # from another seed each: every number must come from the checkpoint
        part = training(data, tmp_path / "parts", epochs, seed=seed, schedule=cosine, make=make)
        recorded |= part.recorded
    assert recorded == through.recorded
    one, other = (torch.load(tmp_path / name / LAST, weights_only=True) for name in ("through", "parts"))
    assert_same(weights(one["state_dict"]), weights(other["state_dict"]))
    for key, state in one["optimizer_states"][0]["state"].items():
        assert torch.equal(state["velocity"], other["optimizer_states"][0]["state"][key]["velocity"])


def test_dropout_differs_from_epoch_to_epoch_and_seed_to_seed(data):
    module = make_module(data, make=Dropping)
    scales = torch.ones(3, 5)

    def drawn(epoch, seed=1):
        module.seed = seed
        module._trainer = SimpleNamespace(current_epoch=epoch, global_rank=0, barebones=False)
        module.on_train_epoch_start()
        return module.network.train()(scales)

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert not torch.equal(drawn(3), drawn(3, seed=2))


def test_a_damaged_last_checkpoint_costs_one_epoch_and_nothing_else(data, tmp_path, capsys):
    through = training(data, tmp_path / "through", 5)
    training(data, tmp_path / "damaged", 4)
    flip_a_bit(tmp_path / "damaged" / LAST)
    again = training(data, tmp_path / "damaged", 5, seed=9)
    assert "resuming from previous.ckpt" in capsys.readouterr().err
    assert list(again.recorded) == [3, 4]
    assert_same(weights(again.module), weights(through.module))


def test_patience_stops_and_stays_stopped(data, tmp_path):
    long = training(data, tmp_path / "long", 30, lr=0.03)
    scores = [values["val/rmse_mV"] for values in long.recorded.values()]
    best, since, expected = np.inf, 0, None  # by hand: the epoch after which two have not been better
    for epoch, score in enumerate(scores):
        best, since = (score, 0) if score < best else (best, since + 1)
        if since == 2:
            expected = epoch
            break
    assert expected is not None, "the training must get worse for this test to say anything"
    stopped = training(data, tmp_path / "short", 30, lr=0.03, patience=2)
    assert list(stopped.recorded) == list(range(expected + 1))
    again = training(data, tmp_path / "short", 30, lr=0.03, seed=9, patience=2)
    assert again.recorded == {}
    more = training(data, tmp_path / "short", 30, lr=0.03, seed=9, patience=30)
    assert stopped.recorded | more.recorded == long.recorded


class Rates(Callback):
    """The learning rate at the beginning of each epoch."""

    def __init__(self):
        self.of_epochs = []

    def on_train_epoch_start(self, trainer, _):
        self.of_epochs.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        (CONSTANT, lambda epoch: 0.001),
        (partial(lr_scheduler.CosineAnnealingLR, T_max=6), lambda epoch: 0.0005 * (1 + np.cos(np.pi * epoch / 6))),
        (partial(lr_scheduler.StepLR, step_size=2, gamma=0.5), lambda epoch: 0.001 * 0.5 ** (epoch // 2)),
        (partial(lr_scheduler.ExponentialLR, gamma=0.9), lambda epoch: 0.001 * 0.9**epoch),
    ],
)
def test_schedules_by_their_formulas(data, tmp_path, schedule, rate):
    rates = Rates()
    training(data, tmp_path, 6, callbacks=[rates], schedule=schedule)
    assert rates.of_epochs == pytest.approx([rate(epoch) for epoch in range(6)])


def test_plateau_lowers_the_rate_when_validation_does_not_improve(data, tmp_path):
    plateau, rates = partial(lr_scheduler.ReduceLROnPlateau, factor=0.1, patience=1), Rates()
    run = training(data, tmp_path, 12, lr=0.03, callbacks=[rates], schedule=plateau)
    rate, best, worse, expected = 0.03, np.inf, 0, []  # by hand: a tenth after two in a row without a better error
    for values in run.recorded.values():
        expected.append(rate)
        score = values["val/rmse_mV"]
        best, worse = (score, 0) if score < best * (1 - 1e-4) else (best, worse + 1)
        if worse == 2:
            rate, worse = rate / 10, 0
    assert rates.of_epochs == pytest.approx(expected)
    assert expected[-1] < 0.03, "the training must get worse for this test to say anything"


@pytest.mark.parametrize(("tf32", "precision"), [(True, "high"), (False, "highest")])
def test_tf32_is_said_not_left(data, tmp_path, tf32, precision):
    try:
        training(data, tmp_path, 1, tf32=tf32)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


def test_half_precision_comes_near(data, tmp_path):
    single = training(data, tmp_path / "single", 3)
    mixed = training(data, tmp_path / "mixed", 3, precision="bf16-mixed")
    assert mixed.recorded != single.recorded
    for epoch, values in single.recorded.items():
        assert mixed.recorded[epoch]["val/rmse_mV"] == pytest.approx(values["val/rmse_mV"], rel=0.02)
    assert all(value.dtype == torch.float32 for value in weights(mixed.module).values())


def test_smoothing_is_the_best_of_its_widths(data, tmp_path):
    training(data, tmp_path, 2)
    content = torch.load(tmp_path / BEST, weights_only=True)
    content["state_dict"]["network.readout.bias"][::2] += 0.3  # a ripple of some mV, worth smoothing
    torch.save(content, tmp_path / BEST)
    scales, windows = (part.numpy() for part in whole(data, VALIDATION))
    rough = load_emulator(tmp_path / BEST).predict(scales).voltage_mV
    found = choose_smoothing(tmp_path / BEST, data)

    def error(sigma):
        smoothed = ndimage.gaussian_filter1d(rough.astype(float), sigma, axis=1) if sigma else rough
        return rmse_mV(windows, smoothed).mean()

    errors = {sigma: error(sigma) for sigma in (0.0, *np.arange(10, 77) / 10)}
    assert found["smoothing/sigma_points"] == min(errors, key=errors.get) > 0
    assert found["smoothing/val_rmse_mV"] == pytest.approx(min(errors.values()), rel=1e-6)
    smoothed = load_emulator(tmp_path / BEST).predict(scales).voltage_mV
    assert rmse_mV(windows, smoothed).mean() == pytest.approx(found["smoothing/val_rmse_mV"], rel=1e-6)
    assert choose_smoothing(tmp_path / BEST, data) == found  # of the rough predictions again, not of the smoothed ones


def test_smoothing_in_the_main_job(job, tmp_path):
    shared = [override for override in share_data(job, tmp_path) if override != "model.hidden=8"]
    model = ("model=mlp", "model.members=2", "model.width=16")
    run_inside(*shared, *model, "smoothing=true", "trainer.max_epochs=2", "hydra.run.dir=run", cwd=tmp_path)
    metrics = metrics_of(tmp_path / "run")
    assert metrics["smoothing/val_rmse_mV"] <= metrics["val/rmse_mV_best"] * (1 + 1e-6)
    emulator = load_emulator(tmp_path / "run" / BEST)
    assert emulator.specification.sigma_points == metrics["smoothing/sigma_points"] > 0
    # The intervals are those of the smoothed predictions.
    known = training_windows(emulator, load_training_cell(emulator), job.cwd / "data", Executor())
    assert emulator.specification.interval_factors == pytest.approx(interval_factors(emulator, known), rel=1e-5)


def test_a_run_that_is_resumed_is_not_initialised(job, tmp_path, monkeypatch):
    monkeypatch.chdir(job.cwd)
    drawn = []
    monkeypatch.setattr(LSTMNetwork, "fit_target", lambda self, batches: drawn.append("normaliser"))
    config, _ = open_run_to_resume(str(job.folder), [])
    settings = build(config, TrainSettings)
    data = prepare_data(settings, settings.training_job(job.folder), NullRun())
    pl.seed_everything(settings.seed, verbose=False)  # as the run does
    before = torch.get_rng_state()
    module, checkpoint = prepare_module(settings, data, job.folder)
    assert checkpoint == job.folder / LAST
    assert torch.equal(before, torch.get_rng_state())
    assert drawn == []
    assert not any(value.is_meta for value in module.network.state_dict().values())
    assert prepare_module(settings, data, tmp_path)[1] is None
    assert not torch.equal(before, torch.get_rng_state())
    assert drawn == ["normaliser"]
