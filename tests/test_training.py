"""Loss, metrics, checkpoints and callbacks of training, against NumPy and against a second, uninterrupted training."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from small_training import EXPECTED_WARNINGS, assert_same, make_module, training, weights
from tiny_job import RULE, SPLIT, whole

from cardioemu import UserError, load_emulator
from cardioemu.data import TEST, TRAIN, VALIDATION, WindowDataModule
from cardioemu.evaluation import rmse_mV
from cardioemu.runtime import progress
from cardioemu.training import BEST, LAST, PREVIOUS, PredictionPlots, check_epochs_left
from cardioemu.windowing import CycleRule, WindowRule, build_window_set

pytestmark = EXPECTED_WARNINGS


@pytest.fixture(scope="module")
def rough(data, tmp_path_factory):
    """A training with a learning rate so large that its best epoch is not its last."""
    return training(data, tmp_path_factory.mktemp("rough"), 12, lr=0.03)


def test_validation_is_the_mean_over_cells_in_numpy(data):
    module = make_module(data)
    scales, windows = whole(data, VALIDATION)
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    # Batches of 2 cells and a rest: the mean over cells, not over batches.
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(scales, windows), batch_size=2)
    (found,) = trainer.validate(module, batches, verbose=False)
    with torch.no_grad():
        predicted = module(scales).numpy()
    assert len(scales) % 2 == 1
    assert found["val/rmse_mV"] == pytest.approx(rmse_mV(windows.numpy(), predicted).mean(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_loss_is_the_mean_squared_error_in_mV2(data):
    module = make_module(data)
    scales, windows, rows = next(iter(data.train_dataloader()))
    loss = module.training_step((scales, windows, rows), 0)
    with torch.no_grad():
        error = module(scales).numpy().astype(float) - windows.numpy()
    assert loss.item() == pytest.approx((error**2).mean(), rel=1e-6)
    loss.backward()
    # d loss / d readout bias = 2 std mean over samples of the summed errors.
    std = module.network.normaliser.std_mV.item()
    expected = 2 * std * error.sum(axis=0) / error.size
    np.testing.assert_allclose(module.network.readout.bias.grad, expected, rtol=1e-4, atol=1e-6)


def test_what_is_recorded_is_what_the_checkpoints_hold(data, rough):
    assert list(rough.recorded) == list(range(12))
    assert rough.metrics.last == rough.recorded[11]
    scores = [values["val/rmse_mV"] for values in rough.recorded.values()]
    best = int(np.argmin(scores))
    assert best < 11, "the rough training must get worse again for this test to say anything"
    scales, windows = (part.numpy() for part in whole(data, VALIDATION))
    for name, epoch in ((BEST, best), (LAST, 11)):
        checkpoint = torch.load(rough.folder / name, weights_only=True)
        assert checkpoint["epoch"] == epoch
        with pytest.warns(UserWarning, match="outside the trained range"):
            predicted = load_emulator(rough.folder / name).predict(scales).voltage_mV
        assert rmse_mV(windows, predicted).mean() == pytest.approx(scores[epoch], rel=1e-5)
    assert sorted(path.name for path in rough.folder.iterdir()) == [BEST, LAST, PREVIOUS]
    assert torch.load(rough.folder / PREVIOUS, weights_only=True)["epoch"] == 10


def test_last_checkpoint_is_the_module(rough):
    assert_same(weights(torch.load(rough.folder / LAST, weights_only=True)["state_dict"]), weights(rough.module))
    scales = torch.rand(7, 5)
    emulator = load_emulator(rough.folder / LAST)
    with torch.no_grad():
        assert torch.equal(emulator(scales), rough.module.network.eval()(scales))


def test_a_finished_training_ends_with_its_metrics_again(data, tmp_path):
    first = training(data, tmp_path, 3)
    again = training(data, tmp_path, 3, seed=9)
    assert again.recorded == {}
    assert again.metrics.last == first.metrics.last
    best = [run.trainer.checkpoint_callbacks[0].best_model_score.item() for run in (first, again)]
    assert best[0] == best[1] == min(values["val/rmse_mV"] for values in first.recorded.values())


def test_resumed_in_a_moved_folder_is_uninterrupted_bit_for_bit(data, rough, tmp_path):
    before, moved = tmp_path / "before", tmp_path / "moved"
    first = training(data, before, 5, lr=0.03)
    before.rename(moved)
    # Another seed: every weight must come from the checkpoint.
    second = training(data, moved, 12, lr=0.03, seed=9)
    assert not before.exists()
    assert_same(weights(second.module), weights(rough.module))
    for name in (BEST, LAST):
        one, other = (torch.load(folder / name, weights_only=True) for folder in (moved, rough.folder))
        assert_same(one["state_dict"], other["state_dict"])
        assert one["epoch"] == other["epoch"]
    assert first.recorded | second.recorded == rough.recorded
    assert list(second.recorded) == list(range(5, 12))
    best = second.trainer.checkpoint_callbacks[0]
    assert best.best_model_score.item() == min(values["val/rmse_mV"] for values in rough.recorded.values())
    assert best.best_model_path == str(moved / BEST)


@pytest.mark.parametrize("fewer", [1, 2, 3])
def test_fewer_epochs_than_are_done(data, tmp_path, fewer):
    training(data, tmp_path, 4)
    with pytest.raises(
        UserError,
        match=rf"^trainer.max_epochs: got {fewer}, but the run has already finished 4 epochs; give at least 4$",
    ):
        check_epochs_left(tmp_path, fewer)


def test_checkpoints_hold_plain_values_and_tensors(data, rough):
    content = torch.load(rough.folder / LAST, weights_only=True)
    said, expected = content["emulator"], asdict(rough.module.specification)
    assert torch.equal(said.pop("design"), expected.pop("design"))
    assert json.loads(json.dumps(said)) == said == expected
    assert said["windows_key"] == data.windows.key
    assert "network.normaliser.mean_mV" in content["state_dict"]
    assert "optimizer_states" not in torch.load(rough.folder / BEST, weights_only=True)
    assert sum(key.startswith("Checkpoint{") for key in content["callbacks"]) == 2  # as in checkpoints of old versions


def easiest_and_hardest(data):
    """Of the test part, by the distance of their windows from those of the nearest trained cell."""
    scales, trained, error_mV = data.windows.scales, data.cell_indices[TRAIN], {}
    for cell in data.cell_indices[TEST].tolist():
        nearest = min(trained.tolist(), key=lambda other: np.linalg.norm(scales[other] - scales[cell]))
        own, others = (data.windows.windows(np.array([row]))[0].astype(float) for row in (cell, nearest))
        error_mV[cell] = np.sqrt(np.mean((own - others.mean(axis=0)) ** 2))
    return [pick(error_mV, key=error_mV.get) for pick in (min, max)]


@pytest.mark.parametrize(
    ("every", "epochs", "drawn"), [(3, 7, [0, 2, 5, 6]), (1, 2, [0, 1]), (100, 3, [0, 2]), (3, 3, [0, 2])]
)
def test_figures_are_drawn_when_due(data, tmp_path, every, epochs, drawn):
    shown = {}
    figures = PredictionPlots(data, RULE.time_ms, lambda figure, epoch: shown.update({epoch: figure}), 2, every)
    run = training(data, tmp_path, epochs, callbacks=[figures])
    assert list(shown) == drawn
    rows = easiest_and_hardest(data)
    assert len(shown[0].axes) == 2
    for axis, cell in zip(shown[epochs - 1].axes, rows, strict=True):
        *simulated, emulated = (line.get_ydata() for line in axis.lines)
        np.testing.assert_array_equal(simulated, data.windows.windows(np.array([cell]))[0])
        scales = torch.tensor(data.windows.scales[[cell]], dtype=torch.float32)
        with torch.no_grad():
            np.testing.assert_allclose(emulated, run.module(scales)[0], rtol=0, atol=1e-4)


def test_more_cells_wanted_than_there_are(data, tmp_path):
    figures = PredictionPlots(data, RULE.time_ms, lambda figure, epoch: None, 50, 1)
    drawn = figures.figure(make_module(data))
    assert len([axis for axis in drawn.axes if axis.get_visible()]) == len(data.cell_indices[TEST])


def test_training_cells_without_windows_are_nobodys_neighbours(traces, tmp_path):
    rule = WindowRule(length_ms=1700.0, samples=200, count=1, offset_ms=50.0, settle_ms=500.0)
    windows, cycles = (build_window_set(traces, each, tmp_path) for each in (rule, CycleRule(500.0)))
    data, fewer = WindowDataModule(windows, SPLIT, cycles), WindowDataModule(windows, SPLIT)
    assert set(data.cell_indices[TRAIN]) > set(fewer.cell_indices[TRAIN])
    plots = [PredictionPlots(each, rule.time_ms, lambda figure, epoch: None, 4, 1) for each in (data, fewer)]
    np.testing.assert_array_equal(plots[0].cell_indices, plots[1].cell_indices)


def test_progress_counts_the_batches_of_all_epochs(data, tmp_path, monkeypatch):
    bars = []

    def bar(*arguments):
        bars.append(progress.progress_bar(*arguments))
        return bars[-1]

    monkeypatch.setattr("cardioemu.training.callbacks.progress_bar", bar)
    training(data, tmp_path, 2)
    training(data, tmp_path, 5)
    batches = len(data.train_dataloader())
    assert [(b.initial, b.n, b.total) for b in bars] == [(0, 2 * batches, 2 * batches), (0, 5 * batches, 5 * batches)]
    assert "epoch 5, val/rmse_mV" in bars[1].postfix


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("cached_on", ["cuda", "cpu", None])
def test_gpu_is_cpu_to_rounding(data, tmp_path, precision, cached_on):
    place = {"cuda": {"GPU": 2**30}, "cpu": {"host": 2**30}, None: {}}[cached_on]
    on = {}
    for accelerator in ("cpu", "gpu"):
        run_data = WindowDataModule(data.windows, data.rule)
        run_data.memory_budget = place if accelerator == "gpu" else {}
        run = training(run_data, tmp_path / accelerator, 2, accelerator=accelerator, precision=precision)
        on[accelerator] = load_emulator(tmp_path / accelerator / LAST).predict(data.windows.scales).voltage_mV
    cache = run.trainer.train_dataloader.dataset.cache
    assert (cache.device.type if cache is not None else None) == cached_on
    np.testing.assert_allclose(on["gpu"], on["cpu"], atol=0.05 if precision == "32-true" else 1.0)
