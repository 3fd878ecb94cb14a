"""An MLflow database with a registered model, for the tests of the registry."""

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import torch
from mlflow import MlflowClient
from tiny_job import specification

from cardioemu import load_emulator
from cardioemu.emulator import CHECKPOINT_KEY
from cardioemu.tracking.registry.log_model import log_emulator

SCALES = np.random.default_rng(0).uniform(0, 2, (3, 5)).astype(np.float32)


def save_checkpoint(path, seed):
    """Save an untrained network."""
    torch.manual_seed(seed)
    spec = specification()
    weights = {f"network.{key}": value for key, value in spec.build().state_dict().items()}
    torch.save({CHECKPOINT_KEY: asdict(spec), "state_dict": weights}, path)
    return path


def trace(path):
    return load_emulator(path).predict(SCALES).voltage_mV


def new_run(book):
    return book.client.create_run(book.experiment).info.run_id


def make_book(folder):
    """A database whose folder has a space in its name, with one registered model."""
    uri = f"sqlite:///{folder}/runs.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("emulators", (folder / "artifacts").as_uri())
    book = SimpleNamespace(folder=folder, uri=uri, client=client, experiment=experiment)
    book.checkpoint = save_checkpoint(folder / "best.ckpt", seed=0)
    book.run = new_run(book)
    book.model = log_emulator(client, book.run, book.checkpoint, "tiny")
    return book
