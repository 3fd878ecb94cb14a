"""Metrics, plots and the biomarkers, in the quantities electrophysiologists use."""

from cardioemu.evaluation.metrics import evaluate, rmse_floor_mV, rmse_mV, window_biomarkers
from cardioemu.evaluation.plots import cell_title, evenly, overlay
from cardioemu.traces import biomarkers

__all__ = [
    "biomarkers",
    "cell_title",
    "evaluate",
    "evenly",
    "overlay",
    "rmse_floor_mV",
    "rmse_mV",
    "window_biomarkers",
]
