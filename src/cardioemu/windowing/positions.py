"""Where in a trace its windows lie."""

from typing import NamedTuple

import numpy as np

from cardioemu.common.arrays import Starts, WindowTimes
from cardioemu.traces import Trace
from cardioemu.windowing.rule import WindowRule

SLACK = 1e-6  # of an interval: an AP start this little after a sample lies on it but for rounding


class WindowPositions(NamedTuple):
    """When each window of a cell begins, how long it lasts, and the cycle length of its AP (windows,), in ms.

    The last is the time from the AP start that the window is aligned to to the next one, NaN without a next one.
    """

    begin_ms: WindowTimes
    length_ms: WindowTimes
    cycle_length_ms: WindowTimes


def find_positions(trace: Trace, rule: WindowRule, cell: int = 0) -> WindowPositions:
    """Finds where the windows of a cell lie: `rule.count` of the places that fit, or all of them if fewer do.

    Args:
        trace: of the cell.
        rule: which places fit, and which of those are chosen.
        cell: its number in the design, which makes its random choice its own.
    """
    if rule.align == "none":
        fit = consecutive_positions(trace.duration_ms, rule)
    else:
        starts_ms = trace.starts_ms if rule.start == "threshold" else trace.upstrokes_ms
        fit = aligned_positions(starts_ms, trace.duration_ms, rule)
    chosen = select_positions(len(fit.begin_ms), rule, cell)
    return WindowPositions(*(column[chosen] for column in fit))


def aligned_positions(starts_ms: Starts, duration_ms: float | int, rule: WindowRule) -> WindowPositions:
    """Finds every place about an AP start that fits: the start not before `settle_ms`, all points in the trace.

        starts 100 600 1100 1600 2100, duration 2500, settle 500, 301 points 1 ms apart, offset 50
        begin  550 1050 1550 2050

    A window of one cycle fits if another AP start ends it. Windows may overlap.
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
    """Finds the places from `settle_ms` on, each where the one before ends, whatever V does there."""
    assert rule.length_ms != "cycle"
    count = int((duration_ms + rule.interval_ms - rule.settle_ms) / rule.length_ms + SLACK)
    begin_ms = rule.settle_ms + rule.length_ms * np.arange(max(count, 0))
    return WindowPositions(begin_ms, np.full_like(begin_ms, rule.length_ms), np.full_like(begin_ms, np.nan))


def select_positions(fit: int, rule: WindowRule, cell: int = 0) -> np.ndarray:
    """Chooses `rule.count` of the places that fit, ascending; all of them where fewer fit.

    Spread evenly by number, the first and the last are always chosen (with count 1 the first):

        fit 0 1 2 3   count 1: 0      count 2: 0 3      count 3: 0 1 3      count 9: 0 1 2 3
    """
    count = min(rule.count, fit)
    if rule.choose == "last":
        return np.arange(fit - count, fit)
    if rule.choose == "random":
        return np.sort(np.random.default_rng((rule.seed, cell)).permutation(fit)[:count])
    if rule.choose == "first" or count < 2:
        return np.arange(count)
    # Whole-number arithmetic, halves down: the table above does not hang on how a machine rounds.
    gaps = count - 1
    return -((gaps - 2 * (fit - 1) * np.arange(count)) // (2 * gaps))
