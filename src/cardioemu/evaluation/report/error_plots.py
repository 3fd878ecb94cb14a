"""Figures of errors: from arrays and tables, by name of the emulator, to matplotlib figures."""

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cardioemu.common.arrays import PerCell, SampleTimes, Scales
from cardioemu.evaluation.metrics.sampled_window import BIOMARKER_UNITS, UNIT_LABELS

COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#64748b", "#b45309", "#0f766e", "#be185d")
BINS = 8  # of the distance, with equal numbers of cells


def error_distribution(rmse_mV: Mapping[str, np.ndarray], dashed: Collection[str] = ()) -> Figure:
    """Plot the cumulative distribution of the RMSE over cells."""
    figure, axis = _single()
    steps = {name: (np.sort(values), np.arange(1, len(values) + 1) / len(values)) for name, values in rmse_mV.items()}
    _draw_lines(axis, steps, dashed, drawstyle="steps-post")
    axis.set(xlabel="RMSE of a cell (mV)", ylabel="cumulative fraction of cells", xscale="log", ylim=(0, 1.02))
    axis.legend(fontsize=8, frameon=False)
    return figure


def error_over_scales(scales: Scales, scaled: Sequence[str], rmse_mV: PerCell) -> Figure:
    """Plot each cell's error over every pair of conductances, the largest on top; on the diagonal over one alone."""
    count = len(scaled)
    figure = Figure(figsize=(1.7 * count + 1.2, 1.7 * count), layout="constrained", dpi=110)
    axes = figure.subplots(count, count, squeeze=False)
    order = np.argsort(rmse_mV)
    positive = np.maximum(rmse_mV, 1e-6)
    colours = LogNorm(*np.quantile(positive, [0.02, 0.98])) if np.ptp(positive) else None
    for i in range(count):
        for j in range(count):
            axis: Axes = axes[i, j]
            if j > i:
                axis.set_visible(False)
                continue
            if i == j:
                axis.semilogy(scales[:, i], positive, ".", ms=2, color=COLOURS[-4])
                axis.set_ylabel("RMSE (mV)", fontsize=6)
            else:
                x, y, c = scales[order, j], scales[order, i], positive[order]
                points = axis.scatter(x, y, c=c, s=5, norm=colours, cmap="viridis")
            axis.tick_params(labelsize=6)
            if i == count - 1:
                axis.set_xlabel(scaled[j], fontsize=8)
            if j == 0 and i > 0:
                axis.set_ylabel(scaled[i], fontsize=8)
    if count > 1:
        figure.colorbar(points, ax=axes, label="RMSE (mV)", shrink=0.6)
    return figure


def biomarker_scatter(errors: pd.DataFrame) -> Figure:
    """Plot each predicted biomarker against the simulated one, with the line on which both are equal."""
    figure = Figure(figsize=(11, 5.6), layout="constrained", dpi=110)
    for axis, (name, unit) in zip(figure.subplots(2, 4).flat, BIOMARKER_UNITS.items(), strict=True):
        both = errors[[f"{name}_{unit}", f"{name}_predicted_{unit}"]].dropna()
        axis.plot(*both.to_numpy().T, ".", ms=3, color=COLOURS[0])
        if len(both):
            ends = [both.to_numpy().min(), both.to_numpy().max()]
            axis.plot(ends, ends, color=COLOURS[4], lw=0.8)
        axis.set_title(f"{name.replace('_', ' ')} ({UNIT_LABELS[unit]}), {len(both)} cells", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("simulated", fontsize=8)
    figure.supylabel("predicted", fontsize=8)
    return figure


def error_along_window(lines: Mapping[str, tuple[SampleTimes, np.ndarray]], dashed: Collection[str] = ()) -> Figure:
    """Plot the RMSE over all cells, in mV, at each time of the window, in ms."""
    figure, axis = _single(width=8.0)
    _draw_lines(axis, lines, dashed)
    axis.set(xlabel="time from the AP start (ms)", ylabel="RMSE over cells (mV)")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8, frameon=False)
    return figure


