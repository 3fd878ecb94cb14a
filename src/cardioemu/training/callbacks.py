"""Callbacks of training: what is recorded, when training stops, what is shown."""

import warnings
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pydantic import PositiveInt
from pytorch_lightning.callbacks import Callback, EarlyStopping

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.data import TEST, TRAIN, WindowDataModule
from cardioemu.evaluation import cell_title, evenly_spaced, nearest_cell_rmse_mV, plot_overlay, rmse_mV
from cardioemu.runtime.progress import progress_bar

METRICS = ("train/loss", "train/firing_loss", VALIDATION_METRIC)


def is_validation_epoch(trainer: pl.Trainer) -> bool:
    """Return whether the present epoch ends with a validation."""
    return bool((trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0)


class EpochMetrics(Callback):
    """Records the `METRICS` of every validated epoch by `record(values, epoch)`, and keeps the latest as `last`."""

    def __init__(self, record: Callable[[Mapping[str, float], int], None]) -> None:
        self.record = record
        self.last: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Record the metrics; Lightning has validated by now.

        Raises:
            UserError: a metric is NaN or infinite; no later epoch would recover.
        """
        if not is_validation_epoch(trainer):
            return
        self.last = {key: float(trainer.callback_metrics[key]) for key in METRICS if key in trainer.callback_metrics}
        if not np.isfinite([*self.last.values()]).all():
            values = ", ".join(f"{key} {value:g}" for key, value in self.last.items())
            raise UserError(f"optimizer.lr: training diverged in epoch {trainer.current_epoch} ({values}); lower it")
        self.record(self.last, trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the latest metrics for the checkpoint: a run resumed after its last epoch ends with them again."""
        return {"last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the latest metrics."""
        self.last = state_dict["last"]


class PruningCallback(Callback):
    """Reports val/rmse_mV of every validated epoch by `report(value, epoch)`, which may raise `TrialPruned`."""

    def __init__(self, report: Callable[[float, int], None]) -> None:
        self.report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Report the metric; Lightning has validated by now."""
        if is_validation_epoch(trainer):
            self.report(float(trainer.callback_metrics[VALIDATION_METRIC]), trainer.current_epoch)


class Patience(EarlyStopping):
    """Stops training after a number of validations without a better val/rmse_mV."""

    def __init__(self, validations: int) -> None:
        super().__init__(VALIDATION_METRIC, patience=validations, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a resumed run that this callback had already stopped."""
        trainer.should_stop = self.wait_count >= self.patience

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count but not the patience, which may change on resume."""
        super().load_state_dict(state_dict | {"patience": self.patience})


class Progress(Callback):
    """One progress bar over all batches of all epochs, so that the remaining time is that of the whole training."""

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Open the bar, at the present batch of a resumed run."""
        self.bar = progress_bar(int(trainer.num_training_batches) * (trainer.max_epochs or 0), "train", "batch")
        self.bar.update(trainer.global_step * trainer.accumulate_grad_batches)
        self.bar.unpause()

    def on_train_batch_end(self, *_: Any) -> None:
        """Count a batch."""
        self.bar.update()

    def on_validation_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Show the epoch and its metric."""
        value = float(trainer.callback_metrics[VALIDATION_METRIC])
        self.bar.set_postfix_str(f"epoch {trainer.current_epoch + 1}, {VALIDATION_METRIC} {value:.3f}", refresh=False)

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        """Close the bar, if it is open, so that the error message begins on its own line."""
        if hasattr(self, "bar"):
            self.bar.close()


class PredictionPlots(Callback):
    """Draws the same test cells at chosen epochs and passes the figure to `show(figure, epoch)`.

    The cells are evenly spaced from the easiest to the hardest one. The difficulty of a cell depends on the data alone
    (`evaluation.nearest_cell_rmse_mV`), so that all runs on the same data draw the same cells.

    Args:
        data: where the cells come from.
        time_ms: sample times of a window (samples,).
        show: receives the figure and the epoch.
        cells: number of cells.
        every_epochs: draws after the first epoch, then every so many epochs, and after the last.
    """

    def __init__(
        self,
        data: WindowDataModule,
        time_ms: np.ndarray,
        show: Callable[[Figure, int], None],
        cells: PositiveInt,
        every_epochs: PositiveInt,
    ) -> None:
        self.data, self.time_ms, self.show, self.every_epochs = data, time_ms, show, every_epochs
        self.cells = cells

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Draw the figure if it is due in this epoch."""
        finished = trainer.current_epoch + 1
        if finished == 1 or finished % self.every_epochs == 0 or finished == trainer.max_epochs:
            self.show(self.figure(module), trainer.current_epoch)

    @cached_property
    def cell_indices(self) -> np.ndarray:
        """Indices of the cells, easiest first."""
        windows, test_cells = self.data.windows, self.data.cell_indices[TEST]
        training_cells = self.data.cell_indices[TRAIN]
        training_cells = training_cells[windows.windowed[training_cells]]  # some have only a registered cycle
        difficulty_mV = nearest_cell_rmse_mV(windows.scales, test_cells, training_cells, windows.batches)
        return test_cells[np.argsort(difficulty_mV, kind="stable")[evenly_spaced(len(test_cells), self.cells)]]

    @torch.no_grad()
    def figure(self, module: pl.LightningModule) -> Figure:
        """Draw the predictions of the network."""
        windows = self.data.windows
        scales, simulated = windows.scales[self.cell_indices], windows.windows(self.cell_indices)
        predicted = module(torch.tensor(scales, dtype=torch.float32, device=module.device)).float().cpu().numpy()
        errors = rmse_mV(simulated, predicted)
        titles = [cell_title(s, windows.scaled, e) for s, e in zip(scales, errors, strict=True)]
        return plot_overlay(self.time_ms, simulated, predicted, titles, columns=1)  # MLflow shows it as a square


class Milestones(Callback):
    """Tests the best network so far after given numbers of epochs, as a run of that many epochs would at its end.

    Args:
        epochs: numbers of epochs after which to test.
        test: tests the best network of the run folder.
        record: receives the results, named milestone/..., and the number of epochs.
    """

    def __init__(
        self,
        epochs: Collection[int],
        test: Callable[[], Mapping[str, float]],
        record: Callable[[Mapping[str, float], int], None],
    ) -> None:
        self.epochs, self.test, self.record = epochs, test, record

    def on_train_epoch_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Test after the previous epoch, whose checkpoints are written by now."""
        self._test_reached(trainer.current_epoch, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Test for all milestones left: training that stopped early would also have stopped in a longer run."""
        self._test_reached(trainer.current_epoch, trainer.max_epochs or 0)

    def _test_reached(self, first: int, last: int) -> None:
        for epochs in sorted(self.epochs):
            if first <= epochs <= last:
                with warnings.catch_warnings(action="ignore"):  # the final test gives the same warnings
                    metrics = self.test()
                self.record({f"milestone/{name}": value for name, value in metrics.items()}, epochs)
