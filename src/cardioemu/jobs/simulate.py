"""Simulate a design to a trace store and summarise what the cells do: `cardioemu simulate design=factorial`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.config.launch import launch
from cardioemu.evaluation import cell_name, plot_traces, sample_cells, summarise_population
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import disk_errors_as_user_error
from cardioemu.settings.simulate import SimulateSettings
from cardioemu.simulation import TraceStore

# Readers of Parquet folders ignore names that begin with _.
SUMMARY, FIGURE = "_summary.txt", "_traces.png"


def main() -> None:
    """Run the job as the command line asks."""
    launch("simulate", simulate, SimulateSettings)


def simulate(settings: SimulateSettings, config: DictConfig, folder: Path) -> None:
    """Run the campaign, or open the finished one, and summarise it, or print what it would take.

    Config and run folder are not used.
    """
    if settings.dry_run:
        print(settings.forecast() or "these traces exist already")
        if script := settings.campaign.job_script():  # of a cluster
            print(f"\n{script}")
        return
    store = settings.traces()
    summarise(store)
    print(f"\ntrace store {store.folder}\nsamples     {store.folder / FIGURE}")


def summarise(store: TraceStore) -> None:
    """Print what the cells do, and plot some of them next to the traces."""
    cells = store.cells()
    text = summarise_population(cells, store.scaled)
    print(text)
    if (store.folder / FIGURE).exists():  # the store may be read-only
        return
    sample = sample_cells(cells, store.scaled)
    scales = cells.loc[sample, list(store.scaled)].to_numpy()
    names = [f"cell {cell}: {cell_name(row, store.scaled)}" for cell, row in zip(sample, scales, strict=True)]
    figure = plot_traces([store.trace(cell) for cell in sample], names)
    with disk_errors_as_user_error(store.folder):
        with atomic_write(store.folder / SUMMARY) as file:
            file.write_text(text + "\n", encoding="utf-8")
        with atomic_write(store.folder / FIGURE) as file:
            figure.savefig(file, format="png")