def error_by_beat(summaries: Mapping[str, pd.DataFrame], dashed: Collection[str] = ()) -> Figure:
    """Plot the medians of `summarise_beats` by beat: the RMSE, and the error of the AP start."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained", dpi=110)
    labels = {"rmse_mV": "RMSE of the beat (mV)", "start_error_ms": "error of the AP start (ms)"}
    for axis, (column, label), first in zip(figure.subplots(1, 2), labels.items(), (1, 2), strict=True):
        # Windows are aligned to the first AP start: its error is not shown.
        shown = {name: beats[column].loc[first:] for name, beats in summaries.items()}
        _draw_lines(axis, {name: (values.index, values) for name, values in shown.items()}, dashed, marker="o", ms=3)
        axis.set(xlabel="beat of the window", ylabel=label, yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False)
    return figure


def error_by_distance(distance: PerCell, rmse_mV: Mapping[str, np.ndarray], dashed: Collection[str] = ()) -> Figure:
    """Plot the median error against the distance from the nearest training cell, in bins of equal size."""
    figure, axis = _single()
    first = next(iter(rmse_mV.values()))
    axis.semilogy(distance, first, ".", ms=2, color="#d6d3d1")
    order = np.argsort(distance, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    middle = [np.median(distance[cells]) for cells in bins]
    medians = {name: (middle, [np.median(values[cells]) for cells in bins]) for name, values in rmse_mV.items()}
    _draw_lines(axis, medians, dashed, marker="o", ms=3.5)
    axis.set(xlabel="distance from the nearest training cell (scales)", ylabel="RMSE, median of a bin (mV)")
    axis.legend(fontsize=8, frameon=False)
    return figure


def confusion(metrics: Mapping[str, Mapping[str, float]]) -> Figure:
    """Plot the confusion matrix of firing for each emulator, from its `firing_metrics`."""
    figure = Figure(figsize=(2.6 * len(metrics) + 0.4, 2.8), layout="constrained", dpi=110)
    for axis, (name, values) in zip(figure.subplots(1, len(metrics), squeeze=False).flat, metrics.items(), strict=True):
        rows = ("fires_right", "silent_wrong"), ("fires_wrong", "silent_right")
        counts = np.array([[values[f"confusion_{cell}"] for cell in row] for row in rows])
        axis.imshow(counts, cmap="Blues", vmin=0, vmax=1.6 * counts.max())
        for (row, column), count in np.ndenumerate(counts):
            axis.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=10)
        axis.set_xticks([0, 1], ["fires", "silent"], fontsize=7)
        axis.set_yticks([0, 1], ["fires", "silent"], fontsize=7, rotation=90, va="center")
        axis.set_title(name, fontsize=8)
    figure.supxlabel("predicted", fontsize=8)
    figure.supylabel("simulated", fontsize=8)
    return figure


def calibration_plot(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot observed firing frequencies against predicted probabilities, from tables of `reliability_table`."""
    figure, axis = _single(width=4.6)
    axis.plot([0, 1], [0, 1], color=COLOURS[4], lw=0.8)
    lines = {name: (table["predicted"], table["observed"]) for name, table in tables.items()}
    _draw_lines(axis, lines, marker="o", ms=4, lw=1.1)
    axis.set(xlabel="predicted probability of firing", ylabel="fraction that fires")
    axis.legend(fontsize=8, frameon=False)
    return figure


def _draw_lines(axis: Axes, lines: Mapping[str, tuple[Any, Any]], dashed: Collection[str] = (), **style: Any) -> None:
    """Draw one line per emulator, thin and dashed for some of them."""
    for (name, (x, y)), colour in zip(lines.items(), cycle(COLOURS), strict=False):
        own = {"ls": "--", "lw": 0.9} if name in dashed else {"lw": 1.4}
        axis.plot(x, y, label=name, color=colour, **own | style)


def _single(width: float = 6.4) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 3.8), layout="constrained", dpi=110)
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    return figure, axis
