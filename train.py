"""Simulate (once), window, train, test, log: `python train.py model.hidden=512 trainer.max_epochs=100`."""

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
from omegaconf import DictConfig

from cardioemu.common.errors import UserError
from cardioemu.comparison.measure import plot_examples
from cardioemu.config.config import (
    build,
    check_same_run,
    open_run_to_resume,
    resolved_dict,
    save_run_config,
    with_overrides,
)
from cardioemu.config.launch import launch
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


def train(config: DictConfig, folder: Path, watched: Sequence[pl.Callback] = ()) -> dict[str, float]:
    """Runs the whole job in one run folder, `watched` by callbacks of its training, and returns its final metrics."""
    settings = build(config, TrainSettings)
    if settings.dry_run:
        return print_plan(settings)
    key = job_key(resolved_dict(config), Path(__file__), cell=settings.cell.digest, scales=settings.scales)
    if settings.in_sweep and (done := settings.tracking.find_finished(key)):
        print(f"done before: run {done[0]}, test RMSE {done[1].get(TEST_METRIC, np.nan):.2f} mV")
        return done[1]
    check_epochs(folder, settings.trainer.keywords["max_epochs"])
    if settings.active.rounds:
        settings = run_active_learning(config, settings, folder)
    memory = settings.training_job(folder)
    if rank() == 0 and not settings.in_sweep:  # the first process looks for all, while there is what they will take
        check_before_start(config, folder, memory, settings)
        settings.tracking.check()

    with lock_run_folder(folder), settings.tracking.run(folder.name, resolved_dict(config), folder, key) as run:
        if settings.in_sweep:  # a job that cannot be done is one of its runs, too
            check_before_start(config, folder, memory, settings)
        save_run_config(config, folder)
        traces = settings.traces()
        windows = build_window_set(traces, settings.windowing, settings.data_dir / "windows")
        cycles = CycleRule(settings.windowing.settle_ms) if settings.trained_on == "cycles" else None
        registered = build_window_set(traces, cycles, settings.data_dir / "windows") if cycles else None
        data = WindowDataModule(windows, settings.data, registered)
        found = replace(memory, batch_size=data.largest_batch).preflight()
        data.memory_budget = found.window_budget
        print(replace(found, held=data.cached_bytes))
        describe_data(data, traces, run)

        pl.seed_everything(settings.seed, verbose=False)
        begun = find_resume_checkpoint(folder)
        module = make_module(settings, data, begun is not None)
        figures = settings.evaluation(
            data, settings.windowing.time_ms, lambda f, epoch: run.image(f, "prediction", epoch)
        )
        epochs = EpochMetrics(run.metrics)
        milestones = Milestones(
            settings.milestones, lambda: summarise_errors(measure(load_emulator(folder / BEST), data)), run.metrics
        )
        trainer = settings.trainer(folder, [epochs, figures, milestones, *watched])
        fit(trainer, module, data, begun)
        if rank() > 0:  # the rest is for one process
            return epochs.last

        metrics = epochs.last | {"val/rmse_mV_best": float(trainer.checkpoint_callbacks[0].best_model_score)}
        if settings.smoothing:
            metrics |= choose_smoothing(folder / BEST, data)
        metrics |= calibrate(folder / BEST, data)
        metrics |= evaluate_test_part(data, folder, run)
        with atomic_write(folder / METRICS) as file:
            file.write_text(json.dumps(metrics, indent=2), encoding="utf-8")
        run.metrics({name: value for name, value in metrics.items() if name not in epochs.last}, trainer.current_epoch)
        for name in ("config.yaml", METRICS):
            run.file(folder / name)
        run.model(folder / BEST, settings.tracking.register)
    print(f"\nrun folder   {folder}\n{format_headline(metrics)}\ncompare runs {settings.tracking.ui_location(run)}")
    return metrics


def run_active_learning(config: DictConfig, settings: TrainSettings, folder: Path) -> TrainSettings:
    """Lets emulators choose more cells, and returns the settings of a training on all of them."""
    check_same_run(config, folder)
    save_run_config(config, folder)  # that the rounds can be gone on with
    active, scales, scaled = settings.active, settings.scales, settings.cell.scaled
    try:
        path = grow_design(active, scales, scaled, folder, partial(train_round, config, settings))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped; resume={folder} goes on with the round it was at") from error
    return replace(settings, design=partial(designs.from_file, path=path), active=replace(active, rounds=0))


def train_round(config: DictConfig, settings: TrainSettings, design: Path, folder: Path) -> Emulator:
    """Trains an emulator that is to choose more cells, unless it was trained before."""
    if not (folder / METRICS).exists():
        epochs = settings.active.max_epochs
        own = {
            "active.rounds": 0,
            "design": {"_target_": "cardioemu.simulation.designs.from_file", "_partial_": True, "path": str(design)},
            "trainer.max_epochs": epochs,
            "tracking.run_name": "-".join(folder.parts[-3:]),
            "tracking.parent_run_id": None,  # a sweep lists what comes of the rounds
        }
        if "T_max" in config.schedule:  # a cosine ends with the training, also where a saved config says of which
            own["schedule.T_max"] = epochs
        train(with_overrides(config, own), folder)
    return load_emulator(folder / BEST)


