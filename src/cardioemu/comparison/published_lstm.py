"""The published LSTM as a baseline: trained on the windows of another emulator, as long as the main job trains it."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from cardioemu.data import WindowDataModule
from cardioemu.emulator import VERSION as CHECKPOINT_VERSION
from cardioemu.emulator import Emulator, Specification, load_emulator
from cardioemu.models import LSTMNetwork
from cardioemu.runtime.files import content_key
from cardioemu.runtime.locks import disk_errors_as_user_error, folder_lock
from cardioemu.training.checkpoints import BEST, LAST, PREVIOUS, find_resume_checkpoint
from cardioemu.training.module import EmulatorModule
from cardioemu.training.optimizers.rmsprop import KerasRMSprop
from cardioemu.training.trainer import TrainerSettings, fit

# Increase it when the same windows give another network.
LSTM_VERSION = 2
# As in the main job.
HIDDEN, BATCH_SIZE, STEPS, LEARNING_RATE = 256, 32, 12_000, 0.001
FINISHED = "network.ckpt"
LAYERS = {"lstm_layers": 1, "dense_layers": 2}


def is_published_lstm(specification: Specification) -> bool:
    """Return whether an emulator is the published LSTM itself, of any width."""
    layers = {name: specification.network_arguments.get(name, count) for name, count in LAYERS.items()}
    return specification.network == LSTMNetwork.__name__ and layers == LAYERS


def train_published_lstm(
    data: WindowDataModule, specification: Specification, folder: Path, **trainer: Any
) -> Emulator:
    """Train the published LSTM on the windows of another emulator, or load it if it was trained on them earlier.

    It has 256 hidden units, and is trained with Keras' RMSprop for 12 000 steps of 32 windows, rounded up to whole
    epochs; the epoch with the lowest validation RMSE counts. An interrupted training is resumed. Each trained network
    has its own folder in `folder`, named by its key. Other keywords are settings of the trainer.
    """
    data = WindowDataModule(data.windows, replace(data.rule, batch_size=BATCH_SIZE))
    windows, split = data.windows.key, asdict(data.rule)
    # The key keeps the network's earlier name, so that stored networks are found.
    version = f"seed network {LSTM_VERSION}.{CHECKPOINT_VERSION}"
    network_folder = folder / content_key(version, windows=windows, split=split)
    sizes = {name: specification.network_arguments[name] for name in ("samples", "inputs")}
    own_specification = replace(
        specification,
        network=LSTMNetwork.__name__,
        network_arguments=sizes | {"hidden": HIDDEN},
        windows_key=windows,
        split=split,
        sigma_points=0.0,
        interval_factors={},
    )
    with disk_errors_as_user_error(network_folder), folder_lock(network_folder, "trained"):
        if not (network_folder / FINISHED).exists():
            _train(data, own_specification, network_folder, trainer)
            (network_folder / BEST).replace(network_folder / FINISHED)
            for name in (LAST, PREVIOUS):
                (network_folder / name).unlink(missing_ok=True)
    return load_emulator(network_folder / FINISHED)


def _train(data: WindowDataModule, specification: Specification, folder: Path, trainer: dict[str, Any]) -> None:
    pl.seed_everything(0, verbose=False)
    network = specification.build()
    network.fit_target(data.read_training_vectors())
    module = EmulatorModule(network, partial(KerasRMSprop, lr=LEARNING_RATE), specification)
    epochs = -(-STEPS // len(data.train_dataloader()))
    try:
        settings = TrainerSettings(max_epochs=epochs, **trainer)
        fit(settings.make_trainer(folder), module, data, find_resume_checkpoint(folder))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("stopped; the same command resumes from the last complete epoch") from error
