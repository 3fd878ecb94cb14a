"""A database of MLflow with a model in it, for the tests of models."""

from types import SimpleNamespace

import numpy as np
import torch
from mlflow import MlflowClient
from tiny_job import RULE

from cardioemu import load_emulator
from cardioemu.emulator import CHECKPOINT_KEY, Specification
from cardioemu.tracking.models import log_emulator

SCALED = ["ICaL", "IK1", "IKr", "IKur", "INa"]
SCALES = np.random.default_rng(0).uniform(0, 2, (3, 5)).astype(np.float32)


def save_checkpoint(path, seed):
    """Saves a network as it is before its training."""
    torch.manual_seed(seed)
    specification = Specification(
        network="LSTMNetwork",
        settings={"samples": 200, "inputs": 5, "hidden": 8},
        scaled=SCALED,
        lowest=[0.0] * 5,
        highest=[2.0] * 5,
        window={name: getattr(RULE, name) for name in RULE.__dataclass_fields__},
        cell={"model": "akwaboah2021", "variant": "program", "scaled": None},
        windows="0" * 16,
    )
    weights = {f"network.{key}": value for key, value in specification.build().state_dict().items()}
    torch.save({CHECKPOINT_KEY: specification.as_plain(), "state_dict": weights}, path)
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
