"""Measurement of emulators and baselines on the same cells."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cardioemu.common.arrays import Predicted, SampleTimes, Scales, Windows
from cardioemu.common.errors import UserError
from cardioemu.comparison.baselines import BASELINES, Baseline, TrainingCells
from cardioemu.comparison.lineage import in_training_design
from cardioemu.comparison.published_lstm import is_published_lstm, train_published_lstm
from cardioemu.data import TRAIN, WindowDataModule
from cardioemu.emulator import VOLTAGE, Emulator
from cardioemu.evaluation import (
    CellErrors,
    EvaluationResult,
    cell_title,
    compare_predictions,
    evenly_spaced,
    nearest_distance,
    plot_overlay,
)
from cardioemu.runtime.progress import log_message
from cardioemu.simulation import first_occurrence
from cardioemu.windowing import WindowSet

PUBLISHED_LSTM = "published_lstm"
ERROR_COLUMNS = ("emulator", "distance")  # columns of a table of errors next to the scales
EXAMPLE_COUNT = 6  # cells in a figure of examples


@dataclass(frozen=True, eq=False)
class Candidate:
    """An emulator or a baseline to measure, with the simulated windows that it predicts, by its own window rule."""

    predictor: Emulator | Baseline
    windows: WindowSet
    time_ms: SampleTimes


def make_baselines(data: WindowDataModule) -> dict[str, Baseline]:
    """Make the baselines from the cells of the train split."""
    windows = data.windows
    training = first_occurrence(windows.scales) & (data.split == TRAIN)
    windowed = np.flatnonzero(training & windows.windowed)
    simulated = windows.cells[training & windows.cells["status"].eq("ok").to_numpy()]
    cells = TrainingCells(
        windows.scales[windowed],
        lambda positions: windows.windows(windowed[positions]).mean(axis=1),
        windows.scales[simulated.index.to_numpy()],
        simulated["label"].eq("fires").to_numpy(),
    )
    return {name: make(cells) for name, make in BASELINES.items()}


def add_published_lstm(
    emulators: Mapping[str, Emulator], data: WindowDataModule, folder: Path, accelerator: str
) -> dict[str, Emulator]:
    """Add the published LSTM, unless one of the emulators is one; trained networks are stored in the folder.

    It is trained on the windows that the first emulator was trained on.
    """
    if any(is_published_lstm(emulator.specification) for emulator in emulators.values()):
        return dict(emulators)
    first = next(iter(emulators.values()))
    trained = train_published_lstm(data, first.specification, folder, accelerator=accelerator)
    return {**emulators, PUBLISHED_LSTM: trained.to(next(first.parameters()).device)}


def exclude_training_cells(windows: WindowSet, emulators: Iterable[Emulator]) -> pd.DataFrame:
    """Return the distinct cells that no emulator used for training or validation, with their indices as index."""
    scales = windows.scales
    unseen = ~np.any([in_training_design(emulator, scales) for emulator in emulators], axis=0)
    if not unseen.all():
        log_message(
            f"{(~unseen).sum()} of {len(unseen)} cells are excluded: an emulator used their scales for training or "
            "validation"
        )
    return windows.cells[unseen & first_occurrence(scales)]


def indices_with_windows(cells: pd.DataFrame, window_sets: Iterable[WindowSet]) -> np.ndarray:
    """Return the indices of the cells that have windows in every window set.

    Raises:
        UserError: there are none.
    """
    indices = cells.index.to_numpy()
    for windows in window_sets:
        indices = indices[windows.windowed[indices]]
    if len(indices) == 0:
        raise UserError("design: no unseen cell has windows; use a larger or another design, or longer traces")
    return indices


def measure(
    candidates: Mapping[str, Candidate], cells: pd.DataFrame, cell_indices: np.ndarray, training_scales: Scales
) -> EvaluationResult:
    """Measure all candidates on the same cells.

    Args:
        candidates: by name.
        cells: the unseen cells, with their indices in the window sets as index.
        cell_indices: those of the unseen cells that have windows.
        training_scales: those of the first candidate.
    """
    measured: dict[str, CellErrors] = {}
    along_window: dict[str, tuple[SampleTimes, np.ndarray]] = {}
    for key in dict.fromkeys(candidate.windows.key for candidate in candidates.values()):  # one window rule at a time
        group = {name: candidate for name, candidate in candidates.items() if candidate.windows.key == key}
        errors, squares = _measure_candidates(group, cell_indices)
        measured |= errors
        along_window |= {name: (group[name].time_ms, np.sqrt(squares[name])) for name in group}
    windows = next(iter(candidates.values())).windows
    for candidate in candidates.values():
        if isinstance(candidate.predictor, Emulator):
            candidate.predictor.warn_extrapolation(windows.scales[cell_indices])
    table = windows.cells.loc[cell_indices, ["cell", *windows.scaled]].reset_index(drop=True)
    table = table.assign(distance=nearest_distance(windows.scales[cell_indices], training_scales))
    simulated = cells[cells["status"] == "ok"]
    firing_scales = windows.scales[simulated.index.to_numpy()]
    probabilities = {name: c.predictor.fires_probability(firing_scales) for name, c in candidates.items()}
    return EvaluationResult(
        windows.scaled,
        {
            name: table.join(add_emulator_outputs(measured[name].cells, candidate, cell_indices))
            for name, candidate in candidates.items()
        },
        {name: along_window[name] for name in candidates},
        firing_scales,
        simulated["label"].eq("fires").to_numpy(),
        {name: probability for name, probability in probabilities.items() if probability is not None},
        {name: beats for name in candidates if (beats := measured[name].beats) is not None},
    )


def add_emulator_outputs(errors: pd.DataFrame, candidate: Candidate, cell_indices: np.ndarray) -> pd.DataFrame:
    """Add the errors of an emulator's other outputs, if it has them.

    `cycle_length_ms`, the mean over the windows, and `cycle_length_predicted_ms`; for an ensemble `coverage_percent`,
    the percentage of samples inside the prediction intervals, and `cycle_length_coverage_percent`, 0 or 100.
    """
    emulator, windows = candidate.predictor, candidate.windows
    if not isinstance(emulator, Emulator):
        return errors
    scales, true_ms = windows.scales[cell_indices], windows.cycle_lengths_ms(cell_indices)
    if (predicted_ms := emulator.cycle_length_ms(scales)) is not None:
        errors = errors.assign(cycle_length_ms=true_ms, cycle_length_predicted_ms=predicted_ms)
    if (half_width_ms := emulator.cycle_length_half_width_ms(scales)) is not None:
        inside = (np.abs(predicted_ms - true_ms) <= half_width_ms).astype(float)
        errors = errors.assign(cycle_length_coverage_percent=np.where(np.isnan(true_ms), np.nan, 100 * inside))
    if VOLTAGE in emulator.specification.interval_factors:
        predict = {"middle": emulator.voltage_mV, "half_width": emulator.interval_half_width_mV}
        covered = [
            (np.abs(predicted["middle"][:, None] - simulated) <= predicted["half_width"][:, None]).mean(axis=(1, 2))
            for simulated, predicted in windows.iter_with_predictions(cell_indices, predict, "intervals")
        ]
        errors = errors.assign(coverage_percent=100 * np.concatenate(covered))
    return errors


def _measure_candidates(
    candidates: Mapping[str, Candidate], cell_indices: np.ndarray
) -> tuple[dict[str, CellErrors], dict[str, np.ndarray]]:
    """Measure candidates with the same windows: their errors, and their mean squared error at each sample."""
    first = next(iter(candidates.values()))
    squares = {name: np.zeros(len(first.time_ms)) for name in candidates}
    predict = {name: candidate.predictor.voltage_mV for name, candidate in candidates.items()}

    def batches() -> Iterator[tuple[Windows, dict[str, Predicted]]]:
        for simulated, predicted in first.windows.iter_with_predictions(cell_indices, predict, "evaluate"):
            for name, voltage_mV in predicted.items():
                if not np.isfinite(voltage_mV).all():
                    raise UserError(
                        f"{name}: its predicted voltages contain NaN or infinity; exclude it, or train it again"
                    )
                error = (voltage_mV[:, None] - simulated).astype(np.float64)
                squares[name] += (error**2).mean(axis=1).sum(axis=0) / len(cell_indices)
            yield simulated, predicted

    return compare_predictions(first.time_ms, batches()), squares


def plot_examples(emulator: Emulator, windows: WindowSet, cell_indices: np.ndarray, errors: pd.DataFrame) -> Figure:
    """Plot the predictions for some of the measured cells, from the best to the worst."""
    rmse_mV = errors["rmse_mV"].to_numpy()
    shown = np.argsort(rmse_mV)[evenly_spaced(len(cell_indices), EXAMPLE_COUNT)]
    scales = windows.scales[cell_indices[shown]]
    titles = [cell_title(s, windows.scaled, e) for s, e in zip(scales, rmse_mV[shown], strict=True)]
    simulated = windows.windows(cell_indices[shown])
    return plot_overlay(emulator.window.time_ms, simulated, emulator.voltage_mV(scales), titles)
