"""Lightning's Trainer with the choices of this program."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytorch_lightning as pl
import torch
from pydantic import AfterValidator, PositiveInt
from pydantic.dataclasses import dataclass
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from cardioemu.common.errors import UserError
from cardioemu.data import WindowDataModule
from cardioemu.training.callbacks import Patience, Progress
from cardioemu.training.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from cardioemu.training.module import EmulatorModule

# Lightning's remarks on unused devices, its other products and the run folder, which always holds a config, are noise.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
warnings.filterwarnings("ignore", ".*does not have many workers")
warnings.filterwarnings("ignore", ".*recommended to use `self.log\\('val/rmse_mV'")  # equal in all processes
warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")


def _check_available(accelerator: str) -> str:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is visible; use cpu")
    return accelerator


Accelerator = Annotated[Literal["cpu", "gpu"], AfterValidator(_check_available)]


@dataclass(frozen=True)
class TrainerSettings:
    """Where, how accurately and for how long a network is trained.

    Attributes:
        max_epochs: passes over the training windows.
        accelerator: "cpu", or "gpu" for CUDA devices.
        devices: processes per machine, each with its own CUDA device.
        nodes: machines.
        strategy: "single" process; "ddp", each process holds the whole network; "fsdp", each holds a shard of it
            (FSDP2).
        precision: Lightning's name of the arithmetic.
        tf32: whether a CUDA device may round the factors of float32 products to 10 bits.
        accumulate: number of consecutive passes in which a process computes its share of a batch.
        patience: number of validations without a better val/rmse_mV after which training stops; None: never.
        validate_every: number of epochs from one validation, and one checkpoint, to the next.
    """

    max_epochs: PositiveInt
    accelerator: Accelerator = "cpu"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    strategy: Literal["single", "ddp", "fsdp"] = "single"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    tf32: bool = False
    accumulate: PositiveInt = 1
    patience: PositiveInt | None = None
    validate_every: PositiveInt = 1

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return self.devices * self.nodes

    def make_trainer(self, folder: Path, callbacks: Sequence[Callback] = ()) -> pl.Trainer:
        """Make the Trainer of one run.

        Args:
            folder: the run folder, where the checkpoints go.
            callbacks: in addition to those of the checkpoints and the progress bar.
        """
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        return pl.Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=self._make_strategy(),
            use_distributed_sampler=False,
            precision=self.precision,
            accumulate_grad_batches=self.accumulate,
            max_epochs=self.max_epochs,
            check_val_every_n_epoch=self.validate_every,
            default_root_dir=folder,
            callbacks=[
                *checkpoint_callbacks(folder, self.validate_every),
                Progress(),
                *([Patience(self.patience)] if self.patience else []),
                *callbacks,
            ],
            plugins=[AtomicCheckpointIO(), *_slurm_environment()],
            logger=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
        )

    def _make_strategy(self) -> Strategy | str:
        if self.strategy == "ddp":
            return DDPStrategy(gradient_as_bucket_view=True)
        if self.strategy == "fsdp":
            return ModelParallelStrategy(
                data_parallel_size=self.processes, tensor_parallel_size=1, save_distributed_checkpoint=False
            )
        return "auto"


def _slurm_environment() -> list[SLURMEnvironment]:
    if not SLURMEnvironment.detect():
        return []
    try:
        # A requeued job finds its checkpoint in its run folder; Lightning would save a second one elsewhere.
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:
        raise UserError(f"trainer: the variables of SLURM cannot be used ({error}); correct the job script") from error


def fit(trainer: pl.Trainer, module: EmulatorModule, data: WindowDataModule, checkpoint: Path | None) -> None:
    """Train in the trainer's run folder.

    Args:
        trainer: made by `TrainerSettings.make_trainer`.
        module: the network.
        data: its windows.
        checkpoint: to resume from (`find_resume_checkpoint`, after `check_epochs_left`); None begins a new training.

    Raises:
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # Lightning raises it for either signal, with exit status 0 too
        folder = trainer.default_root_dir
        raise KeyboardInterrupt(f"stopped; resume={folder} resumes from the last whole epoch") from error
