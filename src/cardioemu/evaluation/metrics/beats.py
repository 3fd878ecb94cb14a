"""Errors beat by beat in long windows: whether a prediction keeps its phase."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cardioemu.evaluation.metrics.sampled_window import SampledWindow

LONG_MS = 2000.0
"""Windows at least so long are measured beat by beat."""


class Beat(NamedTuple):
    """One whole beat of a window.

    Attributes:
        beat: its number; 1 is that of the window's own AP.
        rmse_mV: over its samples.
        start_error_ms: how far the AP of that number is predicted from where it starts, NaN where there is none.
    """

    beat: int
    rmse_mV: float
    start_error_ms: float


def beat_errors(simulated: SampledWindow, emulated: SampledWindow) -> list[Beat]:
    """Measures every whole beat of a window, from that of its own AP on."""
    if simulated.aligned_ap is None:
        return []
    starts_ms = simulated.starts_ms[simulated.aligned_ap :]
    found_ms = np.full(len(starts_ms), np.nan)
    if emulated.aligned_ap is not None:
        known_ms = emulated.starts_ms[emulated.aligned_ap :][: len(starts_ms)]
        found_ms[: len(known_ms)] = known_ms
    error = emulated.voltage_mV.astype(np.float64) - simulated.voltage_mV
    places = np.searchsorted(simulated.time_ms - simulated.time_ms[0], starts_ms)
    return [
        Beat(
            beat + 1,
            float(np.sqrt(np.mean(error[places[beat] : places[beat + 1]] ** 2))),
            float(abs(found_ms[beat] - starts_ms[beat])),
        )
        for beat in range(len(starts_ms) - 1)
    ]


def summarise_beats(beats: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Summarises each `Beat` of several emulators, one in a row, for the beats that half of the windows have.

    Returns:
        By emulator, indexed by the beat's number: `rmse_mV` and `start_error_ms`, the medians over windows, and
        `missed_percent`, how many predictions have no AP of that number. Emulators whose windows hold no whole beat
        are left out.
    """
    found = {}
    for name, rows in beats.items():
        if rows.empty:
            continue
        grouped = rows.groupby("beat")
        result = grouped[["rmse_mV", "start_error_ms"]].median()
        result["missed_percent"] = 100 * (1 - grouped["start_error_ms"].count() / grouped.size())
        found[name] = result[grouped.size() >= grouped.size().max() / 2]
    return found
