"""Metrics, baselines, plots, reports and the biomarkers, in the quantities electrophysiologists use."""

from cardioemu.evaluation.metrics.beats import by_beat
from cardioemu.evaluation.metrics.cell_errors import (
    Errors,
    cell_errors,
    errors_of_all,
    rmse_floor_mV,
    rmse_mV,
    timing_and_shape,
)
from cardioemu.evaluation.metrics.firing import calibration, firing
from cardioemu.evaluation.metrics.nearest_cell import distance, neighbour_rmse_mV
from cardioemu.evaluation.metrics.population import sample_cells, summarise_population
from cardioemu.evaluation.metrics.sampled_window import BIOMARKERS, PHASES, SampledWindow
from cardioemu.evaluation.metrics.summary import headline, intervals, summary
from cardioemu.evaluation.report.findings import Findings, sections
from cardioemu.evaluation.report.html import Section, error_table, html
from cardioemu.evaluation.report.plots import cell_name, cell_title, evenly, overlay, sample_traces, swept_errors
from cardioemu.traces import biomarkers, rhythm

__all__ = [
    "BIOMARKERS",
    "PHASES",
    "Errors",
    "Findings",
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
    "sample_cells",
    "sample_traces",
    "sections",
    "summarise_population",
    "summary",
    "swept_errors",
    "timing_and_shape",
]
