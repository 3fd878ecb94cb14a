"""Level crossings and extremes of a trace, taken on the continuous curve and not on its steps."""

import numpy as np
from jaxtyping import Float64

from cardioemu.traces.curve import Extreme, crossings, refine, slope_maximum, voltage_extreme
from cardioemu.traces.trace import Number, Trace


def upward_crossings(trace: Trace, level_mV: Number) -> Float64[np.ndarray, " crossings"]:
    """Find every time at which V goes from below a level to above it, also inside one solver step.

    Touching the level is no crossing; a step exactly at the level on the way up is one crossing.

    Args:
        trace: any trace; a failed one is searched up to its last step.
        level_mV: the level.

    Returns:
        Times in ms, ascending, solved to 1e-9 ms.

    Source: DESIGN, decision 3 (crossings are roots of V(t), not sample indices).
    """
    cubics = trace.cubics()
    return crossings(cubics, refine(cubics), level_mV, rising=True).time_ms


def downward_crossings(trace: Trace, level_mV: Number) -> Float64[np.ndarray, " crossings"]:
    """Find every time at which V goes from above a level to below it; otherwise as `upward_crossings`."""
    cubics = trace.cubics()
    return crossings(cubics, refine(cubics), level_mV, rising=False).time_ms


def highest(trace: Trace, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the largest V (mV) of [from_ms, to_ms] and its time (ms).

    Raises:
        ValueError: an interval that is empty or leaves the trace.

    Source: reference biomarkers.json (peak: the largest V), on the curve of DESIGN, decision 3.
    """
    check_interval(trace, from_ms, to_ms)
    cubics = trace.cubics()
    return voltage_extreme(cubics, refine(cubics), from_ms, to_ms, sign=1)


def lowest(trace: Trace, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the smallest V (mV) of [from_ms, to_ms] and its time (ms); otherwise as `highest`."""
    check_interval(trace, from_ms, to_ms)
    cubics = trace.cubics()
    return voltage_extreme(cubics, refine(cubics), from_ms, to_ms, sign=-1)


def steepest(trace: Trace, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the largest dV/dt (mV per ms, which is V/s) of [from_ms, to_ms] and its time (ms).

    Raises:
        ValueError: an interval that is empty or leaves the trace.

    Source: reference biomarkers.json (t_max_upstroke), on the curve of DESIGN, decision 3.
    """
    check_interval(trace, from_ms, to_ms)
    return slope_maximum(trace.cubics(), from_ms, to_ms)


def check_interval(trace: Trace, from_ms: Number, to_ms: Number) -> None:
    """Raise ValueError unless 0 <= from_ms <= to_ms <= the end of V."""
    if not 0 <= from_ms <= to_ms <= trace.end_ms:
        raise ValueError(f"an interval must lie in [0, {trace.end_ms:.12g}] ms, got [{from_ms:.12g}, {to_ms:.12g}]")
