"""What the beats of a trace say together: rate, variability, alternans, early afterdepolarisations."""

import numpy as np
import pandas as pd

from cardioemu.traces.biomarkers import biomarkers
from cardioemu.traces.curve import Points, monotone_points
from cardioemu.traces.recording import Number
from cardioemu.traces.trace import Trace

EAD_RISE_mV = 2.0
EAD_PERCENT = (25, 90)  # of the amplitude: what has been lost where an afterdepolarisation begins
ALTERNANS_PERCENT = 2.0
ALTERNATING = 4  # differences between successive beats

RHYTHM = (
    "beats",
    "rate_per_min",
    "cl_sd_ms",
    "triangulation_ms",
    "apd90_stv_ms",
    "apd90_alternans_percent",
    "alternans",
    "ead_beats",
    "quiescent",
)


def rhythm(trace: Trace, settle_ms: Number = 0.0) -> dict[str, float]:
    """Measures the complete beats of a trace together; what too few beats cannot tell is NaN.

    Args:
        trace: any trace; a failed one is measured up to its failure.
        settle_ms: beats that start earlier do not count.

    Returns:
        By the names of `RHYTHM`, flags as 0 or 1:
        `beats`: complete ones. `rate_per_min`: 60 000 over the mean cycle length. `cl_sd_ms`: standard deviation of the
        cycle length (n - 1). `triangulation_ms`: mean of APD90 - APD50, both from the largest dV/dt (Hondeghem et al.,
        Circulation 2001;103:2004, take APD90 - APD30). `apd90_stv_ms`: short-term variability, the mean of
        what APD90 differs by from the beat before, without its sign, / sqrt 2 (Thomsen et al., Circulation
        2004;110:2453).
        `apd90_alternans_percent`: how far APD90 goes up and down from beat to beat, the mean of its differences with
        alternating signs, of the mean APD90; `alternans`: at least 2 % of it, and the last four differences have
        alternating signs (both numbers are ours). `ead_beats`: beats with an early afterdepolarisation: V turns and
        rises by at least 2 mV after it has lost a quarter of the amplitude and before it has lost 90 % (ours).
        `quiescent`: without an AP start in all of the trace.
    """
    beats = biomarkers(trace)
    beats = beats[beats["start_ms"] >= settle_ms]
    cl_ms, apd90_ms = beats["cl_ms"], beats["apd90_ms"].to_numpy()
    steps = np.diff(apd90_ms)
    alternating = steps * (-1.0) ** np.arange(len(steps))
    percent = 100 * abs(_mean(alternating)) / _mean(apd90_ms)
    signs = np.sign(alternating[-ALTERNATING:])
    alternans = len(signs) == ALTERNATING and abs(signs.sum()) == ALTERNATING and percent >= ALTERNANS_PERCENT
    found = (
        len(beats),
        60_000 / _mean(cl_ms.to_numpy()),
        float(cl_ms.std()),
        _mean((beats["apd90_ms"] - beats["apd50_ms"]).to_numpy()),
        _mean(np.abs(steps)) / np.sqrt(2),
        percent,
        alternans,
        _ead_beats(trace, beats),
        len(trace.starts_ms) == 0,
    )
    return dict(zip(RHYTHM, map(float, found), strict=True))


def _ead_beats(trace: Trace, beats: pd.DataFrame) -> int:
    points = monotone_points(trace.cubics())
    columns = (beats[name].tolist() for name in ("start_ms", "cl_ms", "peak_mV", "amplitude_mV"))
    return sum(_has_ead(points, *row) for row in zip(*columns, strict=True))


def _has_ead(points: Points, start_ms: float, cl_ms: float, peak_mV: float, amplitude_mV: float) -> bool:
    voltage_mV = points.around(start_ms, start_ms + cl_ms).value
    voltage_mV = voltage_mV[int(np.argmax(voltage_mV)) :]  # from the peak on
    lost_percent = 100 * (peak_mV - voltage_mV) / amplitude_mV
    begins, ends = EAD_PERCENT
    if (lost_percent > ends).any():
        voltage_mV = voltage_mV[: int(np.argmax(lost_percent > ends))]
        lost_percent = lost_percent[: len(voltage_mV)]
    rises_mV = np.maximum.accumulate(voltage_mV[::-1])[::-1] - voltage_mV  # from each point to the highest after it
    return bool(((lost_percent > begins) & (rises_mV >= EAD_RISE_mV)).any())


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
