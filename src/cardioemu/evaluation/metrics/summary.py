"""Errors over cells: what stands for a whole test part in one number, and how sure that number is."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from cardioemu.evaluation.metrics.sampled_window import BIOMARKERS, PHASES

APDS = ("apd50", "apd75", "apd90")
RESAMPLES = 2000
STATISTICS: Mapping[str, Callable[..., np.ndarray]] = {
    "mean": np.mean,
    "median": np.median,
    "p95": lambda values, axis: np.quantile(values, 0.95, axis=axis),
}


def summarise_errors(errors: pd.DataFrame) -> dict[str, float]:
    """Summarises what `cell_errors` measured.

    Returns:
        `cells`; `rmse_mV_mean`, `_median`, `_p95`, `_max` over cells, and `_pooled`, over all samples of all cells;
        `rmse_floor_mV`, `mae_mV` and `r2`, the means over cells; `r2_pooled`, over all samples about their common mean;
        `error_max_mV`, the largest of all;
        `cycle_rmse_mV_mean`, `_median`, `_p95`, `_max` over the cells with an AP of their own;
        `cycle_length_error_ms_mean` and so on, of the emulator's own output, where it has one, over the
        `cycle_length_cells` with a next AP start;
        `coverage_percent`, how many samples lie in the intervals of an ensemble, and `cycle_length_coverage_percent`,
        how many cycle lengths;
        for each phase `rest_rmse_mV` and so on, over all samples of that phase, and `rest_share_percent`, its share of
        the sum of all squared errors; `timing_error_ms` and `shape_rmse_mV`, the means over the
        `timing_cells` that have an AP in both;
        of each biomarker `apd50_mape_percent`, the mean absolute percentage error against the mean over the cell's
        windows, `apd50_mae_ms` and `apd50_median_error_ms`, the mean and median absolute error;
        `apd_mape_percent`, the mean percentage of the three APDs over the cells that have them all;
        `apd90_cells`, `cl_cells`: how many cells these count, for a window may end before the next AP start and a
        prediction may lack an AP. What counts no cell is absent.
    """
    rmse = errors["rmse_mV"]
    result = {
        "cells": float(len(errors)),
        **_over_cells("rmse_mV", rmse),
        "rmse_mV_pooled": float(np.sqrt((rmse**2).mean())),  # every cell has as many samples
        "rmse_floor_mV": float(errors["rmse_floor_mV"].mean()),
        "mae_mV": float(errors["mae_mV"].mean()),
        "error_max_mV": float(errors["error_max_mV"].max()),
        "r2": float(errors["r2"].mean()),
        "r2_pooled": _pooled_r2(errors),
        **_over_cells("cycle_rmse_mV", errors["cycle_rmse_mV"]),
        **_of_cycle_length(errors),
        **_of_intervals(errors),
        **_by_phase(errors),
        "timing_error_ms": float(errors["timing_error_ms"].mean()),
        "timing_cells": float(errors["timing_error_ms"].count()) or np.nan,
        "shape_rmse_mV": float(errors["shape_rmse_mV"].mean()),
        **_of_biomarkers(errors),
    }
    return {name: value for name, value in result.items() if np.isfinite(value)}


def format_test_summary(errors: pd.DataFrame, metrics: Mapping[str, float]) -> str:
    """Return a table of the errors over test cells for the terminal, with the number of cells of each row.

    Args:
        errors: as `cell_errors` measured them.
        metrics: of the same test; those of firing are printed where the network predicts it.
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
    return {
        "mean": float(values.mean()),
        "median": float(values.median()),
        "p95": float(values.quantile(0.95)),
        "max": float(values.max()),
    }


def _over_cells(name: str, values: pd.Series) -> dict[str, float]:
    return {f"{name}_{statistic}": value for statistic, value in _statistics(values).items()}


def _of_cycle_length(errors: pd.DataFrame) -> dict[str, float]:
    if "cycle_length_predicted_ms" not in errors:
        return {}
    error = (errors["cycle_length_predicted_ms"] - errors["cycle_length_ms"]).abs()
    return _over_cells("cycle_length_error_ms", error) | {"cycle_length_cells": float(error.count()) or np.nan}


def _of_intervals(errors: pd.DataFrame) -> dict[str, float]:
    names = ("coverage_percent", "cycle_length_coverage_percent")
    return {name: float(errors[name].mean()) for name in names if name in errors}


def _pooled_r2(errors: pd.DataFrame) -> float:
    about_all = errors["sd_mV"] ** 2 + (errors["mean_mV"] - errors["mean_mV"].mean()) ** 2
    return float(1 - (errors["rmse_mV"] ** 2).sum() / about_all.sum()) if about_all.sum() else np.nan


def _by_phase(errors: pd.DataFrame) -> dict[str, float]:
    result, total = {}, (errors["rmse_mV"] ** 2).sum()
    for phase in PHASES:
        part = errors[f"{phase}_part"]
        squares = (part * errors[f"{phase}_rmse_mV"] ** 2).sum()
        if part.sum():
            result[f"{phase}_rmse_mV"] = float(np.sqrt(squares / part.sum()))
            result[f"{phase}_share_percent"] = float(100 * squares / total) if total else np.nan
    return result


def _of_biomarkers(errors: pd.DataFrame) -> dict[str, float]:
    result, percents = {}, {}
    for name, unit in BIOMARKERS.items():
        true, found = errors[f"{name}_{unit}"], errors[f"{name}_predicted_{unit}"]
        error = (found - true).abs().dropna()
        percents[name] = (100 * error / true.abs()).dropna()
        result[f"{name}_mape_percent"] = float(percents[name].mean())
        result[f"{name}_mae_{unit}"] = float(error.mean())
        result[f"{name}_median_error_{unit}"] = float(error.median())
        if name in ("apd90", "cl"):
            result[f"{name}_cells"] = float(len(error)) if len(error) else np.nan
    apds = pd.concat([percents[name] for name in APDS], axis=1).dropna()
    return result | {"apd_mape_percent": float(apds.to_numpy().mean()) if len(apds) else np.nan}


def bootstrap_intervals(errors: pd.DataFrame) -> dict[str, float]:
    """Says how much the RMSE over cells hangs on which cells were drawn: bootstrap intervals of 95 %.

    Returns:
        `rmse_mV_mean_low` and `_high`, and so for the median and p95: the percentiles 2.5 and 97.5 of 2 000 resamples
        of the cells with replacement, the same at every call. Empty for a single cell.

    Source: Efron and Tibshirani 1993, chapter 13, as SciPy has it (`scipy.stats.bootstrap`, method "percentile").
    """
    if len(errors) < 2:
        return {}
    result: dict[str, float] = {}
    for name, statistic in STATISTICS.items():
        found = bootstrap(
            (errors["rmse_mV"].to_numpy(),), statistic, n_resamples=RESAMPLES, batch=100, method="percentile", rng=0
        ).confidence_interval
        result |= {f"rmse_mV_{name}_low": float(found.low), f"rmse_mV_{name}_high": float(found.high)}
    return result
