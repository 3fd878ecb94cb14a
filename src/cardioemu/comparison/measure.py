"""Emulators and baselines side by side: which cells they are measured on, and their measurement."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cardioemu.common.arrays import Predicted, SampleTimes, Scales, Windows
from cardioemu.common.errors import UserError
from cardioemu.comparison.baselines import BASELINES, Baseline, Known
from cardioemu.comparison.lineage import seen
from cardioemu.comparison.published_lstm import is_seed_network, seed_network
from cardioemu.data import TRAIN, WindowData
from cardioemu.emulator import VOLTAGE, Emulator
from cardioemu.evaluation import (
    Errors,
    Findings,
    cell_title,
    distance,
    errors_of_all,
    evenly,
    overlay,
)
from cardioemu.runtime.progress import tell
from cardioemu.simulation import is_first
from cardioemu.windowing import WindowSet

SEED = "seed_network"
SHOWN = 6  # cells that are drawn


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured: an emulator or a baseline, with the windows it predicts.

    Attributes:
        predictor: what answers scale vectors.
        windows: of the cells it is measured on, by its own rule.
        time_ms: of a window (samples,).
    """

    predictor: Emulator | Baseline
    windows: WindowSet
    time_ms: SampleTimes


def baselines(known: WindowData) -> dict[str, Baseline]:
    """Makes the simple baselines from the cells that trained."""
    windows = known.windows
    trained = is_first(windows.scales) & (known.part == TRAIN)
    rows = np.flatnonzero(trained & windows.windowed)
    cells = windows.cells[trained & windows.cells["status"].eq("ok").to_numpy()]

    def mean_windows(some: np.ndarray) -> Predicted:
        return windows.windows(rows[some]).mean(axis=1)

    scales, fires = windows.scales, cells["label"].eq("fires").to_numpy()
    simulated = Known(scales[rows], mean_windows, scales[cells.index.to_numpy()], fires)
    return {name: make(simulated) for name, make in BASELINES.items()}


def with_seed_network(
    emulators: Mapping[str, Emulator], known: WindowData, folder: Path, accelerator: str
) -> dict[str, Emulator]:
    """Adds the seed network trained on the same windows as the first emulator, unless one of them is one.

    Args:
        emulators: by name.
        known: the windows that the first was trained on.
        folder: where seed networks are kept.
        accelerator: cpu or gpu.
    """
    if any(is_seed_network(emulator.specification) for emulator in emulators.values()):
        return dict(emulators)
    first = next(iter(emulators.values()))
    trained = seed_network(known, first.specification, folder, accelerator=accelerator)
    return {**emulators, SEED: trained.to(next(first.parameters()).device)}


def unseen(windows: WindowSet, emulators: Iterable[Emulator]) -> pd.DataFrame:
    """Returns the distinct cells that none of the emulators was trained or chosen on, indexed by their rows."""
    scales = windows.scales
    fresh = ~np.any([seen(emulator, scales) for emulator in emulators], axis=0)
    if not fresh.all():
        tell(f"{(~fresh).sum()} of {len(fresh)} cells are left out: an emulator was trained or chosen on their scales")
    return windows.cells[fresh & is_first(scales)]


def with_windows(cells: pd.DataFrame, sets: Iterable[WindowSet]) -> np.ndarray:
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


