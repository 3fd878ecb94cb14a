"""AP starts and the three labels of a cell."""

from typing import Literal, get_args

import numpy as np

from cardioemu.traces.cubics import Cubics
from cardioemu.traces.curve import crossings, refine
from cardioemu.types import Starts

THRESHOLD_mV = -40.0
MIN_AMPLITUDE_mV = 40.0
RECENT_MS = 2000.0

Label = Literal["fires", "stops", "quiescent"]
LABELS: tuple[Label, ...] = get_args(Label)


def ap_starts(cubics: Cubics) -> Starts:
    """Find the AP starts: upward crossings of -40 mV by an AP of at least 40 mV.

    The amplitude that counts is the largest V from the crossing to the next upward crossing (or the end), minus the
    smallest V between the previous upward crossing (or the beginning) and this one. So neither an oscillation around
    -40 mV nor an early afterdepolarisation that takes off from the plateau is a start.

    Returns:
        Times in ms, ascending, solved on the continuous curve to 1e-9 ms.

    Source: DESIGN, section 2 (AP start).
    """
    points = refine(cubics)
    upward = crossings(cubics, points, THRESHOLD_mV, rising=True)
    segments = np.concatenate([[0], upward.after])
    lowest_before = np.minimum.reduceat(points.value, segments)[:-1]
    highest_after = np.maximum.reduceat(points.value, segments)[1:]
    return upward.time_ms[highest_after - lowest_before >= MIN_AMPLITUDE_mV]


def label_of(starts_ms: Starts, duration_ms: float | int) -> Label:
    """Label a cell by its AP starts (ms, ascending) in a trace of `duration_ms`.

    Returns:
        "fires" with a start in the last 2 000 ms (a start exactly 2 000 ms before the end counts), "stops" with earlier
        starts only, "quiescent" with none.

    Source: DESIGN, section 2 (the three labels).
    """
    if len(starts_ms) == 0:
        return "quiescent"
    return "fires" if starts_ms[-1] >= duration_ms - RECENT_MS else "stops"
