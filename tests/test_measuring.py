"""Emulators and baselines measured on the same cells: on the tiny job's windows, and by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import RULE, SIZES, specification

from cardioemu import Emulator, UserError
from cardioemu.comparison.baselines import NearestCell
from cardioemu.comparison.lineage import in_training_design
from cardioemu.comparison.measure import (
    Candidate,
    exclude_training_cells,
    indices_with_windows,
    make_baselines,
    measure,
)
from cardioemu.data import TEST, TRAIN, VALIDATION
from cardioemu.evaluation import EvaluationResult, cell_errors
from cardioemu.models import LSTMNetwork


@pytest.fixture(scope="module")
def emulator(data):
    torch.manual_seed(0)
    return Emulator(LSTMNetwork(**SIZES), specification(design=torch.from_numpy(data.windows.scales)))


def test_training_cells_are_excluded(data, emulator):
    expected = np.isin(data.split, [TRAIN, VALIDATION])
    assert (in_training_design(emulator, data.windows.scales) == expected).all()
    assert not in_training_design(emulator, data.windows.scales + 1e-12).any()
    unseen = exclude_training_cells(data.windows, [emulator]).index
    assert unseen.tolist() == np.flatnonzero(data.split == TEST).tolist()


def test_cells_with_windows_in_every_set(data, emulator):
    cells = exclude_training_cells(data.windows, [emulator])
    assert indices_with_windows(cells, [data.windows]).tolist() == data.cell_indices[TEST].tolist()
    with pytest.raises(UserError, match=r"^design: no unseen cell has windows; "):
        indices_with_windows(cells[:0], [data.windows])


@pytest.mark.filterwarnings("ignore:.*outside the trained range")
def test_all_are_measured_on_the_same_cells(data, emulator):
    windows, cells = data.windows, data.cell_indices[TEST]
    candidates = {"emulator": Candidate(emulator, windows, RULE.time_ms)}
    candidates |= {name: Candidate(baseline, windows, RULE.time_ms) for name, baseline in make_baselines(data).items()}
    trained, scales = windows.scales[data.cell_indices[TRAIN]], windows.scales[cells]
    result = measure(candidates, exclude_training_cells(windows, [emulator]), cells, trained)
    assert list(result.errors) == ["emulator", "nearest_cell", "linear_interpolation", "pca_ridge", "gaussian_process"]
    for name, candidate in candidates.items():
        predicted = candidate.predictor.voltage_mV(scales)
        alone = cell_errors(RULE.time_ms, [(windows.windows(cells), predicted)])
        pd.testing.assert_frame_equal(result.errors[name][list(alone)], alone, rtol=1e-5)
        time_ms, along_mV = result.along_window[name]
        assert (time_ms == RULE.time_ms).all()
        error = windows.windows(cells) - predicted[:, None]
        np.testing.assert_allclose(along_mV, np.sqrt((error**2).mean(axis=(0, 1))), rtol=1e-5)
    assert result.fires.tolist() == windows.cells["label"][data.split == TEST].eq("fires").tolist()
    assert "emulator" not in result.firing_probability


def test_voltages_that_are_not_finite_are_an_error(data, emulator):
    class Broken(NearestCell):
        def voltage_mV(self, scales):
            return np.full((len(scales), RULE.output_samples), np.nan, np.float32)

    windows, cells = data.windows, data.cell_indices[TEST]
    candidates = {"broken": Candidate(Broken(make_baselines(data)["nearest_cell"].training), windows, RULE.time_ms)}
    unseen, trained = exclude_training_cells(windows, [emulator]), windows.scales[data.cell_indices[TRAIN]]
    with pytest.raises(UserError, match=r"^broken: its predicted voltages contain NaN or infinity; exclude it, or"):
        measure(candidates, unseen, cells, trained)


def test_the_correlation_with_the_distance_by_hand():
    flat = np.zeros((4, 1, 4), np.float32)
    errors = cell_errors(np.arange(4.0), [(flat, flat[:, 0])])
    errors = errors.assign(rmse_mV=[1.0, 30.0, 2.0, 40.0], distance=[0.1, 0.2, 0.3, 0.4])
    along = {"a": (np.arange(4.0), np.ones(4))}
    scales, fires = np.arange(4.0)[:, None], np.array([True, True, False, False])
    result = EvaluationResult(["IKr"], {"a": errors}, along, scales, fires, {"a": np.array([1.0, 1.0, 0.0, 1.0])})
    # Ranks 1 3 2 4 against 1 2 3 4: 1 - 6 (1 + 1) / (4 x 15).
    assert result.metrics["a"]["rmse_distance_correlation"] == pytest.approx(0.8)
    assert result.metrics["a"]["fires_accuracy"] == 0.75
    assert result.flat_metrics["a/rmse_mV_max"] == 40
    assert result.table["emulator"].tolist() == ["a"] * 4
