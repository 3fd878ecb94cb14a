"""Errors of predicted windows, cell by cell, and those of the nearest training cell as a prediction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.spatial import KDTree

from cardioemu.common.arrays import PerCell, Predicted, SampleTimes, Scales, Windows
from cardioemu.evaluation.metrics.beats import LONG_MS, Beat, beat_errors
from cardioemu.evaluation.metrics.sampled_window import BIOMARKER_UNITS, PHASES, SampledWindow


class CellErrors(NamedTuple):
    """The errors of one emulator: one row per cell, and one per `Beat` of each window at least `LONG_MS` long."""

    cells: pd.DataFrame
    beats: pd.DataFrame | None


def rmse_mV(windows: Windows, predicted: Predicted) -> PerCell:
    """Return the RMSE of each cell over all its windows and samples, in mV."""
    # Cell by cell: the float64 copy of many windows is large.
    errors = (p.astype(np.float64) - w for w, p in zip(windows, predicted, strict=True))
    return np.array([np.sqrt(np.mean(error**2)) for error in errors], dtype=np.float64)


def rmse_floor_mV(windows: Windows) -> PerCell:
    """Return the RMSE of each cell's windows against their own mean, in mV.

    A network predicts one window for a scale vector that has several: its RMSE cannot be lower.
    """
    return rmse_mV(windows, windows.mean(axis=1, dtype=np.float64))


def nearest_distance(scales: Scales, training_scales: np.ndarray) -> PerCell:
    """Return the distance of each cell from the nearest training cell, in scales."""
    return np.asarray(KDTree(training_scales).query(scales)[0])


def nearest_cell_rmse_mV(
    scales: Scales,
    cell_indices: np.ndarray,
    training_cells: np.ndarray,
    read: Callable[[np.ndarray], Iterable[Windows]],
) -> Float64[np.ndarray, " rows"]:
    """Return the RMSE of each cell's windows against the mean window of its nearest training cell, in mV.

    All cells are indices into the scales; `read` reads the windows of such cells in batches.
    """
    nearest = training_cells[KDTree(scales[training_cells]).query(scales[cell_indices])[1]]
    pairs = zip(read(cell_indices), read(nearest), strict=True)
    return np.concatenate([rmse_mV(own, others.mean(axis=1, dtype=np.float64)) for own, others in pairs])


def cell_errors(time_ms: SampleTimes, pairs: Iterable[tuple[Windows, Predicted]]) -> pd.DataFrame:
    """Measure batches of simulated and predicted windows; return the table of cells of `compare_predictions`."""
    return compare_predictions(time_ms, ((windows, {"": predicted}) for windows, predicted in pairs))[""].cells


def compare_predictions(
    time_ms: SampleTimes, batches: Iterable[tuple[Windows, Mapping[str, Predicted]]]
) -> dict[str, CellErrors]:
    """Measure the predictions of several emulators for the same cells: simulated windows, and predictions by emulator.

    Returns:
        By emulator, the errors of long windows beat by beat, and for each cell:
        `rmse_mV`, `mae_mV` and `error_max_mV` over all windows and samples;
        `mean_mV` and `sd_mV` of the simulated V; `rmse_floor_mV`, see the function;
        `r2`: 1 - (sum of squared errors) / (sum of squares of V about the cell's mean), NaN if V is constant;
        for each phase of the simulated window, as `rest_rmse_mV`, the RMSE over its samples, NaN without samples, and
        as `rest_part` the fraction of the samples;
        `cycle_rmse_mV`, over the samples from the aligned AP start to the next one or the end of the window;
        `timing_error_ms` and `shape_rmse_mV` (see `timing_and_shape`), the means over windows in which both have an AP;
        each of `BIOMARKER_UNITS` as `apd50_ms`, the mean over the simulated windows that have it, and as
        `apd50_predicted_ms`.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    beats: dict[str, list[Beat]] = {}
    long = len(time_ms) * (time_ms[1] - time_ms[0]) >= LONG_MS - 1e-6  # the last sample is an interval before the end
    for windows, predictions in batches:
        for cell, voltages in enumerate(windows):
            simulated = [SampledWindow(time_ms, V) for V in voltages]
            shared = _simulated_values(simulated)
            for name, predicted in predictions.items():
                emulated = SampledWindow(time_ms, predicted[cell])
                rows.setdefault(name, []).append(shared | _errors(simulated, emulated))
                if long:
                    beats.setdefault(name, []).extend(
                        beat for window in simulated for beat in beat_errors(window, emulated)
                    )
    return {
        name: CellErrors(pd.DataFrame(cells), pd.DataFrame(beats[name], columns=list(Beat._fields)) if long else None)
        for name, cells in rows.items()
    }


def _simulated_values(simulated: Sequence[SampledWindow]) -> dict[str, float]:
    """Return the columns that do not depend on a prediction."""
    windows = np.stack([window.voltage_mV for window in simulated])
    phases = np.stack([window.phases for window in simulated])
    biomarkers = pd.DataFrame([window.biomarkers for window in simulated])
    return (
        {"mean_mV": float(windows.mean(dtype=np.float64)), "sd_mV": float(windows.std(dtype=np.float64))}
        | {"rmse_floor_mV": float(rmse_floor_mV(windows[None])[0])}
        | {f"{name}_part": float((phases == i).mean()) for i, name in enumerate(PHASES)}
        | {f"{name}_{unit}": float(biomarkers[name].mean()) for name, unit in BIOMARKER_UNITS.items()}
    )


def _errors(simulated: Sequence[SampledWindow], emulated: SampledWindow) -> dict[str, float]:
    V = np.stack([window.voltage_mV for window in simulated]).astype(np.float64)
    error = np.abs(emulated.voltage_mV - V)
    squares = error**2
    phases = np.stack([window.phases for window in simulated])
    variation = ((V - V.mean()) ** 2).sum()
    compared = np.array([timing_and_shape(window, emulated) for window in simulated])
    with_ap = compared[~np.isnan(compared).any(axis=1)]
    timing_ms, shape_mV = (with_ap[:, 0].mean(), _root_mean(with_ap[:, 1] ** 2)) if len(with_ap) else (np.nan, np.nan)
    return (
        {"rmse_mV": _root_mean(squares), "mae_mV": float(error.mean()), "error_max_mV": float(error.max())}
        | {"cycle_rmse_mV": _root_mean(squares[np.stack([window.in_cycle for window in simulated])])}
        | {"r2": float(1 - squares.sum() / variation) if variation > 0 else np.nan}
        | {f"{name}_rmse_mV": _root_mean(squares[phases == i]) for i, name in enumerate(PHASES)}
        | {"timing_error_ms": float(timing_ms), "shape_rmse_mV": float(shape_mV)}
        | {f"{name}_predicted_{unit}": emulated.biomarkers[name] for name, unit in BIOMARKER_UNITS.items()}
    )


def timing_and_shape(simulated: SampledWindow, emulated: SampledWindow) -> tuple[float, float]:
    """Separate errors of timing from errors of shape.

    Landmarks are the upward and downward crossings of -40 mV of each AP that both windows have, counted from the
    aligned AP.

    Returns:
        The mean distance of the landmarks in ms, and the RMSE in mV after the predicted curve is shifted in time so
        that the landmarks coincide; the shift is linear between landmarks and constant outside them. Samples that the
        shifted curve does not cover are left out. Both are NaN if one window has no aligned AP.

    Source: ours; aligning curves at landmarks is landmark registration (Ramsay and Silverman 2005, chapter 7).
    """
    if simulated.aligned_ap is None or emulated.aligned_ap is None:
        return np.nan, np.nan
    before = min(simulated.aligned_ap, emulated.aligned_ap)
    pair = [w.landmarks_ms[w.aligned_ap - before :] for w in (simulated, emulated) if w.aligned_ap is not None]
    shared = min(map(len, pair))
    true_ms, predicted_ms = (landmarks[:shared].ravel() for landmarks in pair)
    both = ~np.isnan(true_ms + predicted_ms)
    true_ms, predicted_ms = true_ms[both], predicted_ms[both]
    time_ms, end_ms = simulated.time_ms - simulated.time_ms[0], emulated.trace.duration_ms
    shifted_ms = time_ms + np.interp(time_ms, true_ms, predicted_ms - true_ms)
    covered = (shifted_ms >= 0) & (shifted_ms <= end_ms)
    error = emulated.trace.voltage_mV(shifted_ms[covered]) - simulated.voltage_mV[covered]
    return float(np.abs(predicted_ms - true_ms).mean()), _root_mean(error**2)


def _root_mean(squares: np.ndarray) -> float:
    return float(np.sqrt(squares.mean())) if squares.size else float("nan")
