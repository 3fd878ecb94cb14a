"""Cutting the windows of one trace."""

from typing import NamedTuple

import numpy as np

from cardioemu.traces import Trace
from cardioemu.windowing.cycle import CycleRule, registered_cycle_vector
from cardioemu.windowing.positions import WindowPositions, find_positions
from cardioemu.windowing.rule import WindowRule

WINDOWED, TOO_FEW, FAILED = "windowed", "too few windows", "failed"


class ExtractedWindows(NamedTuple):
    """What a cell gives: its outcome, and if that is "windowed", (count, points) float32 in mV and their places."""

    outcome: str
    windows: np.ndarray | None = None
    places: WindowPositions | None = None


def extract_windows(trace: Trace, rule: WindowRule | CycleRule, cell: int = 0) -> ExtractedWindows:
    """Cuts a cell's windows out of its continuous trace, or registers its cycle.

    Only a cell that fires and gives all `rule.count` windows takes part in the trace loss; any other gives none, and
    one of few reasons, so that they can be counted.

    Args:
        trace: of the cell.
        rule: how many windows, where, and of which points; or when the cycle is taken.
        cell: its number in the design.

    Returns:
        The outcome "windowed" with the windows, or without them "failed" (its status says why), "stops", "quiescent",
        or "too few windows" for a cell that fires but has not `rule.count` places where a window fits, or no cycle
        that can be registered.
    """
    if trace.status != "ok":
        return ExtractedWindows(FAILED)
    if trace.label != "fires":
        return ExtractedWindows(str(trace.label))
    if isinstance(rule, CycleRule):
        row = registered_cycle_vector(trace, rule)
        at = WindowPositions(np.array([rule.settle_ms]), np.zeros(1), np.full(1, np.nan))
        return ExtractedWindows(TOO_FEW) if row is None else ExtractedWindows(WINDOWED, row[None], at)
    found = find_positions(trace, rule, cell)
    if len(found.begin_ms) < rule.count:
        return ExtractedWindows(TOO_FEW)
    time_ms = found.begin_ms[:, None] + np.multiply.outer(found.length_ms / rule.samples, np.arange(rule.samples))
    # A first or last point may miss the end of the trace by rounding.
    voltage_mV = trace.voltage_mV(np.clip(time_ms, 0.0, trace.duration_ms))
    if rule.resample_to:
        from scipy.signal import resample  # half a second to import, and few rules resample

        voltage_mV = resample(voltage_mV, rule.resample_to, axis=1)
    kept = voltage_mV[:, rule.trim : rule.trim + rule.output_samples]
    return ExtractedWindows(WINDOWED, kept.astype(np.float32), found)
