"""The result of an evaluation of several emulators on the same cells, and the sections of its report."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from cardioemu.common.arrays import SampleTimes, Scales
from cardioemu.evaluation.metrics.beats import summarise_beats
from cardioemu.evaluation.metrics.firing import firing_metrics, reliability_table
from cardioemu.evaluation.metrics.summary import bootstrap_intervals, summarise_errors
from cardioemu.evaluation.report import error_plots as plots
from cardioemu.evaluation.report.html import (
    Section,
    beat_table,
    biomarker_table,
    error_table,
    firing_table,
    phase_table,
    worst_table,
)


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Errors of several emulators on the same cells, by emulator; the report is about the first.

    Attributes:
        scaled: names of the scaled conductances.
        errors: one row per cell with windows: `cell`, its scales, its `distance` from the nearest training cell of the
            first emulator, and its errors.
        along_window: times of the emulator's window in ms, and the RMSE over all windows at these times in mV.
        firing_scales: scale vectors of all cells except failed ones, including cells without windows (cells, scaled).
        fires: whether each of these cells fires (cells,).
        firing_probability: predicted probability that each of these cells fires, for emulators that predict it.
        beats: one row per `Beat`; empty if the windows are short.
    """

    scaled: Sequence[str]
    errors: Mapping[str, pd.DataFrame]
    along_window: Mapping[str, tuple[SampleTimes, np.ndarray]]
    firing_scales: Scales
    fires: Bool[np.ndarray, " cells"]
    firing_probability: Mapping[str, np.ndarray]
    beats: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Metrics by emulator: its summarised errors, their bootstrap intervals, and the metrics of predicted firing.

        `rmse_distance_correlation` is Spearman's rank correlation between the RMSE and the `distance` of the cells.
        """
        metrics = {}
        for name, errors in self.errors.items():
            metrics[name] = summarise_errors(errors) | bootstrap_intervals(errors)
            if errors["distance"].nunique() > 1 and errors["rmse_mV"].nunique() > 1:
                correlation = spearmanr(errors["distance"], errors["rmse_mV"]).statistic
                metrics[name]["rmse_distance_correlation"] = float(correlation)
            if name in self.firing_probability:
                metrics[name] |= firing_metrics(self.firing_scales, self.fires, self.firing_probability[name])
        return metrics

    @property
    def flat_metrics(self) -> dict[str, float]:
        """All metrics as one mapping, by EMULATOR/METRIC."""
        return {f"{name}/{key}": value for name, values in self.metrics.items() for key, value in values.items()}

    @property
    def table(self) -> pd.DataFrame:
        """The errors of all emulators, one row per emulator and cell."""
        return pd.concat(self.errors, names=["emulator"]).reset_index(level="emulator").reset_index(drop=True)


def report_sections(
    result: EvaluationResult, examples: Mapping[str, Figure], baselines: Collection[str] = ()
) -> list[Section]:
    """Return the sections of the report of an evaluation.

    `examples` has, by emulator, a figure of its predictions for some cells. The lines of the baselines are dashed.
    """
    metrics, first = result.metrics, next(iter(result.errors.values()))
    rmse_mV = {name: errors["rmse_mV"].to_numpy() for name, errors in result.errors.items()}
    predicting = {name: values for name, values in metrics.items() if name in result.firing_probability}
    others = [name for name in metrics if name not in predicting]
    without = f" Not predicted by: {', '.join(others)}." if others else ""
    scales = np.ascontiguousarray(first[list(result.scaled)].to_numpy(dtype=float))
    reliability = {name: reliability_table(result.fires, p) for name, p in result.firing_probability.items()}
    beats = summarise_beats(result.beats)
    by_scale = plots.error_over_scales(scales, result.scaled, first["rmse_mV"].to_numpy())
    by_distance = plots.error_by_distance(first["distance"].to_numpy(), rmse_mV, baselines)
    by_beat = plots.error_by_beat(beats, baselines) if beats else None
    return [
        Section("errors", "Errors", ERRORS, error_table(metrics)),
        *(Section(f"examples-{name}", f"Examples: {name}", EXAMPLES, figure=f) for name, f in examples.items()),
        Section("distribution", "Distribution of errors", figure=plots.error_distribution(rmse_mV, baselines)),
        Section("along", "Error along the window", figure=plots.error_along_window(result.along_window, baselines)),
        *([Section("beats", "Error by beat", BEATS, beat_table(beats), by_beat)] if beats else []),
        Section("phases", "Error by phase of the action potential", PHASE, phase_table(metrics)),
        Section("biomarkers", "Biomarkers", BIOMARKER, biomarker_table(metrics), plots.biomarker_scatter(first)),
        Section("firing", "Firing", FIRING + without, firing_table(metrics), plots.confusion(predicting)),
        Section("calibration", "Calibration of firing", CALIBRATION, figure=plots.calibration_plot(reliability)),
        Section("scales", "Error by conductance", SCALES, figure=by_scale),
        Section("distance", "Error by distance from the training cells", DISTANCE, figure=by_distance),
        Section("worst", "Cells with the largest errors", "", worst_table(first, result.scaled)),
    ]


ERRORS = (
    "RMSE of each cell over all its windows and samples; then mean, median and 95th percentile over cells, with 95 % "
    "bootstrap intervals. Timing: mean distance between simulated and predicted crossings of -40 mV, over APs that "
    "both have, and the number of cells with such APs. Shape: RMSE after a shift in time that aligns these crossings."
)
EXAMPLES = "Six cells from the best to the worst, each with the scales that differ from the control and its RMSE."
BEATS = (
    "Medians over the windows that have the beat: RMSE over its samples, distance between simulated and predicted AP "
    "start, and percentage of predictions without an AP of that number. Beat 1 begins with the aligned AP."
)
PHASE = "RMSE over all samples of the phase, and the phase's share of all squared errors."
BIOMARKER = (
    "Mean absolute percentage error and median absolute error of the biomarkers of the aligned AP. Figure: the first "
    "emulator."
)
FIRING = (
    "Over all cells except failed ones, including cells without windows. Boundary error: mean distance of a wrongly "
    "predicted cell from the nearest cell that does what was predicted. It falls with the density of cells, so compare "
    "it on the same cells only."
)
CALIBRATION = "Observed firing frequency against predicted probability; the diagonal is perfect calibration."
SCALES = (
    "The first emulator. Each point is a cell, over a pair of conductances, the largest errors on top; on the diagonal "
    "over one conductance."
)
DISTANCE = (
    "Distance, in scales, from the nearest training cell of the first emulator; medians over bins of equal size. Grey: "
    "cells of the first emulator."
)