def measure(subjects: Mapping[str, Subject], cells: pd.DataFrame, rows: np.ndarray, trained: Scales) -> Findings:
    """Lets all predict the same cells.

    Args:
        subjects: by name.
        cells: the cells, indexed by their rows in the window sets.
        rows: those of them with windows.
        trained: scale vectors that the first was trained on.
    """
    measured: dict[str, Errors] = {}
    along: dict[str, tuple[SampleTimes, np.ndarray]] = {}
    for key in dict.fromkeys(subject.windows.key for subject in subjects.values()):  # one rule after the other
        alike = {name: subject for name, subject in subjects.items() if subject.windows.key == key}
        found, squares = _measured(alike, rows)
        measured |= found
        along |= {name: (alike[name].time_ms, np.sqrt(squares[name])) for name in alike}
    windows = next(iter(subjects.values())).windows
    for subject in subjects.values():
        if isinstance(subject.predictor, Emulator):
            subject.predictor.warn_outside(windows.scales[rows])
    where = windows.cells.loc[rows, ["cell", *windows.scaled]].reset_index(drop=True)
    errors = {name: with_own_outputs(measured[name].cells, subject, rows) for name, subject in subjects.items()}
    where = where.assign(distance=distance(windows.scales[rows], trained))
    sound = cells[cells["status"] == "ok"]
    asked = windows.scales[sound.index.to_numpy()]
    return Findings(
        windows.scaled,
        {name: where.join(errors[name]) for name in subjects},
        {name: along[name] for name in subjects},
        asked,
        sound["label"].eq("fires").to_numpy(),
        {name: said for name, subject in subjects.items() if (said := chances(subject.predictor, asked)) is not None},
        {name: beats for name in subjects if (beats := measured[name].beats) is not None},
    )


def with_own_outputs(errors: pd.DataFrame, subject: Subject, rows: np.ndarray) -> pd.DataFrame:
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
    if (half_ms := emulator.cycle_length_margin_ms(scales)) is not None:
        inside = (np.abs(said_ms - true_ms) <= half_ms).astype(float)
        errors = errors.assign(cycle_length_coverage_percent=np.where(np.isnan(true_ms), np.nan, 100 * inside))
    if VOLTAGE in emulator.specification.interval_factors:
        predict = {"middle": emulator.voltage_mV, "margin": emulator.margin_mV}
        covered = [
            (np.abs(said["middle"][:, None] - simulated) <= said["margin"][:, None]).mean(axis=(1, 2))
            for simulated, said in windows.beside(rows, predict, "intervals")
        ]
        errors = errors.assign(coverage_percent=100 * np.concatenate(covered))
    return errors


def chances(predictor: Emulator | Baseline, scales: Scales) -> np.ndarray | None:
    """Returns how likely each cell fires (cells,), as it is said; None where nothing is said."""
    return predictor.fires_probability(scales) if isinstance(predictor, Emulator) else predictor.fires(scales)


def _measured(subjects: Mapping[str, Subject], rows: np.ndarray) -> tuple[dict[str, Errors], dict[str, np.ndarray]]:
    """Measures subjects of one rule: their errors, and the mean squared error at each time of the window."""
    one = next(iter(subjects.values()))
    squares = {name: np.zeros(len(one.time_ms)) for name in subjects}

    predict = {name: subject.predictor.voltage_mV for name, subject in subjects.items()}

    def batches() -> Iterator[tuple[Windows, dict[str, Predicted]]]:
        for simulated, predicted in one.windows.beside(rows, predict, "evaluate"):
            for name, voltage_mV in predicted.items():
                if not np.isfinite(voltage_mV).all():
                    raise UserError(
                        f"{name}: it predicts voltages that are no numbers; leave it out, or train it again"
                    )
                error = (voltage_mV[:, None] - simulated).astype(np.float64)
                squares[name] += (error**2).mean(axis=1).sum(axis=0) / len(rows)
            yield simulated, predicted

    return errors_of_all(one.time_ms, batches()), squares


def examples(emulator: Emulator, windows: WindowSet, rows: np.ndarray, errors: pd.DataFrame) -> Figure:
    """Draws some cells from the best to the worst.

    Args:
        emulator: whose predictions are drawn.
        windows: simulated, by its rule.
        rows: the cells that were measured.
        errors: of them, as `cell_errors` measured them.
    """
    rmse_mV = errors["rmse_mV"].to_numpy()
    shown = np.argsort(rmse_mV)[evenly(len(rows), SHOWN)]
    scales = windows.scales[rows[shown]]
    titles = [cell_title(s, windows.scaled, e) for s, e in zip(scales, rmse_mV[shown], strict=True)]
    return overlay(emulator.window.time_ms, windows.windows(rows[shown]), emulator.voltage_mV(scales), titles)
