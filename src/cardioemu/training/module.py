"""The LightningModule: loss, optimiser and validation of any network."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, ReduceLROnPlateau

from cardioemu.common.errors import UserError
from cardioemu.common.tensors import ScaleBatch, VoltageBatch, WindowBatch
from cardioemu.data import TRAIN
from cardioemu.emulator import CHECKPOINT_KEY, Specification
from cardioemu.models import Network

CONSTANT = partial(ConstantLR, factor=1.0, total_iters=0)


def cell_rmse_mV(network: nn.Module, scales: ScaleBatch, windows: WindowBatch) -> torch.Tensor:
    """Returns the RMSE of each cell (batch,) over all its windows and points, in mV."""
    error = network(scales).unsqueeze(1) - windows
    return error.square().mean(dim=(1, 2)).sqrt()


class EmulatorModule(pl.LightningModule):
    """Trains a network by its squared error, and by the cross entropy of the firing of cells where it tells.

    Args:
        network: (batch, scaled) -> (batch, samples).
        optimizer: makes the optimiser of the network's parameters.
        specification: written into every checkpoint, so that `load_emulator` needs nothing else.
        schedule: makes the course of the learning rate over the epochs.
        seed: of what a network draws while it trains.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        specification: Specification,
        schedule: Callable[[torch.optim.Optimizer], LRScheduler] = CONSTANT,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.make_optimizer, self.make_schedule = network, optimizer, schedule
        self.specification, self.seed = specification, seed
        self.firing: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Returns the windows (batch, samples) in mV of scale vectors (batch, scaled)."""
        output: torch.Tensor = self.network(scales)
        return output

    def configure_model(self) -> None:
        """Shards the network, layer by layer, where the strategy shards; Lightning calls this in every process."""
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            for layer in self.network.modules():
                if next(layer.parameters(recurse=False), None) is not None:
                    fully_shard(layer, mesh=mesh)
            fully_shard(self.network, mesh=mesh)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Makes the optimiser and the course of its learning rate."""
        optimizer = self.make_optimizer(self.network.parameters())
        course = self.make_schedule(optimizer)
        schedule: dict[str, Any] = {"scheduler": course, "interval": "epoch", "monitor": "val/rmse_mV"}
        if isinstance(course, ReduceLROnPlateau):
            schedule["frequency"] = self.trainer.check_val_every_n_epoch
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[typeddict-item]

    def on_train_start(self) -> None:
        """Takes the cells of the training part, those without windows included, if the network tells which fire."""
        if self.network.predicts_firing:
            self.firing = self.trainer.datamodule.firing_labels(TRAIN)  # type: ignore[attr-defined]

    def on_train_epoch_start(self) -> None:
        """Lets random numbers depend on seed, epoch and process only, so that a resumed run draws the same."""
        numbers = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank))
        torch.manual_seed(int(numbers.generate_state(1)[0]))

    def training_step(self, batch: Sequence[Any], _: int) -> torch.Tensor:
        """Returns the loss of a share of a batch: (scales, rows of the target, rows to divide by)."""
        scales, rows, share = batch
        losses = {"train/loss": self.network.loss(scales, rows)}
        if self.firing is not None:
            losses["train/firing_loss"] = self._firing_error(len(scales), *self.firing)
        if len(scales):
            how: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True}
            self.log_dict({name: loss / len(scales) for name, loss in losses.items()}, batch_size=len(scales), **how)
        return torch.stack([*losses.values()]).sum() / share

    def _firing_error(self, count: int, scales: torch.Tensor, fires: torch.Tensor) -> torch.Tensor:
        """Returns the summed cross entropy of so many of the cells, drawn anew; they all count alike."""
        drawn = torch.randint(len(scales), (count,))
        error = self.network.firing_loss(*(values[drawn].to(self.device) for values in (scales, fires)))
        assert error is not None
        return error

    def validation_step(self, batch: Sequence[Any], _: int) -> None:
        """Adds the cells of a batch of (scales, all windows of the cell) to val/rmse_mV, the mean over cells.

        Every process validates all cells: so all come to the same number, and decide alike.
        """
        scales, windows = batch
        rmse_mV = cell_rmse_mV(self, scales, windows)
        self.log("val/rmse_mV", rmse_mV.mean(), batch_size=len(scales))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the specification, as plain values."""
        checkpoint[CHECKPOINT_KEY] = self.specification.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Sees to it that training goes on with the windows that it began with.

        Raises:
            UserError: they are others: test cells of these may have trained.
        """
        if checkpoint[CHECKPOINT_KEY]["windows"] != self.specification.windows_key:
            raise UserError(
                f"resume: {self.trainer.default_root_dir} was trained on other windows: a file of its design or cell "
                "model, or this program, has changed since; begin a new run"
            )
