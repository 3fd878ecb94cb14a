"""Events of a trace or of any other recording: level crossings and extremes, on the continuous curve, not its steps."""

import numpy as np
from jaxtyping import Float64

from cardioemu.traces.curve import Extreme, crossings, monotone_points, slope_maximum, value_extreme
from cardioemu.traces.recording import Number, Recording


def upward_crossings(recording: Recording, level: Number) -> Float64[np.ndarray, " crossings"]:
    """Find every time at which a curve goes from below a level to above it, also inside one solver step.

    Touching the level is no crossing; a step exactly at the level on the way up is one crossing, and so is a jump
    across it at a stimulus edge. Where the curve is NaN nothing is known and no crossing found.

    Args:
        recording: a trace, which crosses levels in mV, or another recording; one of a cell that failed is searched up
            to its last step.
        level: the level, in the unit of the recording.

    Returns:
        Times in ms, ascending, solved to 1e-9 ms.

    Source: DESIGN, decision 3 (crossings are roots of the curve, not sample indices).
    """
    cubics = recording.cubics()
    return crossings(cubics, monotone_points(cubics), level, rising=True).time_ms


def downward_crossings(recording: Recording, level: Number) -> Float64[np.ndarray, " crossings"]:
    """Find every time at which a curve goes from above a level to below it; otherwise as `upward_crossings`."""
    cubics = recording.cubics()
    return crossings(cubics, monotone_points(cubics), level, rising=False).time_ms


def maximum(recording: Recording, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the largest value of [from_ms, to_ms] and its time (ms); it is NaN where any of the interval is.

    Where the curve jumps at an end of the interval, the value inside counts.

    Raises:
        ValueError: an interval that is empty or leaves the recording.

    Source: reference biomarkers.json (peak: the largest V), on the curve of DESIGN, decision 3.
    """
    check_interval(recording, from_ms, to_ms)
    return value_extreme(recording.cubics(), from_ms, to_ms, sign=1)


def minimum(recording: Recording, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the smallest value of [from_ms, to_ms] and its time (ms); otherwise as `highest`."""
    check_interval(recording, from_ms, to_ms)
    return value_extreme(recording.cubics(), from_ms, to_ms, sign=-1)


def max_slope(recording: Recording, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the largest slope (per ms: of a trace mV/ms, which is V/s) of [from_ms, to_ms] and its time (ms).

    A jump has no slope; it is NaN where any of the interval is.

    Raises:
        ValueError: an interval that is empty or leaves the recording.

    Source: reference biomarkers.json (t_max_upstroke), on the curve of DESIGN, decision 3.
    """
    check_interval(recording, from_ms, to_ms)
    return slope_maximum(recording.cubics(), from_ms, to_ms)


def check_interval(recording: Recording, from_ms: Number, to_ms: Number) -> None:
    """Raise ValueError unless 0 <= from_ms <= to_ms <= the end of the curve."""
    if not 0 <= from_ms <= to_ms <= recording.end_ms:
        raise ValueError(f"an interval must lie in [0, {recording.end_ms:.12g}] ms, got [{from_ms:.12g}, {to_ms:.12g}]")
