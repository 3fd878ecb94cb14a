"""What is recorded while a network trains."""

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
from cardioemu.data import TEST, TRAIN, WindowDataModule
from cardioemu.evaluation import cell_title, evenly_spaced, nearest_cell_rmse_mV, plot_overlay, rmse_mV
from cardioemu.runtime.progress import progress_bar

METRICS = ("train/loss", "train/firing_loss", "val/rmse_mV")


def is_validation_epoch(trainer: pl.Trainer) -> bool:
    """Returns whether the present epoch ends with a validation."""
    return bool((trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0)


class EpochMetrics(Callback):
    """Hands the `METRICS` of every validated epoch to `record(values, epoch)`, and keeps the `last` ones."""

    def __init__(self, record: Callable[[Mapping[str, float], int], None]) -> None:
        self.record = record
        self.last: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Lightning has both by now: it validates inside the training epoch.

        Raises:
            UserError: one of them is no finite number any more, and no later epoch would mend that.
        """
        if not is_validation_epoch(trainer):
            return
        self.last = {key: float(trainer.callback_metrics[key]) for key in METRICS if key in trainer.callback_metrics}
        if not np.isfinite([*self.last.values()]).all():
            said = ", ".join(f"{key} {value:g}" for key, value in self.last.items())
            raise UserError(f"optimizer.lr: training diverged in epoch {trainer.current_epoch} ({said}); lower it")
        self.record(self.last, trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Keeps the last values in the checkpoint: a run resumed after its last epoch still ends with them."""
        return {"last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the last values up again."""
        self.last = state_dict["last"]


class PruningCallback(Callback):
    """Hands val/rmse_mV of every epoch to `report(value, epoch)`, which may raise `Stopped`."""

    def __init__(self, report: Callable[[float, int], None]) -> None:
        self.report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Lightning has validated by now."""
        if is_validation_epoch(trainer):
            self.report(float(trainer.callback_metrics["val/rmse_mV"]), trainer.current_epoch)


class Patience(EarlyStopping):
    """Stops training when val/rmse_mV has not improved for some epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__("val/rmse_mV", patience=epochs, check_on_train_epoch_end=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts validations."""
        if is_validation_epoch(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that had stopped for this is done when it is resumed."""
        trainer.should_stop = self.wait_count >= self.patience

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the count, not the patience: that may be changed on the way."""
        super().load_state_dict(state_dict | {"patience": self.patience})


class Progress(Callback):
    """One bar over all batches of all epochs, so that the time left is that of the whole training."""

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Begins where a resumed run stands."""
        self.bar = progress_bar(int(trainer.num_training_batches) * (trainer.max_epochs or 0), "train", "batch")
        self.bar.update(trainer.global_step * trainer.accumulate_grad_batches)
        self.bar.unpause()

    def on_train_batch_end(self, *_: Any) -> None:
        """Counts a batch."""
        self.bar.update()

    def on_validation_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Tells how far the network is."""
        rmse_mV = float(trainer.callback_metrics["val/rmse_mV"])
        self.bar.set_postfix_str(f"epoch {trainer.current_epoch + 1}, val/rmse_mV {rmse_mV:.3f}", refresh=False)

    def on_train_end(self, *_: Any) -> None:
        """Leaves the bar as it ended."""
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        """Leaves the bar, if training came that far, so that the message begins on its own line."""
        if hasattr(self, "bar"):
            self.bar.close()


class PredictionPlots(Callback):
    """Draws the same test cells at chosen epochs and hands the figure to `show(figure, epoch)`.

    The cells lie evenly between the easiest and the hardest one, the median among them if their number is odd. How hard
    a cell is hangs on the data alone (`evaluation.neighbour_rmse_mV`), so that all runs on the same data show the same.

    Args:
        data: where the cells come from.
        time_ms: (samples,) of a window.
        show: takes the figure and the epoch.
        cells: how many cells.
        every_epochs: the first epoch, then each such number of epochs, and the last.
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
        """Draws where the epoch is due."""
        done = trainer.current_epoch + 1
        if done == 1 or done % self.every_epochs == 0 or done == trainer.max_epochs:
            self.show(self.figure(module), trainer.current_epoch)

    @cached_property
    def rows(self) -> np.ndarray:
        """The cells, easiest first."""
        windows, rows, training = self.data.windows, self.data.cell_indices[TEST], self.data.cell_indices[TRAIN]
        training = training[windows.windowed[training]]  # others may have a cycle to train on
        error_mV = nearest_cell_rmse_mV(windows.scales, rows, training, windows.batches)
        return rows[np.argsort(error_mV, kind="stable")[evenly_spaced(len(rows), self.cells)]]

    @torch.no_grad()
    def figure(self, module: pl.LightningModule) -> Figure:
        """Draws the network as it is."""
        scales, windows = self.data.windows.scales[self.rows], self.data.windows.windows(self.rows)
        predicted = module(torch.tensor(scales, dtype=torch.float32, device=module.device)).float().cpu().numpy()
        errors = rmse_mV(windows, predicted)
        titles = [cell_title(s, self.data.windows.scaled, e) for s, e in zip(scales, errors, strict=True)]
        return plot_overlay(self.time_ms, windows, predicted, titles)


class Milestones(Callback):
    """Tests the best network so far after some numbers of epochs, as a run of so many epochs would at its end.

    Args:
        epochs: after which to test.
        test: the run folder's best network.
        record: takes the results, named milestone/..., and the number of epochs.
    """

    def __init__(
        self,
        epochs: Collection[int],
        test: Callable[[], Mapping[str, float]],
        record: Callable[[Mapping[str, float], int], None],
    ) -> None:
        self.epochs, self.test, self.record = epochs, test, record

    def on_train_epoch_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """By now the checkpoints of the epoch before are written."""
        self._reached(trainer.current_epoch, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Where training stopped early, longer runs would have stopped there, too."""
        self._reached(trainer.current_epoch, trainer.max_epochs or 0)

    def _reached(self, first: int, last: int) -> None:
        for epochs in sorted(self.epochs):
            if first <= epochs <= last:
                with warnings.catch_warnings(action="ignore"):  # of the final test they are said
                    found = self.test()
                self.record({f"milestone/{name}": value for name, value in found.items()}, epochs)
