"""How far predicted windows are from simulated ones, cell by cell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cardioemu.common.arrays import PerCell, Predicted, SampleTimes, Windows
from cardioemu.evaluation.metrics.beats import LONG_MS, Beat, beat_errors
from cardioemu.evaluation.metrics.sampled_window import BIOMARKERS, PHASES, SampledWindow


class CellErrors(NamedTuple):
    """What `errors_of_all` measured of an emulator: one row per cell, and in long windows one per `Beat`."""

    cells: pd.DataFrame
    beats: pd.DataFrame | None


def rmse_mV(windows: Windows, predicted: Predicted) -> PerCell:
    """Returns the RMSE of each cell over all its windows and samples, in mV."""
    # Cell by cell: the float64 copy of many windows is large.
    errors = (p.astype(np.float64) - w for w, p in zip(windows, predicted, strict=True))
    return np.array([np.sqrt(np.mean(error**2)) for error in errors], dtype=np.float64)


def rmse_floor_mV(windows: Windows) -> PerCell:
    """Returns the RMSE of each cell's windows about their own mean, in mV.

    One input vector has one output and several windows: no network gets below this on its own training data.
    """
    return rmse_mV(windows, windows.mean(axis=1, dtype=np.float64))


def cell_errors(time_ms: SampleTimes, pairs: Iterable[tuple[Windows, Predicted]]) -> pd.DataFrame:
    """Measures the predictions of one emulator; see `errors_of_all`, whose batches have one each here."""
    return compare_predictions(time_ms, ((windows, {"": predicted}) for windows, predicted in pairs))[""].cells


def compare_predictions(
    time_ms: SampleTimes, batches: Iterable[tuple[Windows, Mapping[str, Predicted]]]
) -> dict[str, CellErrors]:
    """Measures each cell's simulated windows and what several emulators predict of it.

    Args:
        time_ms: (points,) of a window.
        batches: of some cells after the other: simulated (cells, windows, points), and by the name of each emulator
            predicted (cells, points), in mV.

    Returns:
        By emulator the beats of its windows, where they last `LONG_MS`, and of each cell:
        `rmse_mV`, `mae_mV` and `error_max_mV`, over all its windows and samples;
        `mean_mV` and `sd_mV` of V in its windows; `rmse_floor_mV` (see there);
        `r2`: 1 - (sum of squared errors) / (sum of squares of V about the cell's mean), NaN where V does not vary;
        for each phase of `SampledWindow.phases`, in the simulated window, `rest_rmse_mV` and so on, NaN without such
        samples, and `rest_part`, the fraction of the samples;
        `cycle_rmse_mV`, over the samples from each window's own AP start to the next one or the window's end;
        `timing_error_ms` and `shape_rmse_mV` (see `timing_and_shape`), over the windows where both have an AP;
        each of `BIOMARKERS` as `apd50_ms`, the mean over the simulated windows that have it, and as
        `apd50_predicted_ms`.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    beats: dict[str, list[Beat]] = {}
    long = len(time_ms) * (time_ms[1] - time_ms[0]) >= LONG_MS - 1e-6  # the last sample is an interval before the end
    for windows, predictions in batches:
        for cell, voltages in enumerate(windows):
            simulated = [SampledWindow(time_ms, V) for V in voltages]
            shared = _of_cell(simulated)
            for name, predicted in predictions.items():
                emulated = SampledWindow(time_ms, predicted[cell])
                rows.setdefault(name, []).append(shared | _errors(simulated, emulated))
                if long:
                    beats.setdefault(name, []).extend(
                        beat for window in simulated for beat in beat_errors(window, emulated)
                    )
    return {
        name: CellErrors(pd.DataFrame(found), pd.DataFrame(beats[name], columns=list(Beat._fields)) if long else None)
        for name, found in rows.items()
    }


def _of_cell(simulated: Sequence[SampledWindow]) -> dict[str, float]:
    """What is known of a cell before anything is predicted."""
    windows = np.stack([window.voltage_mV for window in simulated])
    phases = np.stack([window.phases for window in simulated])
    found = pd.DataFrame([window.biomarkers for window in simulated])
    return (
        {"mean_mV": float(windows.mean(dtype=np.float64)), "sd_mV": float(windows.std(dtype=np.float64))}
        | {"rmse_floor_mV": float(rmse_floor_mV(windows[None])[0])}
        | {f"{name}_part": float((phases == i).mean()) for i, name in enumerate(PHASES)}
        | {f"{name}_{unit}": float(found[name].mean()) for name, unit in BIOMARKERS.items()}
    )


def _errors(simulated: Sequence[SampledWindow], emulated: SampledWindow) -> dict[str, float]:
    V = np.stack([window.voltage_mV for window in simulated]).astype(np.float64)
    error = np.abs(emulated.voltage_mV - V)
    squares = error**2
    phases = np.stack([window.phases for window in simulated])
    varies = ((V - V.mean()) ** 2).sum()
    compared = np.array([timing_and_shape(window, emulated) for window in simulated])
    with_ap = compared[~np.isnan(compared).any(axis=1)]
    timing_ms, shape_mV = (with_ap[:, 0].mean(), _root_mean(with_ap[:, 1] ** 2)) if len(with_ap) else (np.nan, np.nan)
    return (
        {"rmse_mV": _root_mean(squares), "mae_mV": float(error.mean()), "error_max_mV": float(error.max())}
        | {"cycle_rmse_mV": _root_mean(squares[np.stack([window.in_cycle for window in simulated])])}
        | {"r2": float(1 - squares.sum() / varies) if varies > 0 else np.nan}
        | {f"{name}_rmse_mV": _root_mean(squares[phases == i]) for i, name in enumerate(PHASES)}
        | {"timing_error_ms": float(timing_ms), "shape_rmse_mV": float(shape_mV)}
        | {f"{name}_predicted_{unit}": emulated.biomarkers[name] for name, unit in BIOMARKERS.items()}
    )


def timing_and_shape(simulated: SampledWindow, emulated: SampledWindow) -> tuple[float, float]:
    """Separates what is predicted at the wrong time from what is predicted in the wrong shape.

    Landmarks are the times at which V passes -40 mV, up and down, in each AP that both windows have, counted from the
    AP they are aligned to.

    Returns:
        The mean distance of the landmarks in ms, and the RMSE in mV that remains where the predicted curve is moved in
        time so that they coincide: evenly between two of them, beside them all as the nearest one. Samples for which it
        would have to be known beyond its ends do not count. Both are NaN where one has no AP of its own.

    Source: ours; the alignment at landmarks is that of functional data (Ramsay and Silverman 2005, chapter 7).
    """
    if simulated.aligned_ap is None or emulated.aligned_ap is None:
        return np.nan, np.nan
    before = min(simulated.aligned_ap, emulated.aligned_ap)
    pair = [w.landmarks_ms[w.aligned_ap - before :] for w in (simulated, emulated) if w.aligned_ap is not None]
    shared = min(map(len, pair))
    true_ms, found_ms = (landmarks[:shared].ravel() for landmarks in pair)
    both = ~np.isnan(true_ms + found_ms)
    true_ms, found_ms = true_ms[both], found_ms[both]
    time_ms, end_ms = simulated.time_ms - simulated.time_ms[0], emulated.trace.duration_ms
    moved_ms = time_ms + np.interp(time_ms, true_ms, found_ms - true_ms)
    known = (moved_ms >= 0) & (moved_ms <= end_ms)
    error = emulated.trace.voltage_mV(moved_ms[known]) - simulated.voltage_mV[known]
    return float(np.abs(found_ms - true_ms).mean()), _root_mean(error**2)


def _root_mean(squares: np.ndarray) -> float:
    return float(np.sqrt(squares.mean())) if squares.size else float("nan")
