"""How far predicted windows are from simulated ones: per cell, then over cells."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from cardioemu.traces import MIN_AMPLITUDE_mV, Trace, beat
from cardioemu.types import CellWindows, PerCell, Predicted, Sampled, SampleTimes, Windows

NEAR_MS = 25.0
TIMES = ("apd50", "apd75", "apd90", "cl")


def rmse_mV(windows: Windows, predicted: Predicted) -> PerCell:
    """Returns the RMSE of each cell over all its windows and samples, in mV."""
    # Cell by cell: the float64 copy of many windows is large.
    errors = (p.astype(np.float64) - w for w, p in zip(windows, predicted, strict=True))
    return np.array([np.sqrt(np.mean(error**2)) for error in errors], dtype=np.float64)


def _absolute(windows: Windows, predicted: Predicted) -> pd.DataFrame:
    """Measures each cell's errors one by one: their mean and largest size, and the part of the variance explained.

    R2 is 1 - (sum of squared errors) / (sum of squares of V about the cell's mean), over all windows and samples of the
    cell; NaN where V does not vary.
    """
    rows = []
    for cell, emulated in zip(windows, predicted, strict=True):
        V = cell.astype(np.float64)
        error = np.abs(emulated - V)
        varies = ((V - V.mean()) ** 2).sum()
        r2 = 1 - (error**2).sum() / varies if varies > 0 else np.nan
        rows.append({"mae_mV": error.mean(), "error_max_mV": error.max(), "r2": r2})
    return pd.DataFrame(rows)


def rmse_floor_mV(windows: Windows) -> PerCell:
    """Returns the RMSE of each cell's windows about their own mean, in mV.

    One input vector has one output and several windows: no network gets below this on its own training data.
    """
    return rmse_mV(windows, windows.mean(axis=1, dtype=np.float64))


def window_biomarkers(time_ms: SampleTimes, voltage_mV: Sampled) -> dict[str, float]:
    """Measures the AP that a window is aligned to: APD50, APD75, APD90 and CL, in ms.

    The definitions are those of `cardioemu.traces.beat` on the spline through the samples. The AP is the one whose
    start lies nearest to time 0, at most 25 ms away; a window that begins at its AP start shows no crossing there, and
    time 0 is taken. The beat ends at the next AP start; without one in the window it ends with the window, and CL is
    NaN. All are NaN for a window without such an AP.
    """
    trace = Trace.from_samples(time_ms, voltage_mV)
    zero_ms = -float(time_ms[0])
    distance_ms = np.abs(trace.starts_ms - zero_ms)
    if (distance_ms <= NEAR_MS).any():
        start_ms = float(trace.starts_ms[distance_ms.argmin()])
    elif zero_ms == 0:
        start_ms = 0.0
    else:
        return dict.fromkeys(TIMES, float("nan"))
    later_ms = trace.starts_ms[trace.starts_ms > start_ms + NEAR_MS]
    found = beat(trace, start_ms, float(later_ms[0]) if len(later_ms) else trace.duration_ms)
    if found["amplitude_mV"] < MIN_AMPLITUDE_mV:
        return dict.fromkeys(TIMES, float("nan"))
    cl_ms = float(later_ms[0]) - start_ms if len(later_ms) else float("nan")
    return {name: found[f"{name}_ms"] for name in TIMES[:-1]} | {"cl": cl_ms}


def cell_errors(time_ms: SampleTimes, pairs: Iterable[tuple[Windows, Predicted]]) -> pd.DataFrame:
    """Measures each cell's simulated windows and predicted one.

    Args:
        time_ms: (points,) of a window.
        pairs: simulated (cells, windows, points) and predicted (cells, points), in mV, of some cells after the other.

    Returns:
        One row per cell: `rmse_mV`, `rmse_floor_mV`, `mae_mV`, `error_max_mV`, `r2`, and each biomarker of
        `window_biomarkers`, in ms, as `apd50`, the mean over the simulated windows, and as `apd50_predicted`; NaN where
        a window lacks it.
    """
    return pd.concat([_errors(time_ms, windows, predicted) for windows, predicted in pairs], ignore_index=True)


def _errors(time_ms: SampleTimes, windows: Windows, predicted: Predicted) -> pd.DataFrame:
    error = {"rmse_mV": rmse_mV(windows, predicted), "rmse_floor_mV": rmse_floor_mV(windows)}
    simulated = pd.DataFrame([_mean_biomarkers(time_ms, cell) for cell in windows], columns=list(TIMES))
    emulated = pd.DataFrame([window_biomarkers(time_ms, cell) for cell in predicted], columns=list(TIMES))
    return (
        pd.DataFrame(error).join(_absolute(windows, predicted)).join(simulated).join(emulated.add_suffix("_predicted"))
    )


def summary(errors: pd.DataFrame) -> dict[str, float]:
    """Summarises what `cell_errors` measured.

    Returns:
        `cells`; `rmse_mV_mean`, `_median`, `_p95`, `_max` over cells, and `_pooled`, over all samples of all cells;
        `rmse_floor_mV`, `mae_mV` and `r2`, the means over cells; `error_max_mV`, the largest of all;
        `apd50_mape_percent` and so on, the mean absolute percentage error against the mean over the cell's windows, and
        `apd_mape_percent`, the mean of the three APDs over the cells that have them all;
        `apd90_cells`, `cl_cells`: how many cells the percentage counts, for a window may end before the next AP start
        and a prediction may lack an AP. A percentage that counts no cell is absent.
    """
    rmse = errors["rmse_mV"]
    result = {
        "cells": float(len(errors)),
        "rmse_mV_mean": float(rmse.mean()),
        "rmse_mV_median": float(rmse.median()),
        "rmse_mV_p95": float(rmse.quantile(0.95)),
        "rmse_mV_max": float(rmse.max()),
        "rmse_mV_pooled": float(np.sqrt((rmse**2).mean())),  # every cell has as many samples
        "rmse_floor_mV": float(errors["rmse_floor_mV"].mean()),
        "mae_mV": float(errors["mae_mV"].mean()),
        "error_max_mV": float(errors["error_max_mV"].max()),
    }
    if errors["r2"].notna().any():
        result["r2"] = float(errors["r2"].mean())
    percents = pd.DataFrame(
        {name: 100 * (errors[f"{name}_predicted"] - errors[name]).abs() / errors[name] for name in TIMES}
    )
    if len(apds := percents[list(TIMES[:-1])].dropna()):
        result["apd_mape_percent"] = float(apds.to_numpy().mean())
    for name in TIMES:
        percent = percents[name].dropna()
        if len(percent):
            result[f"{name}_mape_percent"] = float(percent.mean())
            if name in ("apd90", "cl"):
                result[f"{name}_cells"] = float(len(percent))
    return result


def _mean_biomarkers(time_ms: SampleTimes, windows: CellWindows) -> dict[str, float]:
    found = pd.DataFrame([window_biomarkers(time_ms, window) for window in windows])
    return {name: float(found[name].mean()) for name in TIMES}
