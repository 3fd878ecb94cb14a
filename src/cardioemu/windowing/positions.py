"""Positions of windows in a trace."""

from typing import NamedTuple

import numpy as np

from cardioemu.common.arrays import Starts, WindowTimes
from cardioemu.traces import Trace
from cardioemu.windowing.rule import WindowRule

SLACK = 1e-6  # of an interval: an AP start this little after a sample counts as on the sample


class WindowPositions(NamedTuple):
    """Positions of a cell's windows.

    Attributes:
        begin_ms: first sample of each window, in ms of the trace (windows,).
        length_ms: length of each window (windows,).
        cycle_length_ms: time from the AP start of each window to the next AP start (windows,); NaN without a next one.
    """

    begin_ms: WindowTimes
    length_ms: WindowTimes
    cycle_length_ms: WindowTimes


def find_positions(trace: Trace, rule: WindowRule, cell: int = 0) -> WindowPositions:
    """Return the positions of a cell's windows: `rule.count` of those that fit, or all if fewer fit.

    The number of the cell in the design is part of the seed of a random choice.
    """
    if rule.align == "none":
        fitting = consecutive_positions(trace.duration_ms, rule)
    else:
        starts_ms = trace.starts_ms if rule.start == "threshold" else trace.upstrokes_ms
        fitting = aligned_positions(starts_ms, trace.duration_ms, rule)
    selected = select_positions(len(fitting.begin_ms), rule, cell)
    return WindowPositions(*(values[selected] for values in fitting))


def aligned_positions(starts_ms: Starts, duration_ms: float | int, rule: WindowRule) -> WindowPositions:
    """Return every position at an AP start that fits: not before `settle_ms`, all samples in the trace.

        AP starts 100 600 1100 1600 2100, duration 2500, settle 500, 301 samples 1 ms apart, offset 50
        begin         550 1050 1550 2050

    A window of one cycle fits if it ends at another AP start. Windows may overlap.
    """
    zero_ms, cycle_length_ms = starts_ms, np.diff(starts_ms, append=np.nan)
    if rule.length_ms == "cycle":
        zero_ms, cycle_length_ms = starts_ms[:-1], cycle_length_ms[:-1]
        length_ms = cycle_length_ms
    else:
        length_ms = np.full_like(starts_ms, rule.length_ms)
    if rule.align == "sample":
        zero_ms = np.ceil(zero_ms / rule.interval_ms - SLACK) * rule.interval_ms
    begin_ms = zero_ms - rule.offset_ms
    end_ms = begin_ms + length_ms * (rule.samples - 1) / rule.samples
    fits = (zero_ms >= rule.settle_ms) & (begin_ms >= 0) & (end_ms <= duration_ms)
    return WindowPositions(begin_ms[fits], length_ms[fits], cycle_length_ms[fits])


def consecutive_positions(duration_ms: float | int, rule: WindowRule) -> WindowPositions:
    """Return consecutive positions from `settle_ms` on, independent of AP starts."""
    assert rule.length_ms != "cycle"
    count = int((duration_ms + rule.interval_ms - rule.settle_ms) / rule.length_ms + SLACK)
    begin_ms = rule.settle_ms + rule.length_ms * np.arange(max(count, 0))
    return WindowPositions(begin_ms, np.full_like(begin_ms, rule.length_ms), np.full_like(begin_ms, np.nan))


def select_positions(fitting: int, rule: WindowRule, cell: int = 0) -> np.ndarray:
    """Select `rule.count` of the fitting positions, in ascending order; all of them if fewer fit.

    With choose=spread they are evenly spaced, and the first and the last are always selected (with count 1 the first):

        fitting 0 1 2 3   count 1: 0      count 2: 0 3      count 3: 0 1 3      count 9: 0 1 2 3
    """
    count = min(rule.count, fitting)
    if rule.choose == "last":
        return np.arange(fitting - count, fitting)
    if rule.choose == "random":
        return np.sort(np.random.default_rng((rule.seed, cell)).permutation(fitting)[:count])
    if rule.choose == "first" or count < 2:
        return np.arange(count)
    # Integer arithmetic, rounding halves down: the same on every machine.
    gaps = count - 1
    return -((gaps - 2 * (fitting - 1) * np.arange(count)) // (2 * gaps))
