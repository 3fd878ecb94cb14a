"""Metrics, figures and reports, in the quantities that electrophysiologists use."""

from cardioemu.evaluation.metrics.cell_errors import (
    CellErrors,
    cell_errors,
    compare_predictions,
    nearest_cell_rmse_mV,
    nearest_distance,
    rmse_floor_mV,
    rmse_mV,
    timing_and_shape,
)
from cardioemu.evaluation.metrics.firing import firing_metrics, reliability_table
from cardioemu.evaluation.metrics.population import evenly_spaced, sample_cells, summarise_population
from cardioemu.evaluation.metrics.sampled_window import BIOMARKER_UNITS, SampledWindow
from cardioemu.evaluation.metrics.summary import format_test_summary, summarise_errors
from cardioemu.evaluation.report.html import Section, error_table, render_html
from cardioemu.evaluation.report.sections import EvaluationResult, report_sections
from cardioemu.evaluation.report.trace_plots import cell_name, cell_title, plot_overlay, plot_sweep, plot_traces
from cardioemu.traces import biomarkers, rhythm

__all__ = [
    "BIOMARKER_UNITS",
    "CellErrors",
    "EvaluationResult",
    "SampledWindow",
    "Section",
    "biomarkers",
    "cell_errors",
    "cell_name",
    "cell_title",
    "compare_predictions",
    "error_table",
    "evenly_spaced",
    "firing_metrics",
    "format_test_summary",
    "nearest_cell_rmse_mV",
    "nearest_distance",
    "plot_overlay",
    "plot_sweep",
    "plot_traces",
    "reliability_table",
    "render_html",
    "report_sections",
    "rhythm",
    "rmse_floor_mV",
    "rmse_mV",
    "sample_cells",
    "summarise_errors",
    "summarise_population",
    "timing_and_shape",
]
