"""Emulators and baselines side by side: which cells they are measured on, and their measurement."""

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

PUBLISHED_LSTM = "seed_network"
ERROR_COLUMNS = ("emulator", "distance")  # columns that tables of errors have next to the scales
EXAMPLE_COUNT = 6  # cells that are drawn


@dataclass(frozen=True, eq=False)
class Candidate:
    """What is measured: an emulator or a baseline, with the windows it predicts.

    Attributes:
        predictor: what answers scale vectors.
        windows: of the cells it is measured on, by its own rule.
        time_ms: of a window (samples,).
    """

    predictor: Emulator | Baseline
    windows: WindowSet
    time_ms: SampleTimes


def make_baselines(known: WindowDataModule) -> dict[str, Baseline]:
    """Makes the simple baselines from the cells that trained."""
    windows = known.windows
    trained = first_occurrence(windows.scales) & (known.split == TRAIN)
    rows = np.flatnonzero(trained & windows.windowed)
    cells = windows.cells[trained & windows.cells["status"].eq("ok").to_numpy()]

    def mean_windows(some: np.ndarray) -> Predicted:
        return windows.windows(rows[some]).mean(axis=1)

    scales, fires = windows.scales, cells["label"].eq("fires").to_numpy()
    simulated = TrainingCells(scales[rows], mean_windows, scales[cells.index.to_numpy()], fires)
    return {name: make(simulated) for name, make in BASELINES.items()}


def add_published_lstm(
    emulators: Mapping[str, Emulator], known: WindowDataModule, folder: Path, accelerator: str
) -> dict[str, Emulator]:
    """Adds the seed network trained on the same windows as the first emulator, unless one of them is one.

    Args:
        emulators: by name.
        known: the windows that the first was trained on.
        folder: where seed networks are kept.
        accelerator: cpu or gpu.
    """
    if any(is_published_lstm(emulator.specification) for emulator in emulators.values()):
        return dict(emulators)
    first = next(iter(emulators.values()))
    trained = train_published_lstm(known, first.specification, folder, accelerator=accelerator)
    return {**emulators, PUBLISHED_LSTM: trained.to(next(first.parameters()).device)}


def exclude_training_cells(windows: WindowSet, emulators: Iterable[Emulator]) -> pd.DataFrame:
    """Returns the distinct cells that none of the emulators was trained or chosen on, indexed by their rows."""
    scales = windows.scales
    fresh = ~np.any([in_training_design(emulator, scales) for emulator in emulators], axis=0)
    if not fresh.all():
        log_message(
            f"{(~fresh).sum()} of {len(fresh)} cells are left out: an emulator was trained or chosen on their scales"
        )
    return windows.cells[fresh & first_occurrence(scales)]


def rows_with_windows(cells: pd.DataFrame, sets: Iterable[WindowSet]) -> np.ndarray:
    """Returns the rows of the cells that gave windows by every rule.

    Raises:
        UserError: there are none.
    """
    rows = cells.index.to_numpy()
    for windows in sets:
        rows = rows[windows.windowed[rows]]
    if len(rows) == 0:
        raise UserError("design: no unseen cell gave windows; give a larger or another design, or longer traces")
    return rows


def measure(
    subjects: Mapping[str, Candidate], cells: pd.DataFrame, rows: np.ndarray, trained: Scales
) -> EvaluationResult:
    """Lets all predict the same cells.

    Args:
        subjects: by name.
        cells: the cells, indexed by their rows in the window sets.
        rows: those of them with windows.
        trained: scale vectors that the first was trained on.
    """
    measured: dict[str, CellErrors] = {}
    along: dict[str, tuple[SampleTimes, np.ndarray]] = {}
    for key in dict.fromkeys(subject.windows.key for subject in subjects.values()):  # one rule after the other
        alike = {name: subject for name, subject in subjects.items() if subject.windows.key == key}
        found, squares = _measure_candidates(alike, rows)
        measured |= found
        along |= {name: (alike[name].time_ms, np.sqrt(squares[name])) for name in alike}
    windows = next(iter(subjects.values())).windows
    for subject in subjects.values():
        if isinstance(subject.predictor, Emulator):
            subject.predictor.warn_extrapolation(windows.scales[rows])
    where = windows.cells.loc[rows, ["cell", *windows.scaled]].reset_index(drop=True)
    errors = {name: add_emulator_outputs(measured[name].cells, subject, rows) for name, subject in subjects.items()}
    where = where.assign(distance=nearest_distance(windows.scales[rows], trained))
    sound = cells[cells["status"] == "ok"]
    asked = windows.scales[sound.index.to_numpy()]
    return EvaluationResult(
        windows.scaled,
        {name: where.join(errors[name]) for name in subjects},
        {name: along[name] for name in subjects},
        asked,
        sound["label"].eq("fires").to_numpy(),
        {
            name: said
            for name, subject in subjects.items()
            if (said := predict_firing_probability(subject.predictor, asked)) is not None
        },
        {name: beats for name in subjects if (beats := measured[name].beats) is not None},
    )


