"""The steps of a training: data, network, trainer, test, records."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure

from cardioemu.common.metric_names import METRICS_FILE
from cardioemu.comparison.measure import plot_examples
from cardioemu.data import TEST, WindowDataModule
from cardioemu.emulator import Emulator, load_emulator
from cardioemu.evaluation import cell_errors, firing_metrics, summarise_errors
from cardioemu.runtime.files import atomic_write
from cardioemu.settings.train import TrainSettings
from cardioemu.simulation import TraceStore
from cardioemu.tracking import Run, format_summary
from cardioemu.training import (
    BEST,
    EmulatorModule,
    Milestones,
    TrainingJob,
    calibrate,
    choose_smoothing,
    find_resume_checkpoint,
)
from cardioemu.windowing import CycleRule, build_window_set


def prepare_data(settings: TrainSettings, memory: TrainingJob, run: Run) -> WindowDataModule:
    """Simulate, cut windows and split them, or open what was made before; print and record what there is."""
    traces = settings.traces()
    windows = build_window_set(traces, settings.windowing, settings.data_dir / "windows")
    rule = CycleRule(settings.windowing.settle_ms)
    in_cycles = settings.meta_network.trained_on == "cycles"
    cycles = build_window_set(traces, rule, settings.data_dir / "windows") if in_cycles else None
    data = WindowDataModule(windows, settings.data, cycles)
    preflight = replace(memory, batch_size=data.largest_batch).preflight()
    data.memory_budget = preflight.window_budget
    print(replace(preflight, cached_windows=data.cached_bytes))
    describe_data(data, traces, run)
    return data


def describe_data(data: WindowDataModule, traces: TraceStore, run: Run) -> None:
    """Print and record where the windows come from, and the outcome of every cell."""
    windows, outcomes = data.windows, data.windows.count_outcomes()
    print(f"{sum(outcomes.values())} cells: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    print("cells with windows: " + ", ".join(f"{len(cells)} {split}" for split, cells in data.cell_indices.items()))
    if data.unregistered:
        print(f"{data.unregistered} cells with windows have no cycle that can be registered, and are not trained on")
    counts = {f"cells.{outcome.replace(' ', '_')}": count for outcome, count in outcomes.items()}
    splits = {f"cells.{split}": len(cells) for split, cells in data.cell_indices.items()}
    run.dataset("traces", traces.key, str(traces.folder), {"cells": sum(outcomes.values())})
    run.dataset("windows", windows.key, str(windows.folder), counts | splits | {"windows.per_cell": windows.count})


def prepare_module(settings: TrainSettings, data: WindowDataModule, folder: Path) -> tuple[EmulatorModule, Path | None]:
    """Build the network and fit its normaliser to the training cells.

    Returns:
        The module, and the checkpoint of an interrupted run, from which the trainer then takes all numbers.
    """
    pl.seed_everything(settings.seed, verbose=False)
    checkpoint = find_resume_checkpoint(folder)
    with torch.device("meta") if checkpoint else nullcontext():
        network = settings.model(**settings.data_arguments)
    if checkpoint:
        network.to_empty(device="cpu")
    else:
        network.fit_target(data.read_training_vectors())
    specification = settings.specification(data)
    module = EmulatorModule(network, settings.optimizer, specification, settings.schedule, settings.seed)
    return module, checkpoint


def make_callbacks(settings: TrainSettings, data: WindowDataModule, folder: Path, run: Run) -> list[pl.Callback]:
    """Make the callbacks that record prediction figures and test the network at milestones."""

    def log_figure(figure: Figure, epoch: int) -> None:
        run.image(figure, "predictions", epoch)

    def test_milestone() -> dict[str, float]:
        return summarise_errors(measure_test_cells(load_emulator(folder / BEST), data))

    figures = settings.evaluation(data, settings.windowing.time_ms, log_figure)
    return [figures, Milestones(settings.milestones, test_milestone, run.summary)]


def measure_test_cells(emulator: Emulator, data: WindowDataModule) -> pd.DataFrame:
    """Measure an emulator on the test cells, one row per cell."""
    return cell_errors(emulator.window.time_ms, emulator.iter_predictions(data.windows, data.cell_indices[TEST]))


def test_best_network(
    settings: TrainSettings, data: WindowDataModule, folder: Path, run: Run
) -> tuple[dict[str, float], pd.DataFrame]:
    """Smooth, calibrate and test the best network; write the table of errors and a figure of six test cells.

    Returns:
        The metrics, and the errors as `cell_errors` measured them.
    """
    metrics = choose_smoothing(folder / BEST, data) if settings.smoothing else {}
    metrics |= calibrate(folder / BEST, data)
    emulator, test_cells = load_emulator(folder / BEST), data.cell_indices[TEST]
    errors = measure_test_cells(emulator, data)
    table = data.windows.cells.loc[test_cells, ["cell", *data.windows.scaled]].reset_index(drop=True).join(errors)
    with atomic_write(folder / "test_cells.csv") as file:
        table.to_csv(file, index=False)
    run.file(folder / "test_cells.csv")

    path = folder / "figures" / "test.png"
    path.parent.mkdir(exist_ok=True)
    plot_examples(emulator, data.windows, test_cells, errors).savefig(path)
    run.file(path, "figures")
    tested = summarise_errors(errors) | measure_firing(emulator, data)
    return metrics | {f"test/{name}": value for name, value in tested.items()}, errors


def measure_firing(emulator: Emulator, data: WindowDataModule) -> dict[str, float]:
    """Return the accuracy of the firing prediction on all test cells, silent ones included; empty without one."""
    inputs, labels = data.firing_labels(TEST)
    scales, fires = inputs.numpy().astype(np.float64), labels.numpy().astype(bool)
    probability = emulator.fires_probability(scales)
    if probability is None:
        return {}
    accuracy = firing_metrics(scales, fires, probability)["fires_accuracy"]
    return {"fires_accuracy": accuracy, "fires_cells": float(len(fires))}


def record_results(metrics: dict[str, float], folder: Path, run: Run, register: str | None) -> None:
    """Write the final metrics, and record them and the model."""
    with atomic_write(folder / METRICS_FILE) as file:
        file.write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    run.file(folder / METRICS_FILE)
    pages = {"predictions and charts": "model-metrics", "figure of test cells": "artifacts/figures/test.png"}
    run.describe(format_summary(metrics), pages)
    run.model(folder / BEST, register)
