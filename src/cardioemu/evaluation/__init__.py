"""Metrics, plots and the biomarkers, in the quantities electrophysiologists use."""

from cardioemu.evaluation.metrics import cell_errors, rmse_floor_mV, rmse_mV, summary, window_biomarkers
from cardioemu.evaluation.neighbour import neighbour_rmse_mV
from cardioemu.evaluation.plots import cell_name, cell_title, evenly, overlay, sample_traces, swept_errors
from cardioemu.traces import biomarkers, rhythm

__all__ = [
    "biomarkers",
    "cell_errors",
    "cell_name",
    "cell_title",
    "evenly",
    "neighbour_rmse_mV",
    "overlay",
    "rhythm",
    "rmse_floor_mV",
    "rmse_mV",
    "sample_traces",
    "summary",
    "swept_errors",
    "window_biomarkers",
]
