"""Simulate a design to a trace store and say what the cells did: `python simulate.py design=factorial`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.config.config import build
from cardioemu.config.launch import launch
from cardioemu.evaluation import cell_name, plot_traces, sample_cells, summarise_population
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.locks import disk_errors_as_user_error
from cardioemu.settings.simulate import SimulateSettings
from cardioemu.simulation import TraceStore

# Readers of Parquet folders pass over names that begin with _.
SUMMARY, FIGURE = "_summary.txt", "_traces.png"


def simulate(config: DictConfig, _: Path) -> None:
    """Runs the campaign, or opens the one run before."""
    settings = build(config, SimulateSettings)
    if settings.dry_run:
        plan(settings)
        return
    store = settings.traces()
    report(store)
    print(f"\ntrace store {store.folder}\nsamples     {store.folder / FIGURE}")


def plan(settings: SimulateSettings) -> None:
    """Prints what the campaign would take, and the script of its jobs if it is to run in such."""
    print(settings.forecast() or "these traces are there already")
    if script := settings.campaign.job_script():
        print(f"\n{script}")


def report(store: TraceStore) -> None:
    """Says what the cells did, and draws some of them."""
    cells = store.cells()
    text = summarise_population(cells, store.scaled)
    print(text)
    if (store.folder / FIGURE).exists():  # also where nothing may be written
        return
    chosen = sample_cells(cells, store.scaled)
    scales = cells.loc[chosen, list(store.scaled)].to_numpy()
    names = [f"cell {cell}: {cell_name(row, store.scaled)}" for cell, row in zip(chosen, scales, strict=True)]
    figure = plot_traces([store.trace(cell) for cell in chosen], names)
    with disk_errors_as_user_error(store.folder):
        with atomic_write(store.folder / SUMMARY) as file:
            file.write_text(text + "\n", encoding="utf-8")
        with atomic_write(store.folder / FIGURE) as file:
            figure.savefig(file, format="png")


if __name__ == "__main__":
    launch(simulate, Path(__file__).parent / "conf", SimulateSettings)
