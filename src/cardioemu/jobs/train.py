"""Simulate (once), cut windows, train, test, record: `cardioemu train model.hidden=512 trainer.max_epochs=100`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import METRICS_FILE, TEST_METRIC, VALIDATION_METRIC
from cardioemu.config.build import build, resolved_dict
from cardioemu.config.launch import launch
from cardioemu.config.run_config import CONFIG, check_same_run, save_run_config, with_overrides
from cardioemu.emulator import Emulator, load_emulator
from cardioemu.evaluation import format_test_summary
from cardioemu.jobs.train_steps import make_callbacks, prepare_data, prepare_module, record_results, test_best_network
from cardioemu.models import parameter_table
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.machine import rank
from cardioemu.runtime.progress import log_message
from cardioemu.settings.train import TrainSettings
from cardioemu.simulation import designs
from cardioemu.sweeps.parent_run import sweep_run
from cardioemu.tracking import job_key
from cardioemu.training import BEST, EpochMetrics, TrainingJob, check_epochs_left, fit
from cardioemu.training.active_learning import grow_design


def main() -> None:
    """Run the job as the command line asks."""
    launch("train", train, TrainSettings, sweep=sweep, can_resume=True)


def train(
    settings: TrainSettings, config: DictConfig, folder: Path, callbacks: Sequence[pl.Callback] = ()
) -> dict[str, float]:
    """Train an emulator in one run folder and test it; resume an interrupted run in the folder.

    The callbacks are those of the training in addition to the job's own.

    Returns:
        The final metrics.
    """
    if settings.dry_run:
        return print_plan(settings)
    key = job_key(resolved_dict(config), cell=settings.cell.digest, scales=settings.scales)
    if settings.in_sweep and (finished := settings.tracking.find_finished(key)):
        print(f"already finished: run {finished[0]}, test RMSE {finished[1].get(TEST_METRIC, np.nan):.2f} mV")
        return finished[1]
    check_epochs_left(folder, settings.trainer.max_epochs)
    settings = run_active_learning(settings, config, folder) if settings.active.rounds else settings
    memory = settings.training_job(folder)
    if rank() == 0 and not settings.in_sweep:  # one process checks for all, before any of them takes memory
        check_before_start(settings, config, folder, memory)
        settings.tracking.check()

    lock = folder_lock(folder, "trained", "runs_dir") if rank() == 0 else nullcontext()  # against unrelated processes
    with lock, settings.tracking.run(folder.name, resolved_dict(config), folder, key) as run:
        if settings.in_sweep:  # a job that is refused is recorded as a failed run
            check_before_start(settings, config, folder, memory)
        save_run_config(config, folder)
        run.file(folder / CONFIG)
        data = prepare_data(settings, memory, run)
        module, checkpoint = prepare_module(settings, data, folder)
        epochs = EpochMetrics(run.metrics)
        callbacks = [epochs, *make_callbacks(settings, data, folder, run), *callbacks]
        trainer = settings.trainer.make_trainer(folder, callbacks)
        fit(trainer, module, data, checkpoint)
        if rank() > 0:  # the rest is for one process
            return epochs.last
        best = trainer.checkpoint_callback
        assert isinstance(best, ModelCheckpoint)
        assert best.best_model_score is not None
        tested = {f"{VALIDATION_METRIC}_best": float(best.best_model_score)}
        test_metrics, errors = test_best_network(settings, data, folder, run)
        tested |= test_metrics
        run.summary(tested, trainer.current_epoch if checkpoint else 0)
        metrics = epochs.last | tested
        record_results(metrics, folder, run, settings.tracking.register)
    print(f"\n{format_test_summary(errors, metrics)}")
    print(f"\nrun folder   {folder}\ncompare runs {settings.tracking.ui_location(run)}")
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
    if not (folder / METRICS_FILE).exists():
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
    """Raise a UserError if the folder is another run's, or if the training does not fit into memory and disk.

    With `memory_check=warn`, print the latter instead.
    """
    check_same_run(config, folder)
    if shortfall := memory.shortfall_message():
        if settings.memory_check == "refuse":
            raise UserError(shortfall)
        log_message(shortfall)


def sweep(settings: TrainSettings, overrides: Sequence[str]) -> AbstractContextManager[list[str]]:
    """Return the parent run of a sweep, which yields overrides for its jobs.

    Raises:
        UserError: each job would be trained by several processes.
    """
    if settings.trainer.processes > 1:
        raise UserError(
            "trainer.devices: a sweep trains each run in one process; set trainer.devices=1 and trainer.nodes=1, or "
            "leave out -m"
        )
    return nullcontext([]) if settings.dry_run else sweep_run(settings.tracking, settings.runs_dir, overrides)
