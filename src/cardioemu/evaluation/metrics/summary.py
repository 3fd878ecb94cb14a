"""Summaries of errors over cells, and their bootstrap intervals."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from cardioemu.evaluation.metrics.sampled_window import BIOMARKER_UNITS, PHASES

APDS = ("apd50", "apd75", "apd90")
COVERAGES = ("coverage_percent", "cycle_length_coverage_percent")  # of an ensemble only
MEANS = ("rmse_floor_mV", "mae_mV", "r2", "timing_error_ms", "shape_rmse_mV", *COVERAGES)
RESAMPLES = 2000
STATISTICS: Mapping[str, Callable[..., np.ndarray]] = {
    "mean": np.mean,
    "median": np.median,
    "p95": lambda values, axis: np.quantile(values, 0.95, axis=axis),
}


def summarise_errors(errors: pd.DataFrame) -> dict[str, float]:
    """Summarise the errors of cells, as measured by `cell_errors`.

    Returns:
        `cells`; `rmse_mV_mean`, `_median`, `_p95`, `_max` over cells, and `_pooled` over all samples of all cells;
        `rmse_floor_mV`, `mae_mV` and `r2`, means over cells; `r2_pooled`, over all samples about their common mean;
        `error_max_mV`, the largest absolute error;
        `cycle_rmse_mV_mean`, `_median`, `_p95`, `_max` over the cells with an aligned AP;
        `cycle_length_error_ms_mean` etc., for an emulator that predicts the cycle length, over the
        `cycle_length_cells` with a next AP start;
        `coverage_percent` and `cycle_length_coverage_percent`, the percentages of samples and of cycle lengths inside
        the prediction intervals of an ensemble;
        for each phase, as `rest_rmse_mV`, the RMSE over its samples, and as `rest_share_percent` its share of the sum
        of all squared errors; `timing_error_ms` and `shape_rmse_mV`, means over the `timing_cells` with an AP in both;
        for each biomarker `apd50_mape_percent`, the mean absolute percentage error against the mean over the cell's
        windows, `apd50_mae_ms` and `apd50_median_error_ms`, the mean and the median absolute error;
        `apd_mape_percent`, the mean over the three APDs and the cells that have all three;
        `apd90_cells` and `cl_cells`, the number of cells with these biomarkers in simulation and prediction.
        Metrics without any cell are absent.
    """
    rmse = errors["rmse_mV"]
    result = {
        "cells": len(errors),
        **_over_cells("rmse_mV", rmse),
        "rmse_mV_pooled": np.sqrt((rmse**2).mean()),  # every cell has the same number of samples
        **{name: errors[name].mean() for name in MEANS if name in errors},
        "error_max_mV": errors["error_max_mV"].max(),
        "r2_pooled": _pooled_r2(errors),
        **_over_cells("cycle_rmse_mV", errors["cycle_rmse_mV"]),
        **_of_cycle_length(errors),
        **_by_phase(errors),
        "timing_cells": errors["timing_error_ms"].count() or np.nan,
        **_of_biomarkers(errors),
    }
    return {name: float(value) for name, value in result.items() if np.isfinite(value)}


def format_test_summary(errors: pd.DataFrame, metrics: Mapping[str, float]) -> str:
    """Return a table of the errors over test cells, with the number of cells of each row, for the terminal.

    The accuracy of predicted firing is included if the metrics of the same test have it.
    """
    cycle_length = "cycle_length" if "cycle_length_predicted_ms" in errors else "cl"
    rows = {
        "window RMSE (mV)": errors["rmse_mV"],
        "first-cycle RMSE (mV)": errors["cycle_rmse_mV"],
        "APD90 error (ms)": (errors["apd90_predicted_ms"] - errors["apd90_ms"]).abs(),
        "cycle length error (ms)": (errors[f"{cycle_length}_predicted_ms"] - errors[f"{cycle_length}_ms"]).abs(),
    }
    table = pd.DataFrame({title: {**_statistics(values), "cells": values.count()} for title, values in rows.items()}).T
    table = table[table["cells"] > 0].astype({"cells": int})
    lines = [table.to_string(float_format=lambda value: f"{value:.3g}")]
    if "test/fires_accuracy" in metrics:
        accuracy, cells = metrics["test/fires_accuracy"], metrics["test/fires_cells"]
        lines.append(f"firing predicted right: {accuracy:.1%} of {cells:.0f} test cells, silent ones included")
    return "\n".join(lines)


def _statistics(values: pd.Series) -> dict[str, float]:
    return {"mean": values.mean(), "median": values.median(), "p95": values.quantile(0.95), "max": values.max()}


def _over_cells(name: str, values: pd.Series) -> dict[str, float]:
    return {f"{name}_{statistic}": value for statistic, value in _statistics(values).items()}


def _of_cycle_length(errors: pd.DataFrame) -> dict[str, float]:
    if "cycle_length_predicted_ms" not in errors:
        return {}
    error = (errors["cycle_length_predicted_ms"] - errors["cycle_length_ms"]).abs()
    return _over_cells("cycle_length_error_ms", error) | {"cycle_length_cells": error.count() or np.nan}


def _pooled_r2(errors: pd.DataFrame) -> float:
    about_all = errors["sd_mV"] ** 2 + (errors["mean_mV"] - errors["mean_mV"].mean()) ** 2
    return float(1 - (errors["rmse_mV"] ** 2).sum() / about_all.sum()) if about_all.sum() else np.nan


def _by_phase(errors: pd.DataFrame) -> dict[str, float]:
    result, total = {}, (errors["rmse_mV"] ** 2).sum()
    for phase in PHASES:
        fraction = errors[f"{phase}_part"]
        squares = (fraction * errors[f"{phase}_rmse_mV"] ** 2).sum()
        if fraction.sum():
            result[f"{phase}_rmse_mV"] = np.sqrt(squares / fraction.sum())
            result[f"{phase}_share_percent"] = 100 * squares / total if total else np.nan
    return result


def _of_biomarkers(errors: pd.DataFrame) -> dict[str, float]:
    result, percents = {}, {}
    for name, unit in BIOMARKER_UNITS.items():
        true, predicted = errors[f"{name}_{unit}"], errors[f"{name}_predicted_{unit}"]
        error = (predicted - true).abs().dropna()
        percents[name] = (100 * error / true.abs()).dropna()
        result[f"{name}_mape_percent"] = percents[name].mean()
        result[f"{name}_mae_{unit}"] = error.mean()
        result[f"{name}_median_error_{unit}"] = error.median()
        if name in ("apd90", "cl"):
            result[f"{name}_cells"] = len(error) or np.nan
    apds = pd.concat([percents[name] for name in APDS], axis=1).dropna()
    return result | {"apd_mape_percent": apds.to_numpy().mean() if len(apds) else np.nan}


def bootstrap_intervals(errors: pd.DataFrame) -> dict[str, float]:
    """Return 95 % bootstrap intervals of the RMSE over cells.

    Returns:
        `rmse_mV_mean_low` and `_high`, and the same for median and p95: percentiles 2.5 and 97.5 of 2 000 resamples of
        the cells with replacement, the same in every call. Empty for a single cell.

    Source: Efron and Tibshirani 1993, chapter 13 (`scipy.stats.bootstrap`, method "percentile").
    """
    if len(errors) < 2:
        return {}
    result: dict[str, float] = {}
    for name, statistic in STATISTICS.items():
        interval = bootstrap(
            (errors["rmse_mV"].to_numpy(),), statistic, n_resamples=RESAMPLES, batch=100, method="percentile", rng=0
        ).confidence_interval
        result |= {f"rmse_mV_{name}_low": float(interval.low), f"rmse_mV_{name}_high": float(interval.high)}
    return result
