"""Prediction intervals of an ensemble: their width and coverage, and the emulators that have none."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from tiny_job import RULE, specification

from cardioemu import UserError
from cardioemu.emulator import Emulator
from cardioemu.models import MLP
from cardioemu.training.calibration import interval_factors

SETTINGS = {"samples": 200, "begin_ms": -50.0, "interval_ms": 2.5, "inputs": 5, "components": 6, "width": 8}


def ensemble(data, target="components", members=3, factors=None):
    torch.manual_seed(0)
    network = MLP(**SETTINGS, target=target, members=members)
    network.fit_target(data.read_training_vectors())
    facts = specification(
        network="MLP",
        network_arguments=SETTINGS | {"target": target, "members": members},
        window=asdict(RULE),
        interval_factors=factors or {},
    )
    return Emulator(network, facts)


def test_width_is_the_standard_deviation_of_the_members(data):
    emulator = ensemble(data, factors={"voltage": 2.0})
    scales = data.windows.scales[:4]
    with torch.no_grad():
        latents = emulator.network.trunk(torch.from_numpy(scales).float())
        windows = [emulator.network.target(each) for each in latents]
    expected = np.std(torch.stack(windows).numpy(), axis=0, ddof=1)
    intervals, middle = emulator.intervals(scales), emulator.voltage_mV(scales)
    np.testing.assert_allclose(intervals.voltage_high_mV - middle, 2 * expected, rtol=1e-3, atol=3e-4)
    np.testing.assert_allclose(middle - intervals.voltage_low_mV, 2 * expected, rtol=1e-3, atol=3e-4)
    np.testing.assert_array_equal(intervals.time_ms, RULE.time_ms)
    assert intervals.cycle_length_low_ms is None


def test_factor_covers_nine_samples_in_ten(data):
    emulator = ensemble(data)
    ((name, factor),) = interval_factors(emulator, data).items()
    cells = data.cell_indices["validation"]
    simulated, scales = data.windows.windows(cells), data.windows.scales[cells]
    error_mV = np.abs(simulated - emulator.voltage_mV(scales)[:, None])
    assert name == "voltage"
    assert (error_mV <= factor * emulator.ensemble_std_mV(scales)[:, None]).mean() == pytest.approx(0.9, abs=0.002)


def test_without_members(data):
    emulator = ensemble(data, members=1)
    assert interval_factors(emulator, data) == {}
    with pytest.raises(UserError, match=r"^model.members: prediction intervals need an ensemble, but this"):
        emulator.intervals(data.windows.scales[:1])


def test_before_they_are_calibrated(data):
    with pytest.raises(UserError, match=r"^checkpoint: its prediction intervals are not calibrated; give the best"):
        ensemble(data).intervals(data.windows.scales[:1])


def test_epistemic_std_is_zero_for_equal_members(data):
    emulator = ensemble(data, members=2)
    with torch.no_grad():
        for parameter in emulator.network.parameters():
            parameter[1] = parameter[0]
    assert emulator.epistemic_std(data.windows.scales) == pytest.approx(0, abs=1e-6)


def test_epistemic_std_by_hand(data):
    emulator = ensemble(data)
    scales = data.windows.scales[:3]
    with torch.no_grad():
        windows = emulator.network.member_windows(torch.from_numpy(scales).float()).double().numpy()
    # The components are orthonormal: distances between latents are distances between windows.
    expected = np.sqrt(((windows - windows.mean(axis=0)) ** 2).mean(axis=2).mean(axis=0))
    np.testing.assert_allclose(emulator.epistemic_std(scales), expected, rtol=1e-4)
