"""The LightningModule: loss, optimiser and validation of any network."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
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
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.common.old_names import SPECIFICATION, rename_keys
from cardioemu.common.tensors import ScaleBatch, VoltageBatch, WindowBatch
from cardioemu.data import TRAIN
from cardioemu.emulator import CHECKPOINT_KEY, Specification
from cardioemu.models import Network

CONSTANT = partial(ConstantLR, factor=1.0, total_iters=0)


def cell_rmse_mV(network: nn.Module, scales: ScaleBatch, windows: WindowBatch) -> torch.Tensor:
    """Return the RMSE of each cell (batch,) over all samples of its windows, in mV."""
    error = network(scales).unsqueeze(1) - windows
    return error.square().mean(dim=(1, 2)).sqrt()


class EmulatorModule(pl.LightningModule):
    """Training of a network by its own loss, plus the firing loss of a network that predicts which cells fire.

    Args:
        network: (batch, scaled) -> (batch, samples).
        optimizer: factory of the optimiser, for the network's parameters.
        specification: written into every checkpoint, so that `load_emulator` needs nothing else.
        schedule: factory of the learning rate scheduler, which steps once per epoch.
        seed: of the random numbers drawn during training.
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
        self.firing_labels: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the windows (batch, samples) in mV of scale vectors (batch, scaled)."""
        output: torch.Tensor = self.network(scales)
        return output

    def configure_model(self) -> None:
        """Shard the network, layer by layer, if the strategy is fsdp; Lightning calls this in every process."""
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            for layer in self.network.modules():
                if next(layer.parameters(recurse=False), None) is not None:
                    fully_shard(layer, mesh=mesh)
            fully_shard(self.network, mesh=mesh)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimiser and its learning rate scheduler."""
        optimizer = self.make_optimizer(self.network.parameters())
        scheduler = self.make_schedule(optimizer)
        schedule: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch", "monitor": VALIDATION_METRIC}
        if isinstance(scheduler, ReduceLROnPlateau):
            schedule["frequency"] = self.trainer.check_val_every_n_epoch
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[typeddict-item]

    def on_train_start(self) -> None:
        """Read the firing labels of all training cells, with and without windows, if the network predicts firing."""
        if self.network.predicts_firing:
            self.firing_labels = self.trainer.datamodule.firing_labels(TRAIN)  # type: ignore[attr-defined]

    def on_train_epoch_start(self) -> None:
        """Seed torch by seed, epoch and process, so that a resumed run draws the same random numbers."""
        sequence = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank))
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def training_step(self, batch: Sequence[Any], _: int) -> torch.Tensor:
        """Return the loss of a share of a batch: (scales, training vectors, divisor of their summed losses)."""
        scales, vectors, divisor = batch
        losses = {"train/loss": self.network.loss(scales, vectors)}
        if self.firing_labels is not None:
            losses["train/firing_loss"] = self._firing_loss(len(scales), *self.firing_labels)
        if len(scales):
            means = {name: loss / len(scales) for name, loss in losses.items()}
            self.log_dict(means, batch_size=len(scales), on_step=False, on_epoch=True, sync_dist=True)
        return torch.stack([*losses.values()]).sum() / divisor

    def _firing_loss(self, count: int, scales: torch.Tensor, fires: torch.Tensor) -> torch.Tensor:
        """Return the summed firing loss of `count` cells, drawn at random with equal probability."""
        drawn = torch.randint(len(scales), (count,))
        loss = self.network.firing_loss(*(values[drawn].to(self.device) for values in (scales, fires)))
        assert loss is not None
        return loss

    def validation_step(self, batch: Sequence[Any], _: int) -> None:
        """Add a batch of (scales, all windows of each cell) to val/rmse_mV, the mean over cells.

        Every process validates all cells, so that all processes have the same value and take the same decisions.
        """
        scales, windows = batch
        rmse_mV = cell_rmse_mV(self, scales, windows)
        self.log(VALIDATION_METRIC, rmse_mV.mean(), batch_size=len(scales))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the specification as plain containers and a tensor, which torch loads without executing code."""
        checkpoint[CHECKPOINT_KEY] = asdict(self.specification)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a resumed run has the windows of its first epochs.

        Raises:
            UserError: it has others; test cells may be among those that have trained.
        """
        if rename_keys(checkpoint[CHECKPOINT_KEY], SPECIFICATION)["windows_key"] != self.specification.windows_key:
            raise UserError(
                f"resume: {self.trainer.default_root_dir} was trained on other windows; its design, its cell model or "
                "this program has changed since; begin a new run"
            )
