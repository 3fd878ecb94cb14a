"""AP starts, upstrokes and the label of a cell: the only definition of an AP and of its beginning."""

from typing import Literal, get_args

import numpy as np

from cardioemu.common.arrays import Starts
from cardioemu.traces.crossings import Extreme, find_crossings, slope_maximum, value_extreme
from cardioemu.traces.cubics import Cubics, monotone_points
from cardioemu.traces.recording import Number

THRESHOLD_mV = -40.0
MIN_AMPLITUDE_mV = 40.0
REFRACTORY_MS = 50.0
RECENT_MS = 2000.0

Label = Literal["fires", "stops", "quiescent"]
LABELS: tuple[Label, ...] = get_args(Label)
FAILED = "failed"  # in place of a label, for a cell whose simulation failed


def ap_starts(cubics: Cubics) -> Starts:
    """Find the AP starts: upward crossings of -40 mV by an AP of at least 40 mV, 50 ms or more after the last.

    The amplitude is the largest V between the crossing and the next upward crossing (or the end), minus the smallest V
    between the previous upward crossing (or the beginning) and this one. This excludes an oscillation around -40 mV and
    an early afterdepolarisation from the plateau; the refractory time excludes an afterdepolarisation from lower V.

    Returns:
        Times in ms, ascending, solved on the continuous curve to 1e-9 ms.

    Source: docs/decisions/0011.
    """
    points = monotone_points(cubics)
    upward = find_crossings(cubics, points, THRESHOLD_mV, rising=True)
    segments = np.concatenate([[0], upward.after])
    lowest_before = np.minimum.reduceat(points.value, segments)[:-1]
    highest_after = np.maximum.reduceat(points.value, segments)[1:]
    return _not_refractory(upward.time_ms[highest_after - lowest_before >= MIN_AMPLITUDE_mV])


def _not_refractory(times_ms: np.ndarray) -> Starts:
    kept: list[float] = []
    for time_ms in times_ms.tolist():
        if not kept or time_ms - kept[-1] >= REFRACTORY_MS:
            kept.append(time_ms)
    return np.array(kept, dtype=np.float64)


def upstrokes(cubics: Cubics, starts_ms: Starts) -> Starts:
    """Find the time of the largest dV/dt of each AP: an alternative definition of its beginning.

    Args:
        cubics: curve of the trace.
        starts_ms: its AP starts (starts,).

    Returns:
        Times in ms (starts,), exact on the continuous curve.
    """
    times = starts_ms.tolist()
    ends = [*times[1:], float(cubics.knot_ms[-1])]
    upstrokes_ms = []
    for since, start, end in zip([0.0, *times], times, ends, strict=False):
        peak = value_extreme(cubics, start, end, sign=1)
        upstrokes_ms.append(upstroke(cubics, since, start, peak.time_ms).time_ms)
    return np.array(upstrokes_ms, dtype=np.float64)


def upstroke(cubics: Cubics, since_ms: Number, start_ms: Number, peak_ms: Number) -> Extreme:
    """Find the largest dV/dt (V/s) of one AP, between the smallest V in [since_ms, start_ms] and the peak.

    Source: reference biomarkers.json (dvdt_max).
    """
    diastole = value_extreme(cubics, since_ms, start_ms, sign=-1)
    return slope_maximum(cubics, diastole.time_ms, peak_ms)


def classify(starts_ms: Starts, duration_ms: float | int) -> Label:
    """Label a cell by its AP starts (ms, ascending) in a trace of `duration_ms`.

    Returns:
        "fires" with a start in the last 2 000 ms (a start exactly 2 000 ms before the end counts), "stops" with earlier
        starts only, "quiescent" with none.

    Source: docs/decisions/0011.
    """
    if len(starts_ms) == 0:
        return "quiescent"
    return "fires" if starts_ms[-1] >= duration_ms - RECENT_MS else "stops"
