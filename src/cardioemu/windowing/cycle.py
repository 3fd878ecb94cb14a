"""The registered cycle of a trace: what a network that works in registered time is trained on."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import Starts
from cardioemu.common.registration import EDGE_MS, LANDMARKS, NODE_COUNT, PERCENT, node_times_ms
from cardioemu.traces import Trace, beat_biomarkers, maximum
from cardioemu.windowing.rule import Time

COUNT_OF_ROW = NODE_COUNT + 2 * len(LANDMARKS) + 1
STEEPEST = 0.1  # log landmarks per beat: those of a cell that pauses between two beats say nothing


class Cycle(NamedTuple):
    """One cycle: its landmarks in ms after the AP start, as in `LANDMARKS`, and V at the nodes of registered time."""

    landmarks_ms: Float64[np.ndarray, " landmarks"]
    nodes_mV: Float64[np.ndarray, " nodes"]


@dataclass(frozen=True)
class CycleRule:
    """The cycle at a time, between those of the two APs that follow it.

    As a set of windows it has one row per cell: V at the nodes in mV; the logarithms of the landmarks in ms; what they
    gain per beat; and the beats since the cell began, whose fraction tells when the next AP comes.

    Attributes:
        settle_ms: the time in the trace.
    """

    settle_ms: Time = 0.0

    @property
    def count(self) -> int:
        """Rows per cell."""
        return 1

    @property
    def output_samples(self) -> int:
        """Numbers in a row."""
        return COUNT_OF_ROW


def registered_cycle_vector(trace: Trace, rule: CycleRule) -> np.ndarray | None:
    """Registers a cell at a time; None where fewer than three AP starts follow it or a cycle cannot be registered.

    Its quantities, which change from beat to beat while the cell settles, are taken at the time itself, on the line
    through those of the next two beats: so that they hang on the scales smoothly, whatever the phase. Those of a cell
    that has yet to begin are of its first beat, and its beats since then are below 0.

    Returns:
        (points,) float32, as `CycleRule` says.
    """
    starts_ms = trace.starts_ms
    first = int(np.searchsorted(starts_ms, rule.settle_ms))
    if len(starts_ms) < first + 3:
        return None
    cycles = [register_cycle(trace, starts_ms, number) for number in (first, first + 1)]
    if cycles[0] is None or cycles[1] is None:
        return None
    one, other = cycles[0], cycles[1]
    had = trace.aps_before_start + first
    until = (float(starts_ms[first]) - rule.settle_ms) / float(one.landmarks_ms[-1])  # in beats
    until = min(until, 1.0) if had else until
    back = until if had else 0.0  # before its first beat a cell is on no line through beats
    gain = np.clip(np.log(other.landmarks_ms / one.landmarks_ms), -STEEPEST, STEEPEST)
    landmarks = np.log(one.landmarks_ms) - back * gain
    nodes_mV = one.nodes_mV - back * (other.nodes_mV - one.nodes_mV)
    since_begin = had - until
    return np.concatenate([nodes_mV, landmarks, gain, [since_begin]]).astype(np.float32)


def register_cycle(trace: Trace, starts_ms: Starts, number: int) -> Cycle | None:
    """Registers the cycle of one AP; None where its landmarks lie too close for the warp.

    The landmarks are counted from the AP start, not from the largest dV/dt as the biomarkers are.
    """
    start_ms, end_ms = float(starts_ms[number]), float(starts_ms[number + 1])
    peak_ms = maximum(trace, start_ms, end_ms).time_ms - start_ms
    found = beat_biomarkers(trace, start_ms, end_ms, start_ms, apd_from="peak", apd_percent=PERCENT)
    landmarks_ms = np.array([*(peak_ms + found[f"apd{percent}_ms"] for percent in PERCENT), end_ms - start_ms])
    knots_ms = np.array([EDGE_MS, *landmarks_ms[:-1], landmarks_ms[-1] - EDGE_MS])
    if not (np.diff(knots_ms) > 0).all():
        return None
    times_ms = start_ms + node_times_ms(landmarks_ms)
    return Cycle(landmarks_ms, trace.voltage_mV(np.minimum(times_ms, end_ms)))