def check_before_start(config: DictConfig, folder: Path, memory: TrainingJob, settings: TrainSettings) -> None:
    """Sees to it that the job can be done, before it begins.

    Raises:
        UserError: the folder is another run's, or the training cannot fit.
    """
    check_same_run(config, folder)
    check_memory(memory, settings)


def print_plan(settings: TrainSettings) -> dict[str, float]:
    """Prints what the job would do; the network is built without memory for its weights."""
    scales, simulator = settings.scales, settings.simulator
    after = f" after {simulator.transient_ms / 1000:g} s" if simulator.transient_ms else ""
    distinct = len(np.unique(scales, axis=0))
    print(f"simulate {len(scales)} cells of {simulator.duration_ms / 1000:g} s{after}, {distinct} of them distinct")
    print(
        f"cut {settings.windowing.count} windows of {settings.windowing.output_samples} samples from each cell that fires"
    )
    table = parameter_table(settings.meta_network)
    print(table.to_string())
    memory = settings.training_job(settings.runs_dir)
    print(memory.preflight())
    if sentence := memory.shortfall_message():
        log_message(sentence)
    return {"parameters": float(table["parameters"]["total"])}


def check_memory(memory: TrainingJob, settings: TrainSettings) -> None:
    """Refuses a training that cannot fit, before any of it is allocated, or warns.

    Raises:
        UserError: it does not fit, and nobody wants it all the same.
    """
    if sentence := memory.shortfall_message():
        if settings.memory_check == "refuse":
            raise UserError(sentence)
        log_message(sentence)


def describe_data(data: WindowDataModule, traces: TraceStore, run: Run) -> None:
    """Says where the windows come from and what became of every cell: those without stay in the store."""
    windows, outcomes = data.windows, data.windows.count_outcomes()
    print(f"{sum(outcomes.values())} cells: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    print("cells with windows: " + ", ".join(f"{len(rows)} {part}" for part, rows in data.rows.items()))
    if data.unregistered:
        print(f"{data.unregistered} cells with windows have no cycle that can be registered, and do not train")
    counts = {f"cells.{outcome.replace(' ', '_')}": count for outcome, count in outcomes.items()}
    parts = {f"cells.{part}": len(rows) for part, rows in data.rows.items()}
    run.params({"traces.key": traces.key, "windows.key": windows.key} | counts | parts)
    run.dataset("traces", traces.key, str(traces.folder), {"cells": sum(outcomes.values())})
    run.dataset("windows", windows.key, str(windows.folder), counts | parts | {"windows.per_cell": windows.count})


def make_module(settings: TrainSettings, data: WindowDataModule, begun: bool) -> EmulatorModule:
    """Builds the network, fits its normaliser to the training part, and notes what its inputs and outputs mean.

    Of a run that has begun a checkpoint has all numbers: none are drawn or fitted.
    """
    with torch.device("meta") if begun else nullcontext():
        network = settings.model(**settings.data_arguments)
    if begun:
        network.to_empty(device="cpu")
    else:
        network.fit_target(data.training_rows())
        network.condition(data.training_scales, data.training_rows())
    return EmulatorModule(network, settings.optimizer, settings.specification(data), settings.schedule, settings.seed)


def measure(emulator: Emulator, data: WindowDataModule) -> pd.DataFrame:
    """Measures an emulator on the test part, cell by cell."""
    return cell_errors(emulator.window.time_ms, emulator.iter_predictions(data.windows, data.rows[TEST]))


def evaluate_test_part(data: WindowDataModule, folder: Path, run: Run) -> dict[str, float]:
    """Tests the best network, keeps the table of its errors, and draws its best, middle and worst cells."""
    emulator, rows = load_emulator(folder / BEST), data.rows[TEST]
    errors = measure(emulator, data)
    table = data.windows.cells.loc[rows, ["cell", *data.windows.scaled]].reset_index(drop=True).join(errors)
    with atomic_write(folder / "test_cells.csv") as file:
        table.to_csv(file, index=False)
    run.file(folder / "test_cells.csv")

    path = folder / "figures" / "test.png"
    path.parent.mkdir(exist_ok=True)
    plot_examples(emulator, data.windows, rows, errors).savefig(path)
    run.file(path, "figures")
    return {f"test/{name}": value for name, value in summarise_errors(errors).items()}


def lock_run_folder(folder: Path) -> AbstractContextManager[None]:
    """Keeps other processes out of the run folder, except those that train with this one."""
    return folder_lock(folder, "trained", "runs_dir") if rank() == 0 else nullcontext()


@contextmanager
def sweep(settings: TrainSettings, overrides: Sequence[str]) -> Iterator[list[str]]:
    """Opens the run that the runs of a sweep stand under.

    Raises:
        UserError: its runs are to be trained by several processes each.
    """
    if settings.processes > 1:
        raise UserError("trainer.devices: a sweep trains each run in one process; give 1 device on 1 node, or no -m")
    if settings.dry_run:
        yield []
        return
    with sweep_run(settings.tracking, settings.runs_dir, overrides) as more:
        yield more


if __name__ == "__main__":
    launch(train, Path(__file__).parent / "conf", TrainSettings, sweep=sweep, resume=open_run_to_resume)
