"""Simulate (once), cut windows, train, test, record: `cardioemu train model.hidden=512 trainer.max_epochs=100`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from cardioemu.common.errors import UserError
from cardioemu.comparison.measure import plot_examples
from cardioemu.config.build import build, resolved_dict
from cardioemu.config.launch import launch
from cardioemu.config.run_config import check_same_run, save_run_config, with_overrides
from cardioemu.data import TEST, WindowDataModule
from cardioemu.emulator import Emulator, load_emulator
from cardioemu.evaluation import cell_errors, format_headline, summarise_errors
from cardioemu.models import parameter_table
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.machine import rank
from cardioemu.runtime.progress import log_message
from cardioemu.settings.train import TrainSettings
from cardioemu.simulation import TraceStore, designs
from cardioemu.sweeps.parent_run import TEST_METRIC, sweep_run
from cardioemu.tracking import Run, job_key
from cardioemu.training import (
    BEST,
    EmulatorModule,
    EpochMetrics,
    Milestones,
    TrainingJob,
    calibrate,
    check_epochs,
    choose_smoothing,
    find_resume_checkpoint,
    fit,
)
from cardioemu.training.active_learning import grow_design
from cardioemu.windowing import CycleRule, build_window_set

METRICS = "metrics.json"


def main() -> None:
    """Run the job as the command line asks."""
    launch("train", train, TrainSettings, sweep=sweep, can_resume=True)


def train(
    settings: TrainSettings, config: DictConfig, folder: Path, callbacks: Sequence[pl.Callback] = ()
) -> dict[str, float]:
    """Train an emulator in one run folder and test it.

    Args:
        settings: built from the config.
        config: saved in the run folder.
        folder: the run folder; an interrupted run in it is resumed.
        callbacks: of the training, in addition to the job's own.

    Returns:
        The final metrics.
    """
    if settings.dry_run:
        return print_plan(settings)
    key = job_key(resolved_dict(config), cell=settings.cell.digest, scales=settings.scales)
    if settings.in_sweep and (finished := settings.tracking.find_finished(key)):
        print(f"already finished: run {finished[0]}, test RMSE {finished[1].get(TEST_METRIC, np.nan):.2f} mV")
        return finished[1]
    check_epochs(folder, settings.trainer.keywords["max_epochs"])
    settings = run_active_learning(settings, config, folder) if settings.active.rounds else settings
    memory = settings.training_job(folder)
    if rank() == 0 and not settings.in_sweep:  # one process checks for all, before any of them takes memory
        check_before_start(settings, config, folder, memory)
        settings.tracking.check()

    with lock_run_folder(folder), settings.tracking.run(folder.name, resolved_dict(config), folder, key) as run:
        if settings.in_sweep:  # a job that is refused is recorded as a failed run
            check_before_start(settings, config, folder, memory)
        save_run_config(config, folder)
        data = prepare_data(settings, memory, run)
        module, checkpoint = prepare_module(settings, data, folder)
        epochs = EpochMetrics(run.metrics)
        trainer = make_trainer(settings, data, folder, run, [epochs, *callbacks])
        fit(trainer, module, data, checkpoint)
        if rank() > 0:  # the rest is for one process
            return epochs.last
        best = trainer.checkpoint_callback
        assert isinstance(best, ModelCheckpoint)
        assert best.best_model_score is not None
        tested = {"val/rmse_mV_best": float(best.best_model_score)}
        tested |= test_best_network(settings, data, folder, run)
        run.metrics(tested, trainer.current_epoch)
        metrics = epochs.last | tested
        record_results(metrics, folder, run, settings.tracking.register)
    print(f"\nrun folder   {folder}\n{format_headline(metrics)}\ncompare runs {settings.tracking.ui_location(run)}")
    return metrics


def print_plan(settings: TrainSettings) -> dict[str, float]:
    """Print what the job would do; the network is built without memory for its weights."""
    scales, simulator = settings.scales, settings.simulator
    transient = f" after {simulator.transient_ms / 1000:g} s" if simulator.transient_ms else ""
    distinct = len(np.unique(scales, axis=0))
    print(f"simulate {len(scales)} cells of {simulator.duration_ms / 1000:g} s{transient}, {distinct} of them distinct")
    rule = settings.windowing
    print(f"cut {rule.count} windows of {rule.output_samples} samples from each cell that fires")
    table = parameter_table(settings.meta_network)
    print(table.to_string())
    memory = settings.training_job(settings.runs_dir)
    print(memory.preflight())
    if shortfall := memory.shortfall_message():
        log_message(shortfall)
    return {"parameters": float(table["parameters"]["total"])}


def run_active_learning(settings: TrainSettings, config: DictConfig, folder: Path) -> TrainSettings:
    """Grow the design by rounds of active learning; return the settings of a training on the whole design."""
    check_same_run(config, folder)
    save_run_config(config, folder)  # by which the rounds can be resumed
    active = settings.active
    try:
        path = grow_design(
            active, settings.scales, settings.cell.scaled, folder, partial(train_round, settings, config)
        )
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped; resume={folder} resumes the interrupted round") from error
    return replace(settings, design=partial(designs.from_file, path=path), active=replace(active, rounds=0))


def train_round(settings: TrainSettings, config: DictConfig, design: Path, folder: Path) -> Emulator:
    """Train the emulator that selects the next cells, or load the one trained before."""
    if not (folder / METRICS).exists():
        epochs = settings.active.max_epochs
        changes = {
            "active.rounds": 0,
            "design": {"_target_": "cardioemu.simulation.designs.from_file", "_partial_": True, "path": str(design)},
            "trainer.max_epochs": epochs,
            "tracking.run_name": "-".join(folder.parts[-3:]),
            "tracking.parent_run_id": None,  # the table of a sweep leaves rounds out
        }
        if "T_max" in config.schedule:  # a saved config holds the cosine's length by value
            changes["schedule.T_max"] = epochs
        round_config = with_overrides(config, changes)
        train(build(round_config, TrainSettings), round_config, folder)
    return load_emulator(folder / BEST)


def check_before_start(settings: TrainSettings, config: DictConfig, folder: Path, memory: TrainingJob) -> None:
    """Check that the job can run: its folder is no other run's, and it fits into memory and disk.

    Raises:
        UserError: the folder belongs to another run, or the training does not fit and `memory_check` is "refuse".
    """
    check_same_run(config, folder)
    if shortfall := memory.shortfall_message():
        if settings.memory_check == "refuse":
            raise UserError(shortfall)
        log_message(shortfall)


def lock_run_folder(folder: Path) -> AbstractContextManager[None]:
    """Keep other processes out of the run folder, except those that train with this one."""
    return folder_lock(folder, "trained", "runs_dir") if rank() == 0 else nullcontext()


def prepare_data(settings: TrainSettings, memory: TrainingJob, run: Run) -> WindowDataModule:
    """Simulate, cut windows and split them, or open what was made before; print and record what there is."""
    traces = settings.traces()
    windows = build_window_set(traces, settings.windowing, settings.data_dir / "windows")
    cycles = None
    if settings.trained_on == "cycles":
        rule = CycleRule(settings.windowing.settle_ms)
        cycles = build_window_set(traces, rule, settings.data_dir / "windows")
    data = WindowDataModule(windows, settings.data, cycles)
    preflight = replace(memory, batch_size=data.largest_batch).preflight()
    data.memory_budget = preflight.window_budget
    print(replace(preflight, held=data.cached_bytes))
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
    run.params({"traces.key": traces.key, "windows.key": windows.key} | counts | splits)
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
        network.condition(data.training_scales, data.read_training_vectors())
    specification = settings.specification(data)
    module = EmulatorModule(network, settings.optimizer, specification, settings.schedule, settings.seed)
    return module, checkpoint


def make_trainer(
    settings: TrainSettings, data: WindowDataModule, folder: Path, run: Run, callbacks: Sequence[pl.Callback]
) -> pl.Trainer:
    """Make the trainer, with prediction figures and tests at milestones."""

    def log_figure(figure: Figure, epoch: int) -> None:
        run.image(figure, "prediction", epoch)

    def test_milestone() -> dict[str, float]:
        return summarise_errors(measure_test_cells(load_emulator(folder / BEST), data))

    figures = settings.evaluation(data, settings.windowing.time_ms, log_figure)
    milestones = Milestones(settings.milestones, test_milestone, run.metrics)
    first, *others = callbacks
    trainer: pl.Trainer = settings.trainer(folder, [first, figures, milestones, *others])
    return trainer


def measure_test_cells(emulator: Emulator, data: WindowDataModule) -> pd.DataFrame:
    """Measure an emulator on the test cells, one row per cell."""
    return cell_errors(emulator.window.time_ms, emulator.iter_predictions(data.windows, data.cell_indices[TEST]))


def test_best_network(settings: TrainSettings, data: WindowDataModule, folder: Path, run: Run) -> dict[str, float]:
    """Smooth, calibrate and test the best network; write the table of errors and a figure of six test cells."""
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
    return metrics | {f"test/{name}": value for name, value in summarise_errors(errors).items()}


def record_results(metrics: dict[str, float], folder: Path, run: Run, register: str | None) -> None:
    """Write the final metrics, and record them, the config and the model."""
    with atomic_write(folder / METRICS) as file:
        file.write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    for name in ("config.yaml", METRICS):
        run.file(folder / name)
    run.model(folder / BEST, register)


@contextmanager
def sweep(settings: TrainSettings, overrides: Sequence[str]) -> Iterator[list[str]]:
    """Open the parent run of a sweep; yield overrides for its jobs.

    Raises:
        UserError: each job would be trained by several processes.
    """
    if settings.processes > 1:
        raise UserError(
            "trainer.devices: a sweep trains each run in one process; set trainer.devices=1 and trainer.nodes=1, or "
            "leave out -m"
        )
    if settings.dry_run:
        yield []
        return
    with sweep_run(settings.tracking, settings.runs_dir, overrides) as more:
        yield more
