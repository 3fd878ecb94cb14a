"""The published LSTM as a baseline of other emulators."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from small_training import assert_same
from tiny_job import SPLIT, specification

from cardioemu import Emulator
from cardioemu.comparison.measure import PUBLISHED_LSTM, add_published_lstm
from cardioemu.comparison.published_lstm import is_published_lstm, train_published_lstm
from cardioemu.data import WindowDataModule
from cardioemu.models import LSTMNetwork

module = import_module("cardioemu.comparison.published_lstm")
STEPS = 9


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(module, "STEPS", STEPS)


@pytest.fixture(scope="module")
def lstm2(data):
    """The specification of a network with two LSTM layers, trained on the tiny job's windows."""
    settings = {"samples": 200, "inputs": 5, "hidden": 8, "lstm_layers": 2, "dense_layers": 3}
    return specification(
        network_arguments=settings, windows_key=data.windows.key, sigma_points=2.0, interval_factors={"voltage": 2.0}
    )


def test_which_network_is_the_published_lstm():
    sizes = {"samples": 200, "inputs": 5, "hidden": 12000}
    assert is_published_lstm(specification(network_arguments=sizes))
    assert is_published_lstm(specification(network_arguments=sizes | {"lstm_layers": 1, "dead_weights": "drop"}))
    assert not is_published_lstm(specification(network_arguments=sizes | {"lstm_layers": 2}))
    assert not is_published_lstm(specification(network_arguments=sizes | {"dense_layers": 3}))


def test_it_is_trained_once(data, lstm2, tmp_path, monkeypatch):
    emulator = train_published_lstm(data, lstm2, tmp_path)
    assert is_published_lstm(emulator.specification)
    assert emulator.specification.network_arguments == {"samples": 200, "inputs": 5, "hidden": 256}
    assert emulator.specification.sigma_points == 0
    assert emulator.specification.interval_factors == {}
    assert emulator.specification.windows_key == data.windows.key
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [".holder", ".lock", "network.ckpt"]
    monkeypatch.setattr(module, "fit", None)
    assert_same(train_published_lstm(data, lstm2, tmp_path).state_dict(), emulator.state_dict())


def test_another_split_is_another_network(data, lstm2, tmp_path):
    other = WindowDataModule(data.windows, replace(data.rule, seed=SPLIT.seed + 1))
    trained = [train_published_lstm(each, lstm2, tmp_path) for each in (data, other)]
    assert len([*tmp_path.iterdir()]) == 2
    assert [each.specification.split["seed"] for each in trained] == [SPLIT.seed, SPLIT.seed + 1]


def test_its_batches_are_its_own(data, lstm2, tmp_path):
    emulator = train_published_lstm(WindowDataModule(data.windows, replace(data.rule, batch_size=500)), lstm2, tmp_path)
    assert emulator.specification.split["batch_size"] == 32
    assert_same(emulator.state_dict(), train_published_lstm(data, lstm2, tmp_path).state_dict())
    assert len([*tmp_path.iterdir()]) == 1


def test_after_a_kill_it_resumes_to_the_same_network(data, lstm2, tmp_path, monkeypatch):
    whole = train_published_lstm(data, lstm2, tmp_path / "whole")
    fit, settings = module.fit, module.TrainerSettings

    def killed(*arguments):
        fit(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "TrainerSettings", lambda max_epochs: settings(max_epochs=1))
        patch.setattr(module, "fit", killed)
        with pytest.raises(KeyboardInterrupt, match=r"^stopped; the same command resumes from the last complete"):
            train_published_lstm(data, lstm2, tmp_path / "killed")
    assert not [*tmp_path.glob("killed/*/network.ckpt")]
    begun = []
    monkeypatch.setattr(module, "fit", lambda *arguments: (begun.append(arguments[-1]), fit(*arguments)))
    assert_same(train_published_lstm(data, lstm2, tmp_path / "killed").state_dict(), whole.state_dict())
    assert [path.name for path in begun] == ["last.ckpt"]


def test_it_is_added_to_other_emulators_only(data, lstm2, tmp_path):
    torch.manual_seed(0)
    other = Emulator(LSTMNetwork(**lstm2.network_arguments), lstm2)
    emulators = add_published_lstm({"emulator": other}, data, tmp_path, "cpu")
    assert list(emulators) == ["emulator", PUBLISHED_LSTM]
    assert add_published_lstm(emulators, data, tmp_path, "cpu") == emulators
