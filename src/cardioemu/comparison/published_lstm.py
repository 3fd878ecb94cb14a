"""The seed network as a baseline: trained on the windows of another emulator, for as long as the main job trains it."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from cardioemu import emulator as checkpoint
from cardioemu.data import WindowDataModule
from cardioemu.emulator import Emulator, Specification, load_emulator
from cardioemu.models import LSTMNetwork
from cardioemu.runtime.files import content_key
from cardioemu.runtime.locks import disk_errors_as_user_error, folder_lock
from cardioemu.training.checkpoints import BEST, LAST, PREVIOUS, find_resume_checkpoint
from cardioemu.training.module import EmulatorModule
from cardioemu.training.optimizers.rmsprop import KerasRMSprop
from cardioemu.training.trainer import TrainerSettings, fit

# Raise it when the same windows give another network.
VERSION = 2
HIDDEN, BATCH_SIZE, STEPS = 256, 32, 12_000  # as in the main job
FINISHED = "network.ckpt"
LAYERS = {"lstm_layers": 1, "dense_layers": 2}


def is_published_lstm(specification: Specification) -> bool:
    """Returns whether an emulator is the seed network itself, whatever its width."""
    layers = {name: specification.network_arguments.get(name, count) for name, count in LAYERS.items()}
    return specification.network == LSTMNetwork.__name__ and layers == LAYERS


def train_published_lstm(data: WindowDataModule, of: Specification, folder: Path, **trainer: Any) -> Emulator:
    """Trains the seed network on the windows of another emulator, or opens the one trained on them before.

    256 wide, Keras' RMSprop, 12 000 steps of 32 windows to the last whole epoch or one more, the best by val/rmse_mV.
    It is trained on after a kill.

    Args:
        data: the windows, as the other emulator was trained on them.
        of: that emulator's specification.
        folder: where such networks are kept, each in a folder named by its key.
        trainer: further arguments of `TrainerSettings`.
    """
    data = WindowDataModule(data.windows, replace(data.rule, batch_size=BATCH_SIZE))
    windows, split = data.windows.key, asdict(data.rule)
    version = f"seed network {VERSION}.{checkpoint.VERSION}"
    here = folder / content_key(version, windows=windows, split=split)
    settings = {"samples": of.network_arguments["samples"], "inputs": of.network_arguments["inputs"], "hidden": HIDDEN}
    said = replace(
        of,
        network=LSTMNetwork.__name__,
        network_arguments=settings,
        windows_key=windows,
        split=split,
        sigma_points=0.0,
        interval_factors={},
    )
    epochs = -(-STEPS // len(data.train_dataloader()))
    with disk_errors_as_user_error(here), folder_lock(here, "trained"):
        if not (here / FINISHED).exists():
            pl.seed_everything(0, verbose=False)
            network = LSTMNetwork(**settings)
            network.fit_target(data.read_training_vectors())
            module = EmulatorModule(network, partial(KerasRMSprop, lr=0.001), said)
            try:
                how = TrainerSettings(max_epochs=epochs, **trainer)
                fit(how.make_trainer(here), module, data, find_resume_checkpoint(here))
            except KeyboardInterrupt as error:
                raise KeyboardInterrupt("stopped; the same command goes on from the last whole epoch") from error
            (here / BEST).replace(here / FINISHED)
            for name in (LAST, PREVIOUS):
                (here / name).unlink(missing_ok=True)
    return load_emulator(here / FINISHED)
