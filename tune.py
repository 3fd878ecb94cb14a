"""Search for good settings: `python tune.py sweep=lstm trials=20 workers=2 trainer.max_epochs=50`."""

import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from omegaconf import DictConfig
from optuna.trial import Trial

from cardioemu.common.errors import UserError
from cardioemu.config.config import build, compose_config, validate_command_line
from cardioemu.config.launch import launch
from cardioemu.config.overrides import quote_value
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.machine import available_cores
from cardioemu.runtime.progress import log_message, progress_bar
from cardioemu.settings.train import TrainSettings
from cardioemu.settings.tune import TuneSettings
from cardioemu.sweeps.parent_run import format_table, summarise_sweep, sweep_folder
from cardioemu.sweeps.search import VALIDATION_METRIC, Search, SearchSpace, Value, report_epoch, trial_overrides
from cardioemu.tracking import parent_reference
from cardioemu.training import PruningCallback
from train import train

CONF = Path(__file__).parent / "conf"
OWN = ("sweep", "trials", "workers", "warmup_epochs")  # what a single training is not told
SECONDS = 1.0  # between two looks at how far the workers are


def tune(config: DictConfig, _: Path) -> None:
    """Runs trials until there are as many as asked for, or goes on with those of the same search before."""
    told = build(config, TuneSettings)
    fixed = [o for o in sys.argv[1:] if o.partition("=")[0].split(".")[0] not in OWN]
    check_space(told, fixed)
    told.tracking.check()
    space = sorted(f"{address}: {part}" for address, part in told.sweep.items())
    folder = sweep_folder(told.runs_dir, told.tracking, [*sorted(fixed), *space, str(told.warmup_epochs)])
    title = f"search {' '.join(told.sweep)}"
    with folder_lock(folder, "searched", "runs_dir"), told.tracking.run(title, {"sweep": title}, folder) as parent:
        search = Search(folder, told.sweep, told.seed, told.warmup_epochs)
        more = [*fixed, f"tracking.parent_run_id={quote_value(parent_reference(parent))}"]
        try:
            run_workers(told, search, more)
        finally:
            if (table := summarise_sweep(told.tracking, parent)) is not None:
                print(format_table(table, folder))
            if best := search.best():
                line = shlex.join(["python", "train.py", *fixed, *trial_overrides(best.params)])
                print(
                    f"\nbest of {len(search.trials())} trials: {best.number}, {VALIDATION_METRIC} {best.value:.3f}\n{line}"
                )
                with atomic_write(folder / "best.txt") as file:
                    file.write_text(line + "\n", encoding="utf-8")
                parent.file(folder / "best.txt")


def check_space(told: TuneSettings, fixed: Sequence[str]) -> None:
    """Builds a training with every end of the space.

    Raises:
        UserError: what is wrong with them, one sentence each.
    """
    sentences = []
    for address, part in told.sweep.items():
        for value in part.extremes:
            try:
                validate_command_line(CONF, "train", [*fixed, *trial_overrides({address: value})], False, TrainSettings)
            except UserError as error:
                sentences += str(error).splitlines()
    if sentences:
        raise UserError("\n".join(dict.fromkeys(sentences)))


def run_workers(told: TuneSettings, search: Search, overrides: Sequence[str]) -> None:
    """Starts the workers, each with its share of the cores, and waits for them.

    Raises:
        UserError: one of them died; what it was at is taken up by the same command.
    """
    os.environ["OMP_NUM_THREADS"] = str(max(1, available_cores() // told.workers))
    spawn = multiprocessing.get_context("spawn")
    arguments = (search.folder, told.sweep, told.seed, told.warmup_epochs, told.trials, list(overrides))
    workers = [spawn.Process(target=run_worker, args=arguments) for _ in range(told.workers)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for worker in workers:
        worker.start()
    try:
        with progress_bar(told.trials, "search", "trial") as bar:
            while any(worker.is_alive() for worker in workers):
                for worker in workers:
                    worker.join(SECONDS)
                bar.update(sum(trial.state.is_finished() for trial in search.trials()) - bar.n)
    finally:
        for worker in workers:  # if they are still at work, they end their runs as killed
            worker.terminate()
            worker.join()
    if died := [worker.exitcode for worker in workers if worker.exitcode]:
        raise UserError(
            f"workers: {len(died)} of {told.workers} died (exit status {died[0]}); run the same command again"
        )


def run_worker(
    folder: Path, space: SearchSpace, seed: int, warmup_epochs: int, trials: int, overrides: Sequence[str]
) -> None:
    """Runs trial after trial until none is left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    search = Search(folder, space, seed, warmup_epochs)
    with suppress(KeyboardInterrupt):
        while parent_lives() and (claimed := search.next_trial(trials)):
            trial, values = claimed
            with search.record_trial(trial) as found:
                try:
                    metrics = run_trial(trial, values, folder / f"trial-{trial.number}", overrides)
                    found[VALIDATION_METRIC] = metrics[f"{VALIDATION_METRIC}_best"]
                except Exception as error:
                    log_message(f"trial {trial.number}: {error}")
                    raise


def parent_lives() -> bool:
    """Returns whether the process that started this worker is still there."""
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


def run_trial(trial: Trial, values: Mapping[str, Value], folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Trains with the settings of a trial, from where it stood if it was begun before, and returns the metrics."""
    own = trial_overrides(values)
    config = compose_config(CONF, "train", [*overrides, *own, f"tracking.run_name={quote_value(','.join(own))}"])
    return train(config, folder, [PruningCallback(partial(report_epoch, trial))])


def refuse_sweep(*_: object) -> NoReturn:
    """Refuses -m.

    Raises:
        UserError: always.
    """
    raise UserError("tune: a search is no sweep; give its settings under sweep, without -m")


if __name__ == "__main__":
    launch(tune, CONF, TuneSettings, sweep=refuse_sweep)
