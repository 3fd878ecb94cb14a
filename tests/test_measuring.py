"""What an evaluation finds of several at once, on the tiny job's windows and by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import RULE, SIZES, specification

from cardioemu import Emulator, UserError
from cardioemu.comparison.baselines import NearestCell
from cardioemu.comparison.lineage import in_training_design
from cardioemu.comparison.measure import Candidate, exclude_training_cells, make_baselines, measure, rows_with_windows
from cardioemu.data import TEST, TRAIN, VALIDATION
from cardioemu.evaluation import EvaluationResult, cell_errors
from cardioemu.models import LSTMNetwork


@pytest.fixture(scope="module")
def emulator(data):
    torch.manual_seed(0)
    return Emulator(LSTMNetwork(**SIZES), specification(design=torch.from_numpy(data.windows.scales)))


def test_what_an_emulator_has_seen(data, emulator):
    expected = np.isin(data.split, [TRAIN, VALIDATION])
    assert (in_training_design(emulator, data.windows.scales) == expected).all()
    assert not in_training_design(emulator, data.windows.scales + 1e-12).any()
    assert exclude_training_cells(data.windows, [emulator]).index.tolist() == np.flatnonzero(data.split == TEST).tolist()


def test_cells_with_windows_by_every_rule(data, emulator):
    cells = exclude_training_cells(data.windows, [emulator])
    assert rows_with_windows(cells, [data.windows]).tolist() == data.cell_indices[TEST].tolist()
    with pytest.raises(UserError, match=r"^design: no unseen cell gave windows; "):
        rows_with_windows(cells[:0], [data.windows])


@pytest.mark.filterwarnings("ignore:.*outside the trained range")
def test_all_are_measured_on_the_same_cells(data, emulator):
    windows, rows = data.windows, data.cell_indices[TEST]
    subjects = {"emulator": Candidate(emulator, windows, RULE.time_ms)}
    subjects |= {name: Candidate(one, windows, RULE.time_ms) for name, one in make_baselines(data).items()}
    trained = windows.scales[data.cell_indices[TRAIN]]
    found = measure(subjects, exclude_training_cells(windows, [emulator]), rows, trained)
    assert list(found.errors) == ["emulator", "nearest_cell", "linear_interpolation", "pca_ridge", "gaussian_process"]
    for name, subject in subjects.items():
        alone = cell_errors(RULE.time_ms, [(windows.windows(rows), subject.predictor.voltage_mV(windows.scales[rows]))])
        pd.testing.assert_frame_equal(found.errors[name][list(alone)], alone, rtol=1e-5)
        time_ms, along_mV = found.along[name]
        assert (time_ms == RULE.time_ms).all()
        error = windows.windows(rows) - subject.predictor.voltage_mV(windows.scales[rows])[:, None]
        np.testing.assert_allclose(along_mV, np.sqrt((error**2).mean(axis=(0, 1))), rtol=1e-5)
    assert found.fires.tolist() == windows.cells["label"][data.split == TEST].eq("fires").tolist()
    assert "emulator" not in found.firing_probability


def test_voltages_that_are_no_numbers_are_told(data, emulator):
    class Broken(NearestCell):
        def voltage_mV(self, scales):
            return np.full((len(scales), RULE.output_samples), np.nan, np.float32)

    windows, rows = data.windows, data.cell_indices[TEST]
    subjects = {"broken": Candidate(Broken(make_baselines(data)["nearest_cell"].known), windows, RULE.time_ms)}
    with pytest.raises(
        UserError, match=r"^broken: it predicts voltages that are no numbers; leave it out, or train it"
    ):
        measure(subjects, exclude_training_cells(windows, [emulator]), rows, windows.scales[data.cell_indices[TRAIN]])


def test_the_correlation_with_the_distance_by_hand():
    flat = np.zeros((4, 1, 4), np.float32)
    errors = cell_errors(np.arange(4.0), [(flat, flat[:, 0])])
    errors = errors.assign(rmse_mV=[1.0, 30.0, 2.0, 40.0], distance=[0.1, 0.2, 0.3, 0.4])
    along = {"a": (np.arange(4.0), np.ones(4))}
    scales, fires = np.arange(4.0)[:, None], np.array([True, True, False, False])
    found = EvaluationResult(["IKr"], {"a": errors}, along, scales, fires, {"a": np.array([1.0, 1.0, 0.0, 1.0])})
    # Ranks 1 3 2 4 against 1 2 3 4: 1 - 6 (1 + 1) / (4 x 15).
    assert found.metrics["a"]["rmse_distance_correlation"] == pytest.approx(0.8)
    assert found.metrics["a"]["fires_accuracy"] == 0.75
    assert found.flat_metrics["a/rmse_mV_max"] == 40
    assert found.table["emulator"].tolist() == ["a"] * 4
