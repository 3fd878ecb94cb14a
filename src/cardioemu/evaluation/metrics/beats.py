"""Errors beat by beat in long windows: whether a prediction stays in phase."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cardioemu.evaluation.metrics.sampled_window import SampledWindow

LONG_MS = 2000.0
"""Shortest length of windows that are also measured beat by beat."""


class Beat(NamedTuple):
    """Errors of one complete beat of a window.

    Attributes:
        beat: number of the beat; beat 1 begins with the window's aligned AP.
        rmse_mV: RMSE over the samples of the beat.
        start_error_ms: distance of the predicted AP start from the simulated one; NaN if no AP is predicted.
    """

    beat: int
    rmse_mV: float
    start_error_ms: float


def beat_errors(simulated: SampledWindow, emulated: SampledWindow) -> list[Beat]:
    """Measure every complete beat of a window, beginning with its aligned AP."""
    if simulated.aligned_ap is None:
        return []
    starts_ms = simulated.starts_ms[simulated.aligned_ap :]
    emulated_ms = emulated.starts_ms[emulated.aligned_ap :] if emulated.aligned_ap is not None else starts_ms[:0]
    predicted_ms = np.append(emulated_ms, np.full(len(starts_ms), np.nan))  # NaN where no AP is predicted
    error = emulated.voltage_mV.astype(np.float64) - simulated.voltage_mV
    samples = np.searchsorted(simulated.time_ms - simulated.time_ms[0], starts_ms)
    return [
        Beat(
            beat + 1,
            float(np.sqrt(np.mean(error[samples[beat] : samples[beat + 1]] ** 2))),
            float(abs(predicted_ms[beat] - starts_ms[beat])),
        )
        for beat in range(len(starts_ms) - 1)
    ]


def summarise_beats(beats: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Summarise tables of `Beat`, by emulator, over windows, for beats that at least half of the windows have.

    Returns:
        By emulator, a table indexed by the number of the beat: `rmse_mV` and `start_error_ms`, the medians over
        windows, and `missed_percent`, the percentage of predictions without an AP of that number. Emulators without a
        complete beat are left out.
    """
    summaries = {}
    for name, table in beats.items():
        if table.empty:
            continue
        grouped = table.groupby("beat")
        summary = grouped[["rmse_mV", "start_error_ms"]].median()
        summary["missed_percent"] = 100 * (1 - grouped["start_error_ms"].count() / grouped.size())
        summaries[name] = summary[grouped.size() >= grouped.size().max() / 2]
    return summaries
