"""Cutting the windows of one trace."""

import numpy as np

from cardioemu.traces import Trace
from cardioemu.windowing.rule import WindowRule, choose_starts

WINDOWED, TOO_FEW, FAILED = "windowed", "too few windows", "failed"


def cut(trace: Trace, rule: WindowRule) -> tuple[np.ndarray | None, str]:
    """Cuts a cell's windows out of its continuous trace, aligned to the interpolated AP starts.

    Only a cell that fires and gives all `rule.count` windows takes part in the trace loss; any other gives none, and
    one of few reasons, so that they can be counted.

    Returns:
        (count, samples) float32 in mV and "windowed", or None and "failed" (its status says why), "stops", "quiescent",
        or "too few windows" for a cell that fires but has not `rule.count` AP starts whose windows fit.
    """
    if trace.status != "ok":
        return None, FAILED
    if trace.label != "fires":
        return None, str(trace.label)
    starts_ms = choose_starts(trace.starts_ms, trace.duration_ms, rule)
    if len(starts_ms) < rule.count:
        return None, TOO_FEW
    # A last point may miss the end of the trace by rounding.
    time_ms = np.minimum(starts_ms[:, None] + rule.time_ms, trace.duration_ms)
    return trace.voltage_mV(np.maximum(time_ms, 0.0)).astype(np.float32), WINDOWED
