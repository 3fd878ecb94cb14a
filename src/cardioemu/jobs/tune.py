"""Search for good settings of a training: `cardioemu tune sweep=lstm trials=20 workers=2 trainer.max_epochs=50`."""

import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from omegaconf import DictConfig
from optuna.trial import Trial

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.common.text import plural
from cardioemu.config.build import build
from cardioemu.config.compose import compose_config, validate_command_line
from cardioemu.config.launch import launch
from cardioemu.config.overrides import quote_value
from cardioemu.jobs.train import train
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.machine import available_cores
from cardioemu.runtime.progress import log_message, progress_bar
from cardioemu.settings.train import TrainSettings
from cardioemu.settings.tune import TuneSettings
from cardioemu.sweeps.parent_run import format_runs, summarise_sweep, sweep_folder
from cardioemu.sweeps.search import Search, Value, report_epoch, trial_overrides
from cardioemu.tracking import Run, parent_reference
from cardioemu.training import PruningCallback

SEARCH_SETTINGS = ("sweep", "trials", "workers", "warmup_epochs")  # the others belong to every training
POLL_INTERVAL_S = 1.0


def main() -> None:
    """Run the job as the command line asks."""
    launch("tune", tune, TuneSettings, sweep=refuse_sweep)


def tune(settings: TuneSettings, config: DictConfig, folder: Path) -> None:
    """Run the trials of a search that are missing; config and run folder are not used."""
    overrides = [o for o in sys.argv[1:] if o.partition("=")[0].split(".")[0] not in SEARCH_SETTINGS]
    check_search_space(settings, overrides)
    settings.tracking.check()
    space = sorted(f"{address}: {dimension}" for address, dimension in settings.sweep.items())
    facts = [*sorted(overrides), *space, str(settings.warmup_epochs)]
    folder = sweep_folder(settings.runs_dir, settings.tracking, facts)
    title = f"search {' '.join(settings.sweep)}"
    with folder_lock(folder, "searched", "runs_dir"), settings.tracking.run(title, {"sweep": title}, folder) as parent:
        parent.view(list(settings.sweep))
        open_search = partial(Search, folder, settings.sweep, settings.seed, settings.warmup_epochs)
        search = open_search()
        try:
            of_parent = f"tracking.parent_run_id={quote_value(parent_reference(parent))}"
            run_workers(settings, search, partial(run_worker, open_search, settings.trials, [*overrides, of_parent]))
        finally:
            if (table := summarise_sweep(settings.tracking, parent)) is not None:
                print(format_runs(table, folder))
            record_best(search, overrides, parent)


def check_search_space(settings: TuneSettings, overrides: Sequence[str]) -> None:
    """Build a training with each end of every dimension of the search space.

    Raises:
        UserError: what is wrong with them, one sentence each.
    """
    sentences = []
    for address, dimension in settings.sweep.items():
        for value in dimension.extremes:
            try:
                validate_command_line("train", [*overrides, *trial_overrides({address: value})], False, TrainSettings)
            except UserError as error:
                sentences += str(error).splitlines()
    if sentences:
        raise UserError("\n".join(dict.fromkeys(sentences)))


def run_workers(settings: TuneSettings, search: Search, work: Callable[[], None]) -> None:
    """Start the workers, each with its share of the cores, and wait for them.

    Raises:
        UserError: a worker died; the same command resumes its trial.
    """
    os.environ["OMP_NUM_THREADS"] = str(max(1, available_cores() // settings.workers))
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work) for _ in range(settings.workers)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for worker in workers:
        worker.start()
    try:
        with progress_bar(settings.trials, "search", "trial") as bar:
            while any(worker.is_alive() for worker in workers):
                for worker in workers:
                    worker.join(POLL_INTERVAL_S)
                bar.update(sum(trial.state.is_finished() for trial in search.trials()) - bar.n)
    finally:
        for worker in workers:  # those still alive record their runs as killed
            worker.terminate()
            worker.join()
    if statuses := [worker.exitcode for worker in workers if worker.exitcode]:
        raise UserError(
            f"workers: {len(statuses)} of {plural(settings.workers, 'worker')} died (exit status {statuses[0]}); run "
            "the same command again to resume"
        )


def run_worker(open_search: Callable[[], Search], trials: int, overrides: Sequence[str]) -> None:
    """Run one trial after another until none is left, or the process that started this worker has ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    search, parent = open_search(), multiprocessing.parent_process()
    with suppress(KeyboardInterrupt):
        while (parent is None or parent.is_alive()) and (claimed := search.next_trial(trials)):
            trial, values = claimed
            with search.record_trial(trial) as result:
                try:
                    metrics = run_trial(trial, values, search.folder / f"trial-{trial.number}", overrides)
                    result[VALIDATION_METRIC] = metrics[f"{VALIDATION_METRIC}_best"]
                except Exception as error:
                    log_message(f"trial {trial.number}: {error}")
                    raise


def run_trial(trial: Trial, values: Mapping[str, Value], folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Train with the settings of a trial, resuming an interrupted one; return the metrics."""
    own = trial_overrides(values)
    config, _ = compose_config("train", [*overrides, *own, f"tracking.run_name={quote_value(','.join(own))}"])
    return train(build(config, TrainSettings), config, folder, [PruningCallback(partial(report_epoch, trial))])


def record_best(search: Search, overrides: Sequence[str], parent: Run) -> None:
    """Print the command of the best trial, and record it."""
    if best := search.best():
        line = shlex.join(["cardioemu", "train", *overrides, *trial_overrides(best.params)])
        trials = plural(len(search.trials()), "trial")
        print(f"\nbest of {trials}: trial {best.number}, {VALIDATION_METRIC} {best.value:.3f}\n{line}")
        with atomic_write(search.folder / "best.txt") as file:
            file.write_text(line + "\n", encoding="utf-8")
        parent.file(search.folder / "best.txt")


def refuse_sweep(*_: object) -> NoReturn:
    """Raise a UserError: a search takes no -m."""
    raise UserError("tune: a search takes no -m; describe what it varies by sweep=NAME, a file in conf/sweep/")
