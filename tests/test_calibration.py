"""How sure an emulator is of which cells fire: against labels drawn by a known temperature, and a fine grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit
from sklearn.metrics import log_loss
from tiny_job import SIZES, SPLIT, specification

from cardioemu import load_emulator
from cardioemu.data import TRAIN, VALIDATION, WindowDataModule
from cardioemu.models import MLP, LSTMNetwork
from cardioemu.training import calibrate

MLP_SIZES = {"samples": 200, "inputs": 5, "width": 8, "blocks": 1}
CELLS = 3000


class LabelledData(WindowDataModule):
    """Windows, and beside them cells whose labels are given; those of any other part are asked for in vain."""

    def give(self, scales, fires):
        self.given = torch.from_numpy(scales).float(), torch.from_numpy(fires).float()
        return self

    def firing_labels(self, split):
        assert split == VALIDATION
        return self.given


@pytest.fixture
def labelled(windows):
    return LabelledData(windows, SPLIT)


def saved(folder, weights, **said):
    """A checkpoint, as training leaves it behind."""
    path = folder / "best.ckpt"
    state = {f"network.{name}": value for name, value in weights.state_dict().items()}
    content = {"epoch": 7, "state_dict": state, "emulator": specification(**said).to_dict()}
    torch.save(content, path)
    return path


def sure(folder, largest=8.0):
    """An emulator whose logits come up to some number, and the logits of some cells."""
    torch.manual_seed(0)
    network = MLP(**MLP_SIZES)
    scales = np.random.default_rng(1).uniform(0, 2, (CELLS, 5))
    with torch.no_grad():
        logit = network.firing_logit(torch.from_numpy(scales).float())
        last = network.firing.trunk.last
        last.bias -= logit.median()
        factor = largest / (logit - logit.median()).abs().max()
        last.weight *= factor
        last.bias *= factor
        logit = network.firing_logit(torch.from_numpy(scales).float()).numpy().astype(float)
    return saved(folder, network, network="MLP", network_arguments=MLP_SIZES), scales, logit


def drawn(logit, temperature):
    """Which cells fire, if such logits are so many times too large."""
    return (np.random.default_rng(2).random(len(logit)) < expit(logit / temperature)).astype(float)


def cross_entropy(logit, fires, temperature):
    return -log_expit(np.where(fires == 1, logit, -logit) / temperature).mean()


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_of_the_labels_is_found(labelled, tmp_path, true):
    path, scales, logit = sure(tmp_path)
    fires = drawn(logit, true)
    found = calibrate(path, labelled.give(scales, fires))
    chance = expit(logit / true)
    deviation = true**2 / np.sqrt((logit**2 * chance * (1 - chance)).sum())  # by the Fisher information of 1 / T
    assert deviation < 0.1 * true
    assert found["calibration/temperature"] == pytest.approx(true, abs=3 * deviation)
    grid = np.geomspace(0.02, 50, 8001)
    best = min(grid, key=lambda temperature: cross_entropy(logit, fires, temperature))
    assert found["calibration/temperature"] == pytest.approx(best, rel=2e-3)
    assert found["calibration/val_cross_entropy"] == pytest.approx(cross_entropy(logit, fires, best), abs=1e-6)


def test_the_checkpoint_says_it_and_nothing_else_is_changed(labelled, tmp_path):
    path, scales, logit = sure(tmp_path)
    before = torch.load(path, weights_only=True)
    temperature = calibrate(path, labelled.give(scales, drawn(logit, 3.0)))["calibration/temperature"]
    np.testing.assert_allclose(load_emulator(path).fires_probability(scales), expit(logit / temperature), atol=1e-5)
    after = torch.load(path, weights_only=True)
    assert after["epoch"] == before["epoch"]
    assert after["state_dict"].keys() == before["state_dict"].keys()
    changed = [n for n, value in after["state_dict"].items() if not torch.equal(value, before["state_dict"][n])]
    assert changed == ["network.firing.temperature"]
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


def test_what_was_said_before_does_not_count(labelled, tmp_path):
    path, scales, logit = sure(tmp_path)
    first = calibrate(path, labelled.give(scales, drawn(logit, 3.0)))
    again = calibrate(path, labelled)
    assert again == pytest.approx(first, rel=1e-3)


def test_too_sure_is_made_less_sure(labelled, tmp_path):
    path, scales, _ = sure(tmp_path, largest=50.0)
    fires = np.arange(CELLS) % 2.0  # nothing that the network could know: as unsure as is allowed is best
    found = calibrate(path, labelled.give(scales, fires))
    assert found["calibration/temperature"] == pytest.approx(100, rel=1e-3)
    assert found["calibration/val_cross_entropy"] == pytest.approx(np.log(2), rel=0.02)


def test_of_simulated_cells(windows, tmp_path):
    data = WindowDataModule(windows, replace(SPLIT, validation=0.5))
    path, _, _ = sure(tmp_path)
    found = calibrate(path, data)
    scales, fires = (values.double().numpy() for values in data.firing_labels(VALIDATION))
    assert len(scales) == 12
    assert 0 < fires.mean() < 1
    probability = load_emulator(path).fires_probability(scales)
    assert found["calibration/val_cross_entropy"] == pytest.approx(log_loss(fires, probability), rel=1e-4)


@pytest.mark.parametrize("fires", [0.0, 1.0])
def test_cells_that_all_do_the_same_say_nothing(labelled, tmp_path, fires):
    path, scales, _ = sure(tmp_path)
    before = path.read_bytes()
    assert calibrate(path, labelled.give(scales, np.full(CELLS, fires))) == {}
    assert path.read_bytes() == before


def test_a_network_that_does_not_tell_which_cells_fire(data, tmp_path):
    path = saved(tmp_path, LSTMNetwork(**SIZES))
    before = path.read_bytes()
    assert calibrate(path, data) == {}
    assert path.read_bytes() == before


def test_cells_without_windows_count_too(windows):
    data = WindowDataModule(windows, SPLIT)
    cells = windows.cells
    for part in (TRAIN, VALIDATION):
        scales, fires = data.firing_labels(part)
        of_part = cells[(data.split == part) & (cells["status"] == "ok")]
        np.testing.assert_allclose(scales, of_part[list(windows.scaled)], rtol=1e-6)
        assert fires.tolist() == [float(label == "fires") for label in of_part["label"]]
