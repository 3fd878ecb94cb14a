"""Figures: arrays in, a matplotlib figure out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cardioemu.types import Predicted, SampleTimes, Windows

SIMULATED, EMULATED = "#8a8f98", "#c2410c"


def overlay(
    time_ms: SampleTimes,
    windows: Windows,
    predicted: Predicted,
    titles: Sequence[str],
) -> Figure:
    """Draws the simulated windows of some cells and, over them, the emulator's.

    Args:
        time_ms: (samples,), 0 at the AP start.
        windows: simulated (cells, windows, samples), in mV.
        predicted: (cells, samples), in mV.
        titles: one per cell.
    """
    columns = min(3, len(windows))
    rows = -(-len(windows) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.4 * rows + 0.4), layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    # One to two thousand points are more than a picture shows.
    shown = evenly(len(time_ms), 2000)
    for axis, cell, emulated, title in zip(axes.flat, windows, predicted, titles, strict=False):
        simulated_lines = axis.plot(time_ms[shown], cell[:, shown].T, color=SIMULATED, lw=1.6)
        (emulated_line,) = axis.plot(time_ms[shown], emulated[shown], color=EMULATED, lw=1.0)
        axis.set_title(title, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(windows) :]:
        axis.set_visible(False)
    figure.supxlabel("time from the AP start (ms)", fontsize=8)
    figure.supylabel("V (mV)", fontsize=8)
    handles = [simulated_lines[0], emulated_line]
    figure.legend(
        handles, ["simulated windows", "emulator"], loc="outside upper right", ncols=2, fontsize=8, frameon=False
    )
    return figure


def evenly(size: int, count: int) -> np.ndarray:
    """Returns up to `count` of the numbers 0 to size - 1, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, count).astype(int))


def cell_title(scales: np.ndarray, scaled: Sequence[str], error_mV: float) -> str:
    """Names a cell by the scales that differ from the control, and its RMSE."""
    changed = ", ".join(f"{name} {value:g}" for name, value in zip(scaled, scales, strict=True) if value != 1)
    return f"{changed or 'control'}: {error_mV:.2f} mV"
