"""All that an evaluation found of several emulators on the same cells, and the sections of a report that tell it."""

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
    """What was found of each emulator, by its name; the first is the one the report is about.

    Attributes:
        scaled: names of the scaled conductances.
        errors: for each cell with windows its `cell`, scales, `distance` to the nearest cell that the first emulator
            was trained on, and errors.
        along: times of the emulator's window (ms), and the RMSE over all windows there (mV).
        firing_scales: of all cells that did not fail, with windows or not (cells, scaled).
        fires: whether each of these fires.
        chances: what each emulator that tells says of that, as a probability.
        beats: every `Beat` of long windows, one in a row; no emulators where windows are short.
    """

    scaled: Sequence[str]
    errors: Mapping[str, pd.DataFrame]
    along: Mapping[str, tuple[SampleTimes, np.ndarray]]
    firing_scales: Scales
    fires: Bool[np.ndarray, " cells"]
    firing_probability: Mapping[str, np.ndarray]
    beats: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """By emulator: `summary`, `intervals`, `firing` where it tells, and `rmse_distance_correlation`.

        The last is Spearman's rank correlation of a cell's RMSE with its `distance`.
        """
        result = {}
        for name, errors in self.errors.items():
            result[name] = summarise_errors(errors) | bootstrap_intervals(errors)
            if errors["distance"].nunique() > 1 and errors["rmse_mV"].nunique() > 1:
                rank = spearmanr(errors["distance"], errors["rmse_mV"]).statistic
                result[name]["rmse_distance_correlation"] = float(rank)
            if name in self.firing_probability:
                result[name] |= firing_metrics(self.firing_scales, self.fires, self.firing_probability[name])
        return result

    @property
    def flat_metrics(self) -> dict[str, float]:
        """The same as one mapping, by EMULATOR/METRIC."""
        return {f"{name}/{key}": value for name, found in self.metrics.items() for key, value in found.items()}

    @property
    def table(self) -> pd.DataFrame:
        """The errors of all, one row per emulator and cell."""
        return (
            pd.concat([e.assign(emulator=name) for name, e in self.errors.items()]).set_index("emulator").reset_index()
        )


def report_sections(
    found: EvaluationResult, examples: Mapping[str, Figure], baselines: Collection[str] = ()
) -> list[Section]:
    """Tells what was found.

    Args:
        found: by an evaluation.
        examples: overlays of some cells, by emulator.
        baselines: names of the baselines, whose lines are dashed.
    """
    metrics, first = found.metrics, next(iter(found.errors.values()))
    rmse_mV = {name: errors["rmse_mV"].to_numpy() for name, errors in found.errors.items()}
    told = {name: values for name, values in metrics.items() if name in found.firing_probability}
    untold = [name for name in metrics if name not in found.firing_probability]
    scales = np.ascontiguousarray(first[list(found.scaled)].to_numpy(dtype=float))
    calibrations = {name: reliability_table(found.fires, chance) for name, chance in found.firing_probability.items()}
    beats = summarise_beats(found.beats)
    silent = f" Without such an output, and left out: {', '.join(untold)}." if untold else ""
    return [
        Section("errors", "How far off", ERRORS, error_table(metrics)),
        *(Section(f"examples-{name}", f"Best to worst of {name}", EXAMPLES, figure=f) for name, f in examples.items()),
        Section("distribution", "Errors of the cells", figure=plots.error_distribution(rmse_mV, baselines)),
        Section("along", "Error along the window", figure=plots.error_along_window(found.along, baselines)),
        *(
            [Section("beats", "Error by beat", BEATS, beat_table(beats), plots.error_by_beat(beats, baselines))]
            if beats
            else []
        ),
        Section("phases", "Error by the phase of the action potential", PHASE, phase_table(metrics)),
        Section("biomarkers", "Biomarkers", BIOMARKER, biomarker_table(metrics), plots.biomarker_scatter(first)),
        Section("firing", "Which cells fire", FIRING + silent, firing_table(metrics), plots.confusion(told)),
        Section("calibration", "Calibration of fires", CALIBRATION, figure=plots.calibration_plot(calibrations)),
        Section(
            "scales",
            "Error over the scales",
            SCALES,
            None,
            plots.error_over_scales(scales, found.scaled, first["rmse_mV"].to_numpy()),
        ),
        Section(
            "distance",
            "Error by the distance to the trained cells",
            DISTANCE,
            None,
            plots.error_by_distance(first["distance"].to_numpy(), rmse_mV, baselines),
        ),
        Section("worst", "The worst cells", "", worst_table(first, found.scaled)),
    ]


ERRORS = (
    "RMSE of each cell over all its windows and samples, then mean, median and 95th percentile over the cells, with "
    "95 % bootstrap intervals over the cells. Timing: mean distance of the passages of -40 mV, and of how many cells: "
    "APs that both have count. Shape: RMSE after the prediction was moved in time so that these coincide."
)
EXAMPLES = "Six cells from the best to the worst, each named by the scales that differ from the control, and its RMSE."
BEATS = (
    "Medians over the windows that have the beat, the first of the window's own AP: RMSE over its samples, how far the "
    "AP of that number is predicted from where it starts, and how many predictions have no such AP."
)
PHASE = "RMSE over all samples of the phase, and the phase's share of all squared errors."
BIOMARKER = (
    "Mean absolute percentage error, and median absolute error, of the window's own AP. Figure: the first emulator."
)
FIRING = (
    "Of all cells but those that failed, also of those without windows. Boundary error: mean distance of a cell of "
    "which the wrong was said from the nearest one that does what was said of it; it falls as cells lie closer, so "
    "compare it on the same cells only."
)
CALIBRATION = "How often a cell fires for which the probability was said to be so much; on the line both are the same."
SCALES = (
    "The first emulator. Each point is a cell over a pair of conductances, the largest errors on top; on the diagonal "
    "over one."
)
DISTANCE = (
    "Distance in scales to the nearest cell that the first emulator was trained on; medians of bins with as many cells "
    "each. Grey: the first emulator's cells."
)
