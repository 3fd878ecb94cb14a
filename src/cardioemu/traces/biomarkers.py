"""Biomarkers of every beat of a trace."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cardioemu.traces.crossings import check_interval, find_crossings, value_extreme
from cardioemu.traces.cubics import Cubics, Points, monotone_points
from cardioemu.traces.recording import Number
from cardioemu.traces.starts import upstroke
from cardioemu.traces.trace import Trace

BIOMARKERS = (
    "start_ms",
    "apd50_ms",
    "apd75_ms",
    "apd90_ms",
    "cl_ms",
    "mdp_mV",
    "peak_mV",
    "amplitude_mV",
    "dvdt_max_V_s",
)
APD_PERCENT = (50, 75, 90)
APD_FROM = ("upstroke", "peak")


def biomarkers(trace: Trace, apd_from: str = "upstroke", apd_percent: Sequence[int] = APD_PERCENT) -> pd.DataFrame:
    """Measure every complete beat of a trace, from its AP start to the next.

    Args:
        trace: any trace; that of a failed cell is measured up to its failure.
        apd_from: where APDs begin: at the largest dV/dt ("upstroke") or at the largest V ("peak").
        apd_percent: the repolarisation levels x of the APDs, each between 0 and 100.

    Returns:
        One row per complete beat, all float64: the columns of `BIOMARKERS`, with an APD for each of `apd_percent`.
        `cl_ms` is the time to the next AP start, the others are as in `beat_biomarkers`. A cell without complete beats
        has no rows but all columns.

    Raises:
        ValueError: an unknown `apd_from`, or a level outside (0, 100).

    Source: reference biomarkers.json; docs/decisions/0011 for the AP starts that delimit a beat.
    """
    _check_apds(apd_from, apd_percent)
    cubics = trace.cubics()
    points = monotone_points(cubics)
    starts = trace.starts_ms.tolist()
    rows = [
        {"cl_ms": end - start, **_measure(cubics, points, start, end, since, apd_from, apd_percent)}
        for since, start, end in zip([0.0, *starts], starts, starts[1:], strict=False)
    ]
    apds = [f"apd{percent}_ms" for percent in apd_percent]
    columns = [BIOMARKERS[0], *apds, *(name for name in BIOMARKERS[1:] if not name.startswith("apd"))]
    return pd.DataFrame(rows, columns=columns, dtype="float64")


def beat_biomarkers(
    trace: Trace,
    start_ms: Number,
    end_ms: Number,
    since_ms: Number = 0.0,
    apd_from: str = "upstroke",
    apd_percent: Sequence[int] = APD_PERCENT,
) -> Mapping[str, float]:
    """Measure one beat from its AP start to a given time: the next AP start, or the end of a window.

    Peak: the largest V of the beat. MDP (maximum diastolic potential): the smallest V after the peak. Amplitude: peak -
    MDP. dV/dt max: the largest between the smallest V of [since_ms, start_ms] and the peak. APDx: from dV/dt max, or
    from the peak, to the first downward crossing of peak - x/100 amplitude after the peak.

    Args:
        trace: the trace.
        start_ms: the AP start.
        end_ms: the end of the beat. If it precedes the diastolic minimum, MDP, amplitude and APDs describe the
            truncated beat.
        since_ms: where the search for the preceding diastolic minimum begins: the previous AP start if there is one.
        apd_from: "upstroke" or "peak".
        apd_percent: the repolarisation levels x of the APDs.

    Returns:
        The columns of `BIOMARKERS` except `cl_ms`, which needs a next AP start; an APD is NaN if V does not fall below
        its level.

    Raises:
        ValueError: times not in ascending order inside the trace, an unknown `apd_from`, or a level outside (0, 100).

    Source: reference biomarkers.json (peak, mdp, amplitude, dvdt_max, both apdX).
    """
    _check_apds(apd_from, apd_percent)
    check_interval(trace, since_ms, start_ms)
    check_interval(trace, start_ms, end_ms)
    cubics = trace.cubics(since_ms, end_ms)
    return _measure(cubics, monotone_points(cubics), start_ms, end_ms, since_ms, apd_from, apd_percent)


def _measure(
    cubics: Cubics,
    points: Points,
    start_ms: Number,
    end_ms: Number,
    since_ms: Number,
    apd_from: str,
    apd_percent: Sequence[int],
) -> dict[str, float]:
    peak = value_extreme(cubics, start_ms, end_ms, sign=1)
    mdp = value_extreme(cubics, peak.time_ms, end_ms, sign=-1)
    rise = upstroke(cubics, since_ms, start_ms, peak.time_ms)
    amplitude = peak.value - mdp.value
    zero = rise.time_ms if apd_from == "upstroke" else peak.time_ms
    falling = points.around(peak.time_ms, end_ms)
    apds = {
        f"apd{percent}_ms": _fall(cubics, falling, peak.value - percent / 100 * amplitude, peak.time_ms, end_ms) - zero
        for percent in apd_percent
    }
    return {
        "start_ms": float(start_ms),
        **apds,
        "mdp_mV": mdp.value,
        "peak_mV": peak.value,
        "amplitude_mV": amplitude,
        "dvdt_max_V_s": rise.value,
    }


def _fall(cubics: Cubics, points: Points, level_mV: Number, after_ms: float, before_ms: Number) -> float:
    times = find_crossings(cubics, points, level_mV, rising=False).time_ms
    times = times[(times >= after_ms) & (times <= before_ms)]
    return float(times[0]) if times.size else float("nan")


def _check_apds(apd_from: Any, apd_percent: Sequence[int]) -> None:
    if apd_from not in APD_FROM:
        raise ValueError(f'apd_from must be "upstroke" or "peak", got {apd_from!r}')
    for percent in apd_percent:
        if not 0 < percent < 100:
            raise ValueError(f"apd_percent must hold levels between 0 and 100, got {percent!r}")
