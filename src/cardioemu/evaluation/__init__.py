"""Metrics, baselines, plots, reports and the biomarkers, in the quantities electrophysiologists use."""

from cardioemu.evaluation.baselines import BASELINES, Baseline, Known
from cardioemu.evaluation.beats import by_beat
from cardioemu.evaluation.findings import Findings, sections
from cardioemu.evaluation.firing import calibration, firing
from cardioemu.evaluation.metrics import Errors, cell_errors, errors_of_all, rmse_floor_mV, rmse_mV, timing_and_shape
from cardioemu.evaluation.neighbour import distance, neighbour_rmse_mV
from cardioemu.evaluation.plots import cell_name, cell_title, evenly, overlay, sample_traces, swept_errors
from cardioemu.evaluation.report import Section, error_table, html
from cardioemu.evaluation.sampled_window import BIOMARKERS, PHASES, SampledWindow
from cardioemu.evaluation.summary import headline, intervals, summary
from cardioemu.traces import biomarkers, rhythm

__all__ = [
    "BASELINES",
    "BIOMARKERS",
    "PHASES",
    "Baseline",
    "Errors",
    "Findings",
    "Known",
    "SampledWindow",
    "Section",
    "biomarkers",
    "by_beat",
    "calibration",
    "cell_errors",
    "cell_name",
    "cell_title",
    "distance",
    "error_table",
    "errors_of_all",
    "evenly",
    "firing",
    "headline",
    "html",
    "intervals",
    "neighbour_rmse_mV",
    "overlay",
    "rhythm",
    "rmse_floor_mV",
    "rmse_mV",
    "sample_traces",
    "sections",
    "summary",
    "swept_errors",
    "timing_and_shape",
]
