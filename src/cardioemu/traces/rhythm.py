"""Rhythm of a trace: rate, variability, alternans, early afterdepolarisations."""

import numpy as np
import pandas as pd

from cardioemu.traces.biomarkers import biomarkers
from cardioemu.traces.cubics import Points, monotone_points
from cardioemu.traces.recording import Number
from cardioemu.traces.trace import Trace

EAD_RISE_mV = 2.0
EAD_PERCENT = (25, 90)  # repolarisation, in percent of the amplitude, at which an afterdepolarisation may begin
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
    """Measure the rhythm of the complete beats of a trace; quantities that need more beats are NaN.

    Args:
        trace: any trace; that of a failed cell is measured up to its failure.
        settle_ms: beats that start earlier are excluded.

    Returns:
        Values by the names of `RHYTHM`, flags as 0 or 1:
        `beats`: number of complete beats. `rate_per_min`: 60 000 / mean cycle length. `cl_sd_ms`: standard deviation of
        the cycle length (n - 1). `triangulation_ms`: mean of APD90 - APD50, both from the largest dV/dt (Hondeghem et
        al., Circulation 2001;103:2004, use APD90 - APD30). `apd90_stv_ms`: short-term variability: mean absolute
        difference of APD90 between successive beats / sqrt 2 (Thomsen et al., Circulation 2004;110:2453).
        `apd90_alternans_percent`: mean of the differences of APD90 between successive beats, with alternating signs, in
        percent of the mean APD90; `alternans`: it is at least 2 %, and the last four differences alternate in sign
        (both thresholds are ours). `ead_beats`: beats with an early afterdepolarisation: between 25 % and 90 %
        repolarisation, V turns and rises by at least 2 mV (thresholds are ours). `quiescent`: the trace has no AP
        start.
    """
    beats = biomarkers(trace)
    beats = beats[beats["start_ms"] >= settle_ms]
    cl_ms, apd90_ms = beats["cl_ms"], beats["apd90_ms"].to_numpy()
    steps = np.diff(apd90_ms)
    alternating = steps * (-1.0) ** np.arange(len(steps))
    percent = 100 * abs(_mean(alternating)) / _mean(apd90_ms)
    signs = np.sign(alternating[-ALTERNATING:])
    alternans = len(signs) == ALTERNATING and abs(signs.sum()) == ALTERNATING and percent >= ALTERNANS_PERCENT
    values = (
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
    return dict(zip(RHYTHM, map(float, values), strict=True))


def _ead_beats(trace: Trace, beats: pd.DataFrame) -> int:
    points = monotone_points(trace.cubics())
    columns = (beats[name].tolist() for name in ("start_ms", "cl_ms", "peak_mV", "amplitude_mV"))
    return sum(_has_ead(points, *row) for row in zip(*columns, strict=True))


def _has_ead(points: Points, start_ms: float, cl_ms: float, peak_mV: float, amplitude_mV: float) -> bool:
    voltage_mV = points.around(start_ms, start_ms + cl_ms).value
    voltage_mV = voltage_mV[int(np.argmax(voltage_mV)) :]  # starting at the peak
    repolarised_percent = 100 * (peak_mV - voltage_mV) / amplitude_mV
    begin, end = EAD_PERCENT
    if (repolarised_percent > end).any():
        voltage_mV = voltage_mV[: int(np.argmax(repolarised_percent > end))]
        repolarised_percent = repolarised_percent[: len(voltage_mV)]
    rises_mV = np.maximum.accumulate(voltage_mV[::-1])[::-1] - voltage_mV  # from each point to the largest V after it
    return bool(((repolarised_percent > begin) & (rises_mV >= EAD_RISE_mV)).any())


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
