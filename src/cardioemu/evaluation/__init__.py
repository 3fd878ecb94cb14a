"""Metrics, figures and reports, in the quantities that electrophysiologists use."""

from cardioemu.evaluation.metrics.beats import summarise_beats
from cardioemu.evaluation.metrics.cell_errors import (
    CellErrors,
    cell_errors,
    compare_predictions,
    rmse_floor_mV,
    rmse_mV,
    timing_and_shape,
)
from cardioemu.evaluation.metrics.firing import firing_metrics, reliability_table
from cardioemu.evaluation.metrics.nearest_cell import nearest_cell_rmse_mV, nearest_distance
from cardioemu.evaluation.metrics.population import sample_cells, summarise_population
from cardioemu.evaluation.metrics.sampled_window import BIOMARKER_UNITS, PHASES, SampledWindow
from cardioemu.evaluation.metrics.summary import bootstrap_intervals, format_test_summary, summarise_errors
from cardioemu.evaluation.report.html import Section, error_table, render_html
from cardioemu.evaluation.report.sections import EvaluationResult, report_sections
from cardioemu.evaluation.report.trace_plots import (
    cell_name,
    cell_title,
    evenly_spaced,
    plot_overlay,
    plot_sweep,
    plot_traces,
)
from cardioemu.traces import biomarkers, rhythm

__all__ = [
    "BIOMARKER_UNITS",
    "PHASES",
    "CellErrors",
    "EvaluationResult",
    "SampledWindow",
    "Section",
    "biomarkers",
    "bootstrap_intervals",
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
    "summarise_beats",
    "summarise_errors",
    "summarise_population",
    "timing_and_shape",
]
