"""The registered cycle of a trace: the training vector of a network that works in registered time."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import Starts
from cardioemu.common.registration import EDGE_MS, LANDMARKS, NODE_COUNT, PERCENT, node_times_ms
from cardioemu.traces import Trace, beat_biomarkers, maximum
from cardioemu.windowing.rule import Time

VECTOR_SIZE = NODE_COUNT + 2 * len(LANDMARKS) + 1
MAX_GAIN = 0.1  # of a log landmark per beat: a larger change is that of a pause, not of a cell that settles


class Cycle(NamedTuple):
    """One registered cycle.

    Attributes:
        landmarks_ms: in ms after the AP start, in the order of `LANDMARKS`.
        nodes_mV: V at the nodes of registered time.
    """

    landmarks_ms: Float64[np.ndarray, " landmarks"]
    nodes_mV: Float64[np.ndarray, " nodes"]


@dataclass(frozen=True)
class CycleRule:
    """The registered cycle at one time of the trace, interpolated from the next two cycles.

    A window set of cycles has one vector per cell: V at the nodes, in mV; the logarithms of the landmarks in ms; their
    change per beat; and the number of beats since the cell began, whose fraction gives the time of the next AP.

    Attributes:
        settle_ms: the time in the trace.
    """

    settle_ms: Time = 0.0

    @property
    def count(self) -> int:
        """Vectors per cell."""
        return 1

    @property
    def output_samples(self) -> int:
        """Size of a vector."""
        return VECTOR_SIZE


def registered_cycle_vector(trace: Trace, rule: CycleRule) -> np.ndarray | None:
    """Register a cell's cycle at one time.

    While a cell settles, its cycles change from beat to beat. The vector is extrapolated to the time itself, on the
    line through the next two beats, so that it depends smoothly on the scales at any phase. For a cell that has
    not begun to beat, it is the first beat, and the number of beats is negative.

    Returns:
        (VECTOR_SIZE,) float32, as described in `CycleRule`; None if fewer than three AP starts follow or a cycle cannot
        be registered.
    """
    starts_ms = trace.starts_ms
    first = int(np.searchsorted(starts_ms, rule.settle_ms))
    if len(starts_ms) < first + 3:
        return None
    one, other = (register_cycle(trace, starts_ms, number) for number in (first, first + 1))
    if one is None or other is None:
        return None
    beats_before = trace.aps_before_start + first
    wait = (float(starts_ms[first]) - rule.settle_ms) / float(one.landmarks_ms[-1])  # until the next AP, in beats
    wait = min(wait, 1.0) if beats_before else wait
    back = wait if beats_before else 0.0  # there is no line through beats before the first
    gain = np.clip(np.log(other.landmarks_ms / one.landmarks_ms), -MAX_GAIN, MAX_GAIN)
    landmarks = np.log(one.landmarks_ms) - back * gain
    nodes_mV = one.nodes_mV - back * (other.nodes_mV - one.nodes_mV)
    return np.concatenate([nodes_mV, landmarks, gain, [beats_before - wait]]).astype(np.float32)


def register_cycle(trace: Trace, starts_ms: Starts, number: int) -> Cycle | None:
    """Register the cycle of one AP; return None if its landmarks are too close for registered time.

    Landmarks are measured from the AP start; the biomarkers, in contrast, measure APD from the largest dV/dt.
    """
    start_ms, end_ms = float(starts_ms[number]), float(starts_ms[number + 1])
    peak_ms = maximum(trace, start_ms, end_ms).time_ms - start_ms
    beat = beat_biomarkers(trace, start_ms, end_ms, start_ms, apd_from="peak", apd_percent=PERCENT)
    landmarks_ms = np.array([*(peak_ms + beat[f"apd{percent}_ms"] for percent in PERCENT), end_ms - start_ms])
    knots_ms = np.array([EDGE_MS, *landmarks_ms[:-1], landmarks_ms[-1] - EDGE_MS])
    if not (np.diff(knots_ms) > 0).all():
        return None
    times_ms = start_ms + node_times_ms(landmarks_ms)
    return Cycle(landmarks_ms, trace.voltage_mV(np.minimum(times_ms, end_ms)))
