"""All networks on the same cells for the same time: how their errors fall with cells, and with time.

    python experiments/emulators/networks.py FOLDER [MINUTES ...]

Trains every network on 256 to 16 384 Sobol cells for 2 minutes of one core each, and on 4 096 cells for the other
MINUTES, as many at once as there are cores, and measures all on 2 000 cells of another seed. FOLDER keeps everything;
the same command goes on with the trainings that were stopped, from their beginning, for what is compared is time. One
that fails is told of, and tried again by the same command. Leaves `networks.csv` and `networks.png` in FOLDER, and
prints the table.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from omegaconf import DictConfig

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from cardioemu import load_emulator  # noqa: E402
from cardioemu.comparison.measure import Candidate, exclude_training_cells, indices_with_windows, measure  # noqa: E402
from cardioemu.config.build import build  # noqa: E402
from cardioemu.config.compose import compose_config  # noqa: E402
from cardioemu.config.run_config import with_overrides  # noqa: E402
from cardioemu.jobs.train import train  # noqa: E402
from cardioemu.runtime.files import atomic_write  # noqa: E402
from cardioemu.runtime.machine import available_cores  # noqa: E402
from cardioemu.runtime.progress import log_message  # noqa: E402
from cardioemu.settings.train import TrainSettings  # noqa: E402
from cardioemu.windowing import CycleRule, build_window_set  # noqa: E402

CELLS, MIDDLE, MINUTES = (256, 1024, 4096, 16384), 4096, 2.0
VALIDATIONS, TRIED_STEPS = 10, 60
SPLIT = ["data.validation=0.1", "data.test=0.02"]
LSTM = ["optimizer=rmsprop", "schedule=constant", "data.batch_size=32"]  # as the seed was trained
NETWORKS = {
    "registered": ["model=registered", "optimizer.lr=0.005"],
    "mlp, components": ["model=mlp", "model.target=components"],
    "mlp, samples": ["model=mlp"],
    "decoder": ["model=decoder"],
    "coordinate": ["model=coordinate"],
    "lstm": ["model=lstm", *LSTM],
    "lstm2": ["model=lstm2", *LSTM],
    "lstm3": ["model=lstm3", *LSTM],
}
TEST = ["design.n=2000", "design.seed=7", "solver.rtol=1e-6"]
JOB = ("network", "cells", "budget (min)")
KEPT = {
    "windows, median (mV)": "rmse_mV_median",
    "95 % (mV)": "rmse_mV_p95",
    "first cycle, median (mV)": "cycle_rmse_mV_median",
    "95 % of these (mV)": "cycle_rmse_mV_p95",
    "APD90 (ms)": "apd90_median_error_ms",
    "CL (ms)": "cycle_length_error_ms_median",
    "fires": "fires_accuracy",
}


class Stopwatch(pl.Callback):
    """When each batch of a training was done, on a watch that stands still while it validates."""

    def __init__(self) -> None:
        self.ends_s: list[float] = []
        self.stood_s = 0.0

    def on_train_batch_end(self, *_: object) -> None:
        """Note the time."""
        self.ends_s.append(time.perf_counter() - self.stood_s)

    def on_validation_start(self, *_: object) -> None:
        """Stop the watch."""
        self.stopped_s = time.perf_counter()

    def on_validation_end(self, *_: object) -> None:
        """Lets it go on."""
        self.stood_s += time.perf_counter() - self.stopped_s

    @property
    def minutes(self) -> float:
        """How long it took, had the first batch, which is slow, been like the others."""
        count = len(self.ends_s)
        return (self.ends_s[-1] - self.ends_s[0]) / 60 * count / (count - 1)


def config_of(folder: Path, network: str, *design_of_cells: str) -> DictConfig:
    """Composes the training of a network on a Sobol design."""
    given = [*design_of_cells, *SPLIT, f"data_dir={folder / 'data'}"]
    config, _ = compose_config("train", ["experiment=steady", *NETWORKS[network], *given])
    return config


def simulated(folder: Path) -> None:
    """Simulate and cut what all trainings share, on all cores, before they begin."""
    for of_cells in (*([f"design.n={cells}"] for cells in CELLS), TEST):
        settings = build(config_of(folder, "registered", *of_cells), TrainSettings)
        traces = settings.traces()
        for rule in (settings.windowing, CycleRule(settings.windowing.settle_ms)):
            build_window_set(traces, rule, settings.data_dir / "windows")


def trained(folder: Path, network: str, cells: int, minutes: float) -> tuple[Path, float]:
    """Trains a network for about so long; returns its best checkpoint, and how many minutes it took."""
    config = config_of(folder, network, f"design.n={cells}")

    def run(name: str, epochs: int, every: int) -> tuple[Path, float]:
        watch, here = Stopwatch(), folder / "runs" / network.replace(", ", "-") / f"{cells}-{name}"
        own = {
            "trainer.max_epochs": epochs,
            "trainer.validate_every": every,
            "tracking.run_name": "-".join(here.parts[-2:]),
        }
        shutil.rmtree(here, ignore_errors=True)
        changed = with_overrides(config, own)
        train(build(changed, TrainSettings), changed, here, [watch])
        return here / "best.ckpt", watch.minutes

    tried = max(1, round(TRIED_STEPS * config.data.batch_size / cells))
    _, took = run("trial", tried, tried)
    every = max(1, round(tried * minutes / took / VALIDATIONS))
    epochs = every * max(1, round(tried * minutes / took / every))
    return run(f"{minutes:g}min", epochs, every)


def measured(folder: Path, checkpoint: Path) -> dict[str, float]:
    """Measures an emulator on the test cells."""
    emulator, settings = load_emulator(checkpoint), build(config_of(folder, "registered", *TEST), TrainSettings)
    windows = build_window_set(settings.traces(), settings.windowing, settings.data_dir / "windows")
    cells = exclude_training_cells(windows, [emulator])
    subjects = {"": Candidate(emulator, windows, emulator.window.time_ms)}
    found = measure(subjects, cells, indices_with_windows(cells, [windows]), emulator.specification.design.numpy())
    return found.metrics[""]


def draw(table: pd.DataFrame) -> Figure:
    """Draws the error against the number of cells, and against time."""
    figure = Figure(figsize=(10.4, 4.2), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2, sharey=True)
    for network, rows in table.groupby("network", sort=False):
        of_cells, of_time = rows[np.isclose(rows["budget (min)"], MINUTES)], rows[rows["cells"] == MIDDLE]
        left.loglog(*of_cells.sort_values("cells")[["cells", next(iter(KEPT))]].to_numpy().T, "o-", ms=3, label=network)
        right.loglog(*of_time.sort_values("minutes")[["minutes", next(iter(KEPT))]].to_numpy().T, "o-", ms=3)
    left.set(xlabel=f"cells, {MINUTES:g} minutes of training", ylabel="RMSE of the windows of a cell, median (mV)")
    right.set(xlabel=f"minutes of training on {MIDDLE} cells")
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter(ScalarFormatter())
            scale.set_minor_formatter(NullFormatter())
    left.set_xticks(CELLS)
    right.set_xticks(sorted(set(table["budget (min)"])))
    return figure


def row_of(folder: Path, network: str, cells: int, minutes: float) -> dict[str, str | float]:
    """Trains and measures a network."""
    checkpoint, took = trained(folder, network, cells, minutes)
    found = measured(folder, checkpoint)
    errors = {name: found.get(key, np.nan) for name, key in KEPT.items()}
    return {"network": network, "cells": cells, "budget (min)": minutes, "minutes": took} | errors


def main(folder: Path, others: list[float]) -> None:
    """Trains and measures what was not measured before."""
    file = folder / "networks.csv"
    table = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=list(JOB))
    done = set(table[list(JOB)].itertuples(index=False, name=None))
    budgets = [(cells, MINUTES) for cells in CELLS] + [(MIDDLE, minutes) for minutes in others]
    jobs = [(network, *budget) for budget in budgets for network in NETWORKS if (network, *budget) not in done]
    simulated(folder)
    at_once = available_cores()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that train
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, spawn, max_tasks_per_child=1) as pool:
        rows: dict[Future, tuple[str, int, float]] = {pool.submit(row_of, folder, *job): job for job in jobs}
        for row in as_completed(rows):
            if error := row.exception():
                log_message(f"{rows[row]} failed: {error!r}")
                continue
            table = pd.concat([table, pd.DataFrame([row.result()])], ignore_index=True)
            with atomic_write(file) as part:
                table.to_csv(part, index=False, float_format="%.4g")
    table = table.sort_values(list(JOB)[1:], kind="stable")
    with atomic_write(folder / "networks.png") as part:
        draw(table).savefig(part, format="png")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("minutes", type=float, nargs="*")
    asked = parser.parse_args()
    main(asked.folder.absolute(), asked.minutes)
