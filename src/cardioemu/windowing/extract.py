"""Extraction of the windows of one trace."""

from typing import NamedTuple

import numpy as np

from cardioemu.traces import FAILED, Trace
from cardioemu.windowing.cycle import CycleRule, registered_cycle_vector
from cardioemu.windowing.positions import WindowPositions, find_positions
from cardioemu.windowing.rule import WindowRule

WINDOWED, TOO_FEW = "windowed", "too few windows"


class ExtractedWindows(NamedTuple):
    """The result for one cell; only the outcome "windowed" has windows.

    Attributes:
        outcome: "windowed", or why the cell has no windows: "failed" if the simulation failed, "stops" or "quiescent"
            if the cell does not fire, "too few windows" if fewer than `rule.count` fit or its cycle cannot be
            registered.
        windows: (count, samples), float32, in mV.
        positions: where the windows are in the trace.
    """

    outcome: str
    windows: np.ndarray | None = None
    positions: WindowPositions | None = None


def extract_windows(trace: Trace, rule: WindowRule | CycleRule, cell: int = 0) -> ExtractedWindows:
    """Extract a cell's windows from its continuous trace, or register its cycle.

    Only a cell that fires and has all `rule.count` windows is windowed; `cell` is its number in the design.
    """
    if trace.status != "ok":
        return ExtractedWindows(FAILED)
    if trace.label != "fires":
        return ExtractedWindows(str(trace.label))
    if isinstance(rule, CycleRule):
        vector = registered_cycle_vector(trace, rule)
        position = WindowPositions(np.array([rule.settle_ms]), np.zeros(1), np.full(1, np.nan))
        return ExtractedWindows(TOO_FEW) if vector is None else ExtractedWindows(WINDOWED, vector[None], position)
    positions = find_positions(trace, rule, cell)
    if len(positions.begin_ms) < rule.count:
        return ExtractedWindows(TOO_FEW)
    interval_ms = positions.length_ms / rule.samples
    time_ms = positions.begin_ms[:, None] + np.multiply.outer(interval_ms, np.arange(rule.samples))
    # By rounding, the first or last sample may be outside the trace.
    voltage_mV = trace.voltage_mV(np.clip(time_ms, 0.0, trace.duration_ms))
    if rule.resample_to:
        from scipy.signal import resample  # takes half a second to import, and few rules resample

        voltage_mV = resample(voltage_mV, rule.resample_to, axis=1)
    trimmed = voltage_mV[:, rule.trim : rule.trim + rule.output_samples]
    return ExtractedWindows(WINDOWED, trimmed.astype(np.float32), positions)
