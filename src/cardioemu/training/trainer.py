"""Lightning's Trainer with the choices of this program."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytorch_lightning as pl
import torch
from pydantic import AfterValidator, PositiveInt
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from cardioemu.common.errors import UserError
from cardioemu.data import WindowDataModule
from cardioemu.training.callbacks import Patience, Progress
from cardioemu.training.checkpoints import AtomicCheckpointIO, checkpoint_callbacks, refuse_fewer
from cardioemu.training.module import EmulatorModule

# What Lightning says of devices it does not find, of other products, and of the folder that holds our config is noise.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
warnings.filterwarnings("ignore", ".*does not have many workers")
warnings.filterwarnings("ignore", ".*recommended to use `self.log\\('val/rmse_mV'")  # all processes have the same
warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")


def _present(accelerator: str) -> str:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is visible; use cpu")
    return accelerator


Accelerator = Annotated[Literal["cpu", "gpu"], AfterValidator(_present)]


def make_trainer(
    folder: Path,
    callbacks: Sequence[Callback] = (),
    *,
    max_epochs: PositiveInt,
    accelerator: Accelerator = "cpu",
    devices: PositiveInt = 1,
    nodes: PositiveInt = 1,
    strategy: Literal["single", "ddp", "fsdp"] = "single",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    tf32: bool = False,
    accumulate: PositiveInt = 1,
    patience: PositiveInt | None = None,
    validate_every: PositiveInt = 1,
) -> pl.Trainer:
    """Makes the Trainer of one run.

    Args:
        folder: the run folder, where the checkpoints go.
        callbacks: beside the checkpoints and the progress bar.
        max_epochs: how often every training window is seen.
        accelerator: "cpu", or "gpu" for CUDA devices.
        devices: processes per machine, each with a CUDA device of its own.
        nodes: machines.
        strategy: "single" process; "ddp", each with the whole network; "fsdp", each with a part of it (FSDP2).
        precision: Lightning's name of the arithmetic.
        tf32: whether a CUDA device may round the factors of float32 products to 10 bits.
        accumulate: parts in which a process calculates its share of a batch, one after another.
        patience: validations without a better val/rmse_mV after which training stops; None: never.
        validate_every: epochs from one validation to the next; checkpoints are saved as often.
    """
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=_strategy(strategy, devices * nodes),
        use_distributed_sampler=False,
        precision=precision,
        accumulate_grad_batches=accumulate,
        max_epochs=max_epochs,
        check_val_every_n_epoch=validate_every,
        default_root_dir=folder,
        callbacks=[
            *checkpoint_callbacks(folder, validate_every),
            Progress(),
            *([Patience(patience)] if patience else []),
            *callbacks,
        ],
        plugins=[AtomicCheckpointIO(), *_in_slurm()],
        logger=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def _strategy(name: str, processes: int) -> Strategy | str:
    if name == "ddp":
        return DDPStrategy(gradient_as_bucket_view=True)
    if name == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return "auto"


def _in_slurm() -> list[SLURMEnvironment]:
    if not SLURMEnvironment.detect():
        return []
    try:
        # A requeued job finds its checkpoint in its run folder; Lightning would save a second one elsewhere.
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:
        raise UserError(f"trainer: SLURM's variables do not fit ({error})") from error


def fit(trainer: pl.Trainer, module: EmulatorModule, data: WindowDataModule, begun: Path | None) -> None:
    """Trains in the trainer's run folder.

    Args:
        trainer: of `make_trainer`.
        module: the network.
        data: its windows.
        begun: the checkpoint to go on from (`resumable`), if there is one.

    Raises:
        UserError: the run has more epochs behind it than it is to have.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    folder = Path(trainer.default_root_dir)
    try:
        trainer.fit(module, data, ckpt_path=begun, weights_only=True)
    except SystemExit as error:  # what Lightning makes of either signal, exit status 0 included
        raise KeyboardInterrupt(f"stopped; resume={folder} goes on from the last whole epoch") from error
    except MisconfigurationException:
        _check_epochs(trainer)
        raise
    _check_epochs(trainer)  # Lightning passes over one epoch too many


def _check_epochs(trainer: pl.Trainer) -> None:
    refuse_fewer(trainer.fit_loop.epoch_progress.current.ready, trainer.max_epochs or 0)
