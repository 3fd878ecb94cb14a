"""Measure a trained emulator on freshly simulated cells: `python evaluate.py checkpoint=RUN_FOLDER/best.ckpt`."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from cardioemu import UserError, load_emulator
from cardioemu.config import build
from cardioemu.evaluation import cell_errors, summary
from cardioemu.launch import launch
from cardioemu.settings.evaluate import EvaluateSettings
from cardioemu.simulation import Simulator, campaign
from cardioemu.windowing import window_set


def evaluate(config: DictConfig, _: Path) -> dict[str, float]:
    """Simulates a design with the emulator's own cell model and windows, and compares."""
    settings = build(config, EvaluateSettings)
    emulator = load_emulator(settings.checkpoint)
    simulator = Simulator(**emulator.specification.cell | {"duration_ms": settings.duration_ms})
    cell = simulator.cell()
    scales = settings.design(scaled=cell.scaled)
    folder = settings.data_dir / "traces"
    traces = campaign(cell, scales, simulator.duration_ms, settings.solver, folder, settings.campaign)
    windows = window_set(traces, emulator.window, settings.data_dir / "windows")
    print(f"{len(scales)} cells: " + ", ".join(f"{count} {outcome}" for outcome, count in windows.outcomes().items()))
    rows = np.flatnonzero(windows.windowed)
    if len(rows) == 0:
        raise UserError("design: no cell gave windows; give a larger design, or longer traces by duration_ms")
    metrics = summary(cell_errors(emulator.window.time_ms, emulator.against(windows, rows)))
    for name, value in metrics.items():
        print(f"{name:<22} {value:.4g}")
    return metrics


if __name__ == "__main__":
    launch(evaluate, Path(__file__).parent / "conf", EvaluateSettings)
