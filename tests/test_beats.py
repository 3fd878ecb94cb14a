"""Errors beat by beat: against APs in closed form, at given distances."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import RULE, SIZES, specification
from trace_shapes import LogisticAPs

from cardioemu import Emulator
from cardioemu.comparison.measure import Candidate, exclude_training_cells, measure
from cardioemu.data import TEST, TRAIN
from cardioemu.evaluation import compare_predictions
from cardioemu.evaluation.metrics.beats import summarise_beats
from cardioemu.evaluation.report.error_plots import error_by_beat
from cardioemu.evaluation.report.html import beat_table
from cardioemu.models import LSTMNetwork
from cardioemu.windowing import WindowRule

TIME_MS = np.arange(-50.0, 2450.0, 0.5)


def aps(cl_ms, count, length_ms=100.0):
    """A window whose first AP starts near time 0."""
    return LogisticAPs(cl_ms * np.arange(count), length_ms).V(TIME_MS).astype(np.float32)


def beat_errors(time_ms, windows, predicted):
    return compare_predictions(time_ms, [(windows, {"": predicted})])[""].beats


def test_a_wrong_cycle_length_adds_up():
    simulated, predicted = aps(500.0, 5), aps(503.0, 5)
    beats = beat_errors(TIME_MS, simulated[None, None], predicted[None])
    assert beats["beat"].tolist() == [1, 2, 3, 4]  # the fifth does not end in the window
    assert beats["start_error_ms"].tolist() == pytest.approx([0, 3, 6, 9], abs=1e-3)
    starts_ms = LogisticAPs(500 * np.arange(5)).starts_ms
    for beat, rmse_mV in zip(range(4), beats["rmse_mV"], strict=True):
        inside = (starts_ms[beat] <= TIME_MS) & (starts_ms[beat + 1] > TIME_MS)
        expected = np.sqrt(np.mean((predicted.astype(float) - simulated)[inside] ** 2))
        assert rmse_mV == pytest.approx(expected, rel=1e-6)


def test_aps_that_a_prediction_lacks_are_missed():
    simulated = np.stack([aps(500.0, 5), aps(700.0, 4)])[:, None]
    predicted = np.stack([aps(500.0, 2), np.full(len(TIME_MS), -80, np.float32)])
    beats = beat_errors(TIME_MS, simulated, predicted)
    assert beats["beat"].tolist() == [1, 2, 3, 4, 1, 2, 3]
    assert np.isnan(beats["start_error_ms"]).tolist() == [False, False, True, True, True, True, True]
    summary = summarise_beats({"a": beats})["a"]
    assert summary["missed_percent"].tolist() == [50, 50, 100, 100]
    assert np.isnan(summary["start_error_ms"][3])


def test_a_window_of_2_s_is_long():
    for length_ms, long in ((2000.0, True), (1999.0, False)):
        time_ms = WindowRule(length_ms=length_ms, interval_ms=0.5).time_ms
        V = aps(500.0, 5)[: len(time_ms)]
        assert (beat_errors(time_ms, V[None, None], V[None]) is not None) == long


def test_windows_without_an_ap_have_no_beats():
    quiet = np.full((1, len(TIME_MS)), -80, np.float32)
    beats = beat_errors(TIME_MS, quiet[None], quiet)
    assert list(beats) == ["beat", "rmse_mV", "start_error_ms"]
    assert beats.empty
    assert summarise_beats({"a": beats}) == {}


def summaries():
    beats = pd.DataFrame({"beat": [1, 2, 3, 1, 2, 1, 1], "rmse_mV": [1.0, 2, 9, 3, 4, 5, 7]})
    beats["start_error_ms"] = [0.0, 1, 5, 0.5, np.nan, 0.25, np.nan]
    return summarise_beats({"a": beats, "nearest_cell": beats.assign(rmse_mV=1.0)})


def test_medians_of_the_beats_that_half_of_the_windows_have():
    summary = summaries()["a"]
    assert summary.index.tolist() == [1, 2]  # 4, 2 and 1 windows have them
    assert summary["rmse_mV"].tolist() == [4, 3]
    assert summary["start_error_ms"].tolist() == [0.25, 1]
    assert summary["missed_percent"].tolist() == [25, 50]


def test_summaries_are_plotted_and_tabulated():
    left, right = error_by_beat(summaries()).axes
    assert [np.array(line.get_data()).tolist() for line in left.lines] == [[[1, 2], [4, 3]], [[1, 2], [1, 1]]]
    assert np.array(right.lines[0].get_data()).tolist() == [[2], [1]]
    table = beat_table(summaries())
    assert table[""].tolist() == ["a", "nearest_cell"]
    assert table["beat 2"].tolist() == ["3 mV, 1 ms, 50 % missed", "1 mV, 1 ms, 50 % missed"]


def test_large_errors_and_missed_beats_are_tabulated():
    beats = pd.DataFrame({"beat": [1, 2], "rmse_mV": [1.0, 31.5], "start_error_ms": [3926.4, np.nan]})
    table = beat_table(summarise_beats({"a": beats}))
    assert table.loc[0].tolist() == ["a", "1 mV, 3930 ms, 0 % missed", "31.5 mV, 100 % missed"]


@pytest.mark.filterwarnings("ignore:.*outside the trained range")
def test_long_windows_are_measured_beat_by_beat(data, monkeypatch):
    torch.manual_seed(0)
    emulator = Emulator(LSTMNetwork(**SIZES), specification(design=torch.from_numpy(data.windows.scales)))
    windows, cells = data.windows, data.cell_indices[TEST]
    candidates = {"emulator": Candidate(emulator, windows, RULE.time_ms)}
    arguments = exclude_training_cells(windows, [emulator]), cells, windows.scales[data.cell_indices[TRAIN]]
    assert measure(candidates, *arguments).beats == {}
    monkeypatch.setattr("cardioemu.evaluation.metrics.cell_errors.LONG_MS", RULE.time_ms[-1] - RULE.time_ms[0])
    expected = beat_errors(RULE.time_ms, windows.windows(cells), emulator.voltage_mV(windows.scales[cells]))
    assert len(expected)
    pd.testing.assert_frame_equal(measure(candidates, *arguments).beats["emulator"], expected, rtol=1e-5)
