"""Simulate a design to a trace store and say what the cells did: `python simulate.py design=factorial`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.config import build
from cardioemu.launch import launch
from cardioemu.settings import SimulateSettings
from cardioemu.simulation import TraceStore, campaign


def simulate(config: DictConfig, _: Path) -> TraceStore:
    """Runs the campaign, or opens the one run before."""
    settings = build(config, SimulateSettings)
    cell = settings.simulator.cell()
    scales = settings.design(scaled=len(cell.scaled))
    store = campaign(cell, scales, settings.simulator.duration_ms, settings.solver, settings.data_dir / "traces")
    cells = store.cells()
    counts = cells["label"].fillna(cells["status"]).value_counts()
    print(f"{len(cells)} cells: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    print(f"trace store {store.folder}")
    return store


if __name__ == "__main__":
    launch(simulate, Path(__file__).parent / "conf", SimulateSettings)
