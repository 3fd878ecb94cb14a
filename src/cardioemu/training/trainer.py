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
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from cardioemu.data import WindowData
from cardioemu.errors import UserError
from cardioemu.training.callbacks import Progress
from cardioemu.training.checkpoints import LAST, AtomicCheckpointIO, checkpoint_callbacks
from cardioemu.training.module import EmulatorModule

# What Lightning says of devices it does not find, of other products, and of the folder that holds our config is noise.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
warnings.filterwarnings("ignore", ".*does not have many workers")
warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")


def _present(accelerator: str) -> str:
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is visible; use trainer=cpu")
    return accelerator


Accelerator = Annotated[Literal["cpu", "gpu"], AfterValidator(_present)]


def make_trainer(
    folder: Path,
    callbacks: Sequence[Callback] = (),
    *,
    max_epochs: PositiveInt,
    accelerator: Accelerator,
    precision: Literal["32-true", "bf16-mixed"],
) -> pl.Trainer:
    """Makes the Trainer of one run on one device.

    Args:
        folder: the run folder, where the checkpoints go.
        callbacks: beside the checkpoints and the progress bar.
        max_epochs: how often every training window is seen.
        accelerator: "cpu", or "gpu" for one CUDA device.
        precision: Lightning's name of the arithmetic.
    """
    return pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,
        max_epochs=max_epochs,
        default_root_dir=folder,
        callbacks=[*checkpoint_callbacks(folder), Progress(), *callbacks],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def fit(trainer: pl.Trainer, module: EmulatorModule, data: WindowData) -> None:
    """Trains in the trainer's run folder, from its last.ckpt on where there is one.

    Raises:
        UserError: the run has more epochs behind it than it is to have, or its last.ckpt is damaged.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    folder = Path(trainer.default_root_dir)
    last = folder / LAST
    try:
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as error:  # what Lightning makes of either signal, exit status 0 included
        raise KeyboardInterrupt(f"stopped; resume={folder} goes on from the last whole epoch") from error
    except MisconfigurationException as error:
        _check_epochs(trainer, error)
        raise
    _check_epochs(trainer)  # Lightning passes over one epoch too many


def _check_epochs(trainer: pl.Trainer, cause: Exception | None = None) -> None:
    done, wanted = trainer.fit_loop.epoch_progress.current.ready, trainer.max_epochs or 0
    if done > wanted:
        raise UserError(f"trainer.max_epochs: got {wanted}, but the run has {done} epochs behind it") from cause
