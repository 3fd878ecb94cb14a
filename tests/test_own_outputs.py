"""Outputs of an emulator other than its windows: firing, cycle length, intervals; and how they are measured."""

from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import RULE, specification

from cardioemu.comparison.measure import Candidate, add_emulator_outputs, exclude_training_cells, measure
from cardioemu.data import TEST, TRAIN
from cardioemu.emulator import Emulator
from cardioemu.evaluation import cell_errors, summarise_errors
from cardioemu.models import MLP, Network
from cardioemu.windowing import WindowRule
from cardioemu.windowing.positions import aligned_positions

SETTINGS = {"samples": 200, "begin_ms": -50.0, "interval_ms": 2.5, "inputs": 5, "components": 6, "width": 8}


@pytest.fixture
def emulator(data):
    """An ensemble of principal components that predicts firing for every cell whose last scale is above 1."""
    torch.manual_seed(0)
    network = MLP(**SETTINGS, target="components", members=3)
    network.fit_target(data.read_training_vectors())
    network.firing_logit = lambda scales: 40 * (scales[:, -1] - 1)
    network.cycle_length_ms = lambda scales: 400 + scales[:, 0]
    network.outputs = partial(Network.outputs, network)  # which calls one after the other
    network.member_cycle_lengths_ms = lambda scales: torch.stack([400 + scales[:, 0] + i for i in (-1, 0, 1)])
    facts = specification(
        network="MLP",
        network_arguments=SETTINGS | {"target": "components", "members": 3},
        window=asdict(RULE),
        design=torch.from_numpy(data.windows.scales),
        interval_factors={"voltage": 1.5, "cycle_length": 2.0},
    )
    return Emulator(network, facts)


def test_cells_that_do_not_fire_have_no_window(emulator):
    scales = np.ones((3, 5)) * [[0.5], [1.0], [1.5]]
    p = emulator.predict(scales)
    assert p.fires.tolist() == [False, True, True]
    assert p.fires_probability == pytest.approx([1 / (1 + np.exp(20)), 0.5, 1 / (1 + np.exp(-20))])
    assert np.isnan(p.voltage_mV).all(axis=1).tolist() == [True, False, False]
    np.testing.assert_array_equal(p.voltage_mV[1:], emulator.voltage_mV(scales[1:]))
    assert p.cycle_length_ms[1:].tolist() == [401, 401.5]
    assert np.isnan(p.cycle_length_ms[0])


def test_intervals_of_the_cycle_length(emulator):
    intervals = emulator.intervals([[1.0] * 5])  # the members' standard deviation is 1 ms
    assert (intervals.cycle_length_low_ms.tolist(), intervals.cycle_length_high_ms.tolist()) == ([399], [403])


def test_no_cells(emulator):
    p = emulator.predict(np.empty((0, 5)))
    assert p.voltage_mV.shape == (0, 200)
    assert len(p.fires) == len(p.cycle_length_ms) == 0


def test_cycle_lengths_of_windows():
    rule = WindowRule(length_ms=300.0, samples=301, count=1, settle_ms=500.0)
    positions = aligned_positions(np.array([100.0, 600, 1150, 1600]), 2500.0, rule)
    assert positions.begin_ms.tolist() == [550, 1100, 1550]
    np.testing.assert_array_equal(positions.cycle_length_ms, [550, 450, np.nan])


def test_cycle_lengths_of_cells(traces, windows):
    cells = np.flatnonzero(windows.windowed)
    for cell, length_ms in zip(cells, windows.cycle_lengths_ms(cells), strict=True):
        starts_ms = traces.trace(int(windows.cells["cell"][cell])).starts_ms
        zeros = [starts_ms[np.isclose(starts_ms, begin + 50)][0] for begin in windows.cells["begin_ms"][cell]]
        following = [starts_ms[starts_ms > zero][:1] for zero in zeros]
        each = [float(later[0] - zero) for later, zero in zip(following, zeros, strict=True) if len(later)]
        assert length_ms == pytest.approx(np.mean(each))


def test_coverage_and_cycle_length_by_hand(data, emulator):
    cells, windows = data.cell_indices[TEST], data.windows
    errors = add_emulator_outputs(pd.DataFrame({"cell": cells}), Candidate(emulator, windows, RULE.time_ms), cells)
    scales, simulated = windows.scales[cells], windows.windows(cells)
    intervals = emulator.intervals(scales)
    for i in range(len(cells)):
        bounds = list(zip(intervals.voltage_low_mV[i], intervals.voltage_high_mV[i], strict=True))
        inside = [low <= V <= high for window in simulated[i] for V, (low, high) in zip(window, bounds, strict=True)]
        assert errors["coverage_percent"][i] == pytest.approx(100 * np.mean(inside), abs=0.35)  # a sample at an edge
        error = abs(400 + scales[i, 0] - windows.cycle_lengths_ms(cells[i : i + 1])[0])
        assert errors["cycle_length_coverage_percent"][i] == 100 * (error <= 2)
    assert errors["cycle_length_predicted_ms"].tolist() == pytest.approx((400 + scales[:, 0]).tolist())


def test_all_outputs_are_summarised(data, emulator):
    cells, windows = data.cell_indices[TEST], data.windows
    unseen, trained = exclude_training_cells(windows, [emulator]), windows.scales[data.cell_indices[TRAIN]]
    result = measure({"emulator": Candidate(emulator, windows, RULE.time_ms)}, unseen, cells, trained)
    metrics, errors = result.metrics["emulator"], result.errors["emulator"]
    wrong = (errors["cycle_length_predicted_ms"] - errors["cycle_length_ms"]).abs()
    assert metrics["cycle_length_error_ms_median"] == pytest.approx(wrong.median())
    assert metrics["cycle_length_cells"] == len(cells)
    assert metrics["coverage_percent"] == pytest.approx(errors["coverage_percent"].mean())
    scales = windows.scales[data.split == TEST]
    fires = windows.cells["label"][data.split == TEST].eq("fires").to_numpy()
    assert metrics["fires_accuracy"] == pytest.approx(((scales[:, -1] >= 1) == fires).mean())


def test_first_cycle_by_hand():
    """Two APs of 50 ms every 200 ms, from -50 to 350 ms: the first cycle is 0 to 200 ms."""
    time_ms = np.arange(-50.0, 350.0)
    into = time_ms % 200
    V = np.where(into < 50, 30 - 100 * (into / 50) ** 2, -70 + 30 * np.clip((into - 190) / 10, 0, 1) ** 2)
    V[into >= 198] = [-45, -41] * 2
    V = V.astype(np.float32)
    predicted = V + np.where((time_ms >= 0) & (time_ms < 200), 3, 7).astype(np.float32)
    (errors,) = cell_errors(time_ms, [(V[None, None], predicted[None])]).to_dict("records")
    own_ms = np.interp(-40, V[49:51], time_ms[49:51])  # within a sample of 0, and so is the next
    assert abs(own_ms) < 1
    assert errors["cycle_rmse_mV"] == pytest.approx(3, abs=0.15)
    assert summarise_errors(pd.DataFrame([errors]))["cycle_rmse_mV_median"] == errors["cycle_rmse_mV"]
