"""The LightningModule: loss, optimiser and validation of any network."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from cardioemu.emulator import CHECKPOINT_KEY, Specification
from cardioemu.tensors import ScaleBatch, VoltageBatch, WindowBatch

Batch = Sequence[torch.Tensor]


def loss_mV2(network: nn.Module, scales: ScaleBatch, windows: VoltageBatch) -> torch.Tensor:
    """Returns the mean squared error of a batch of one window per scale vector, in mV^2."""
    return nn.functional.mse_loss(network(scales), windows)


def cell_rmse_mV(network: nn.Module, scales: ScaleBatch, windows: WindowBatch) -> torch.Tensor:
    """Returns the RMSE of each cell (batch,) over all its windows and points, in mV."""
    error = network(scales).unsqueeze(1) - windows
    return error.square().mean(dim=(1, 2)).sqrt()


class EmulatorModule(pl.LightningModule):
    """Trains a network on windows by the mean squared error in mV^2.

    Args:
        network: (batch, scaled) -> (batch, samples).
        optimizer: makes the optimiser of the network's parameters.
        specification: written into every checkpoint, so that `load_emulator` needs nothing else.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        specification: Specification,
    ) -> None:
        super().__init__()
        self.network, self.make_optimizer, self.specification = network, optimizer, specification

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Returns the windows (batch, samples) in mV of scale vectors (batch, scaled)."""
        output: torch.Tensor = self.network(scales)
        return output

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Makes the optimiser."""
        return self.make_optimizer(self.network.parameters())

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Returns the loss of a batch of (scales, window)."""
        scales, windows = batch
        loss = loss_mV2(self, scales, windows)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(scales))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Adds the cells of a batch of (scales, all windows of the cell) to val/rmse_mV, the mean over cells."""
        scales, windows = batch
        rmse_mV = cell_rmse_mV(self, scales, windows)
        self.log("val/rmse_mV", rmse_mV.mean(), prog_bar=True, batch_size=len(scales))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the specification, as plain values."""
        checkpoint[CHECKPOINT_KEY] = self.specification.as_plain()
