"""The report of an evaluation: one HTML file with its figures in it, which asks nothing of other files or machines."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure

from cardioemu.evaluation.metrics.sampled_window import BIOMARKERS, PHASES, UNIT_LABELS
from cardioemu.evaluation.report.trace_plots import evenly_spaced

WORST = 10
BEATS_SHOWN = 6
MISSING = "–"
RMSES = ("rmse_mV_mean", "rmse_mV_median", "rmse_mV_p95")


@dataclass(frozen=True)
class Section:
    """A part of a report: a heading, and below it a text, a table, a figure, or some of them."""

    name: str
    heading: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None


def render_html(title: str, introduction: Sequence[str], sections: Sequence[Section], made: str) -> str:
    """Writes a report.

    Args:
        title: of the page.
        introduction: paragraphs.
        sections: in their order; the first column of a table stands on the left.
        made: how the report was made: command, versions.
    """
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        files("cardioemu.evaluation.report").joinpath("report.html").read_text(encoding="utf-8")
    )
    plain = [
        {"name": s.name, "heading": s.heading, "text": s.text, "image": s.figure and _png(s.figure)}
        | ({"table": {"columns": list(s.table), "rows": s.table.to_numpy().tolist()}} if s.table is not None else {})
        for s in sections
    ]
    return template.render(title=title, introduction=introduction, sections=plain, made=made)


def _png(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return base64.b64encode(content.getvalue()).decode()


def error_table(metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Tables the RMSE of several emulators with its intervals, and what else tells them apart at a glance."""
    rows = [
        {"": name}
        | {f"RMSE {key.rpartition('_')[2]} (mV)": _with_interval(found, key) for key in RMSES}
        | {
            "max": _number(found, "rmse_mV_max"),
            "MAE": _number(found, "mae_mV"),
            "R²": _number(found, "r2", 3),
            "timing (ms)": f"{_number(found, 'timing_error_ms')} of {_number(found, 'timing_cells', 0)}",
            "shape (mV)": _number(found, "shape_rmse_mV"),
        }
        for name, found in metrics.items()
    ]
    return pd.DataFrame(rows)


def beat_table(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables some beats of what `by_beat` summarised, from the first to the last."""
    rows = []
    for name, beats in found.items():
        shown = beats.iloc[evenly_spaced(len(beats), BEATS_SHOWN)]
        rows.append(
            {"": name}
            | {
                f"beat {number}": f"{rmse_mV:.3g} mV, {_unless_missed(error_ms)}{missed:.0f} % missed"
                for number, rmse_mV, error_ms, missed in shown.itertuples()
            }
        )
    return pd.DataFrame(rows)


def _unless_missed(error_ms: float) -> str:
    return "" if np.isnan(error_ms) else f"{float(f'{error_ms:.3g}'):g} ms, "


def phase_table(metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Tables the RMSE of several emulators by the phase of the AP, and each phase's share of all squared errors."""
    rows = [
        {"": name}
        | {
            phase: f"{_number(found, f'{phase}_rmse_mV')} mV, {_number(found, f'{phase}_share_percent', 0)} %"
            for phase in PHASES
        }
        for name, found in metrics.items()
    ]
    return pd.DataFrame(rows)


def biomarker_table(metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Tables the errors of several emulators in each biomarker: mean percentage, median in its unit."""
    rows = []
    for name, found in metrics.items():
        row = {"": name, "all APDs": f"{_number(found, 'apd_mape_percent')} %"}
        for biomarker, unit in BIOMARKERS.items():
            percent, median = (_number(found, f"{biomarker}_{key}") for key in ("mape_percent", f"median_error_{unit}"))
            row[biomarker.replace("_", " ")] = f"{percent} %, {median} {UNIT_LABELS[unit]}"
        rows.append(row | {"cells (APD90, CL)": f"{_number(found, 'apd90_cells', 0)}, {_number(found, 'cl_cells', 0)}"})
    return pd.DataFrame(rows)


def firing_table(metrics: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Tables how well each emulator tells which cells fire."""
    shown = {
        "accuracy": "fires_accuracy",
        "sensitivity": "fires_sensitivity",
        "specificity": "fires_specificity",
        "boundary error (scales)": "fires_boundary_error",
        "Brier score": "fires_brier",
        "calibration error": "fires_calibration_error",
    }
    rows = [
        {"": name} | {heading: _number(found, key, 3) for heading, key in shown.items()}
        for name, found in metrics.items()
        if "fires_accuracy" in found
    ]
    return pd.DataFrame(rows)


def worst_table(table: pd.DataFrame, scaled: Sequence[str]) -> pd.DataFrame:
    """Tables the cells with the largest RMSE."""
    columns = ["cell", *scaled, "distance", "rmse_mV", "timing_error_ms", "shape_rmse_mV"]
    worst = table.nlargest(WORST, "rmse_mV")[columns]
    return worst.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value).reset_index(drop=True)


def _with_interval(found: Mapping[str, float], key: str) -> str:
    low, high = (_number(found, f"{key}_{end}") for end in ("low", "high"))
    return f"{_number(found, key)} ({low} to {high})" if low != MISSING else _number(found, key)


def _number(found: Mapping[str, float], key: str, digits: int = 2) -> str:
    return f"{found[key]:.{digits}f}" if key in found else MISSING