def add_emulator_outputs(errors: pd.DataFrame, subject: Candidate, rows: np.ndarray) -> pd.DataFrame:
    """Adds what an emulator says beside its windows, where it does.

    `cycle_length_ms`, the mean over the windows' own APs, and `cycle_length_predicted_ms`; of an ensemble
    `coverage_percent`, how many of the samples lie in their intervals, and `cycle_length_coverage_percent`, 0 or 100.
    """
    emulator, windows = subject.predictor, subject.windows
    if not isinstance(emulator, Emulator):
        return errors
    scales, true_ms = windows.scales[rows], windows.cycle_lengths_ms(rows)
    if (said_ms := emulator.cycle_length_ms(scales)) is not None:
        errors = errors.assign(cycle_length_ms=true_ms, cycle_length_predicted_ms=said_ms)
    if (half_ms := emulator.cycle_length_half_width_ms(scales)) is not None:
        inside = (np.abs(said_ms - true_ms) <= half_ms).astype(float)
        errors = errors.assign(cycle_length_coverage_percent=np.where(np.isnan(true_ms), np.nan, 100 * inside))
    if VOLTAGE in emulator.specification.interval_factors:
        predict = {"middle": emulator.voltage_mV, "margin": emulator.interval_half_width_mV}
        covered = [
            (np.abs(said["middle"][:, None] - simulated) <= said["margin"][:, None]).mean(axis=(1, 2))
            for simulated, said in windows.iter_with_predictions(rows, predict, "intervals")
        ]
        errors = errors.assign(coverage_percent=100 * np.concatenate(covered))
    return errors


def predict_firing_probability(predictor: Emulator | Baseline, scales: Scales) -> np.ndarray | None:
    """Returns how likely each cell fires (cells,), as it is said; None where nothing is said."""
    return predictor.fires_probability(scales) if isinstance(predictor, Emulator) else predictor.fires(scales)


def _measure_candidates(
    subjects: Mapping[str, Candidate], rows: np.ndarray
) -> tuple[dict[str, CellErrors], dict[str, np.ndarray]]:
    """Measures subjects of one rule: their errors, and the mean squared error at each time of the window."""
    one = next(iter(subjects.values()))
    squares = {name: np.zeros(len(one.time_ms)) for name in subjects}

    predict = {name: subject.predictor.voltage_mV for name, subject in subjects.items()}

    def batches() -> Iterator[tuple[Windows, dict[str, Predicted]]]:
        for simulated, predicted in one.windows.iter_with_predictions(rows, predict, "evaluate"):
            for name, voltage_mV in predicted.items():
                if not np.isfinite(voltage_mV).all():
                    raise UserError(
                        f"{name}: it predicts voltages that are no numbers; leave it out, or train it again"
                    )
                error = (voltage_mV[:, None] - simulated).astype(np.float64)
                squares[name] += (error**2).mean(axis=1).sum(axis=0) / len(rows)
            yield simulated, predicted

    return compare_predictions(one.time_ms, batches()), squares


def plot_examples(emulator: Emulator, windows: WindowSet, rows: np.ndarray, errors: pd.DataFrame) -> Figure:
    """Draws some cells from the best to the worst.

    Args:
        emulator: whose predictions are drawn.
        windows: simulated, by its rule.
        rows: the cells that were measured.
        errors: of them, as `cell_errors` measured them.
    """
    rmse_mV = errors["rmse_mV"].to_numpy()
    shown = np.argsort(rmse_mV)[evenly_spaced(len(rows), EXAMPLE_COUNT)]
    scales = windows.scales[rows[shown]]
    titles = [cell_title(s, windows.scaled, e) for s, e in zip(scales, rmse_mV[shown], strict=True)]
    return plot_overlay(emulator.window.time_ms, windows.windows(rows[shown]), emulator.voltage_mV(scales), titles)
