"""Trainings of the tiny job's windows, in this process."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from tiny_job import SIZES, specification

from cardioemu.data import TRAIN
from cardioemu.models import LSTMNetwork
from cardioemu.training import EmulatorModule, EpochMetrics, KerasRMSprop, TrainerSettings, find_resume_checkpoint, fit
from cardioemu.training.module import CONSTANT

# As training/trainer.py has it; pytest puts its own filters over them.
EXPECTED_WARNINGS = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def make_module(data, lr=0.001, seed=0, schedule=CONSTANT, make=LSTMNetwork):
    """Builds a network from `seed`, whose random numbers in training come from another seed, always the same."""
    torch.manual_seed(seed)
    network = make(**SIZES)
    network.fit_target(data.read_training_vectors())
    scales = data.windows.scales[data.cell_indices[TRAIN]]
    facts = specification(
        lowest=scales.min(0).tolist(),
        highest=scales.max(0).tolist(),
        windows_key=data.windows.key,
        design=torch.from_numpy(data.windows.scales),
    )
    return EmulatorModule(network, partial(KerasRMSprop, lr=lr), facts, schedule, seed=1)


def training(data, folder, epochs, lr=0.001, callbacks=(), seed=0, schedule=CONSTANT, make=LSTMNetwork, **how):
    """Trains and returns the module, the trainer, and what was recorded each epoch."""
    module, recorded = make_module(data, lr, seed, schedule, make), {}
    metrics = EpochMetrics(lambda values, epoch: recorded.update({epoch: dict(values)}))
    trainer = TrainerSettings(max_epochs=epochs, **how).make_trainer(folder, [metrics, *callbacks])
    fit(trainer, module, data, find_resume_checkpoint(folder))
    return SimpleNamespace(module=module, trainer=trainer, recorded=recorded, metrics=metrics, folder=folder)


def weights(module_or_checkpoint):
    state = module_or_checkpoint
    if not isinstance(state, dict):
        state = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    return {name: value.detach().clone() for name, value in state.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
