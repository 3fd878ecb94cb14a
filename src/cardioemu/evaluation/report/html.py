"""The report of an evaluation: one HTML file that includes its figures and loads nothing else."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure

from cardioemu.evaluation.metrics.population import evenly_spaced
from cardioemu.evaluation.metrics.sampled_window import BIOMARKER_UNITS, PHASES, UNIT_LABELS

WORST_CELLS = 10
BEATS_SHOWN = 6
MISSING = "–"
RMSES = ("rmse_mV_mean", "rmse_mV_median", "rmse_mV_p95")
FIRING_COLUMNS = {
    "accuracy": "fires_accuracy",
    "sensitivity": "fires_sensitivity",
    "specificity": "fires_specificity",
    "boundary error (scales)": "fires_boundary_error",
    "Brier score": "fires_brier",
    "calibration error": "fires_calibration_error",
}

Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Section:
    """A section of a report: a heading, and below it a text, a table and a figure, each optional."""

    name: str
    heading: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None


def render_html(title: str, introduction: Sequence[str], sections: Sequence[Section], provenance: str) -> str:
    """Return a report as one HTML page: introductory paragraphs, sections, and how the report was made."""
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        files("cardioemu.evaluation.report").joinpath("report.html").read_text(encoding="utf-8")
    )
    images = {s.name: _png(s.figure) for s in sections if s.figure}
    return template.render(
        title=title, introduction=introduction, sections=sections, images=images, provenance=provenance
    )


def _png(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return base64.b64encode(content.getvalue()).decode()


def _table(metrics: Metrics, columns: Callable[[Mapping[str, float]], dict[str, str]]) -> pd.DataFrame:
    """Return a table with one row per emulator."""
    return pd.DataFrame([{"": name} | columns(values) for name, values in metrics.items()])


def error_table(metrics: Metrics) -> pd.DataFrame:
    """Return a table of the RMSE of each emulator with its intervals, and other overall errors."""
    return _table(
        metrics,
        lambda values: (
            {f"RMSE {key.rpartition('_')[2]} (mV)": _with_interval(values, key) for key in RMSES}
            | {
                "max": _number(values, "rmse_mV_max"),
                "MAE": _number(values, "mae_mV"),
                "R²": _number(values, "r2", 3),
                "timing (ms)": f"{_number(values, 'timing_error_ms')} of {_number(values, 'timing_cells', 0)}",
                "shape (mV)": _number(values, "shape_rmse_mV"),
            }
        ),
    )


def beat_table(summaries: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a table of some beats of each emulator, from the first to the last, as `summarise_beats` returned them."""
    rows = []
    for name, summary in summaries.items():
        beats = summary.iloc[evenly_spaced(len(summary), BEATS_SHOWN)]
        texts = {
            f"beat {number}": f"{rmse_mV:.3g} mV, {_unless_missed(error_ms)}{missed:.0f} % missed"
            for number, rmse_mV, error_ms, missed in beats.itertuples()
        }
        rows.append({"": name} | texts)
    return pd.DataFrame(rows)


def _unless_missed(error_ms: float) -> str:
    return "" if np.isnan(error_ms) else f"{float(f'{error_ms:.3g}'):g} ms, "


def phase_table(metrics: Metrics) -> pd.DataFrame:
    """Return a table of each emulator's RMSE by phase of the AP, with the phase's share of all squared errors."""
    return _table(
        metrics,
        lambda values: {
            phase: f"{_number(values, f'{phase}_rmse_mV')} mV, {_number(values, f'{phase}_share_percent', 0)} %"
            for phase in PHASES
        },
    )


def biomarker_table(metrics: Metrics) -> pd.DataFrame:
    """Return a table of each emulator's errors by biomarker: mean percentage error and median error."""

    def columns(values: Mapping[str, float]) -> dict[str, str]:
        texts = {"all APDs": f"{_number(values, 'apd_mape_percent')} %"}
        for biomarker, unit in BIOMARKER_UNITS.items():
            percent, median = (
                _number(values, f"{biomarker}_{key}") for key in ("mape_percent", f"median_error_{unit}")
            )
            texts[biomarker.replace("_", " ")] = f"{percent} %, {median} {UNIT_LABELS[unit]}"
        return texts | {"cells (APD90, CL)": f"{_number(values, 'apd90_cells', 0)}, {_number(values, 'cl_cells', 0)}"}

    return _table(metrics, columns)


def firing_table(metrics: Metrics) -> pd.DataFrame:
    """Return a table of the firing metrics of each emulator that predicts firing."""
    predicting = {name: values for name, values in metrics.items() if "fires_accuracy" in values}
    return _table(
        predicting, lambda values: {heading: _number(values, key, 3) for heading, key in FIRING_COLUMNS.items()}
    )


def worst_table(errors: pd.DataFrame, scaled: Sequence[str]) -> pd.DataFrame:
    """Return a table of the cells with the largest RMSE."""
    columns = ["cell", *scaled, "distance", "rmse_mV", "timing_error_ms", "shape_rmse_mV"]
    worst = errors.nlargest(WORST_CELLS, "rmse_mV")[columns]
    return worst.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value).reset_index(drop=True)


def _with_interval(values: Mapping[str, float], key: str) -> str:
    low, high = (_number(values, f"{key}_{end}") for end in ("low", "high"))
    return _number(values, key) + (f" ({low} to {high})" if low != MISSING else "")


def _number(values: Mapping[str, float], key: str, digits: int = 2) -> str:
    return f"{values[key]:.{digits}f}" if key in values else MISSING
