"""Building traces from the steps of a solver written in Python."""

from typing import NamedTuple

import numpy as np

from cardioemu.simulation.solvers.numpy_functions import channels
from cardioemu.simulation.solvers.problem import NOT_FINITE, Problem, failure_status
from cardioemu.traces import SPACING_MS, Recording, Trace

# Distance beyond the last step at which rates are evaluated to determine why the solver stopped there.
AHEAD_MS = 1e-6
# Bounds the memory of intermediate variables: one array of this many steps each.
STEPS_PER_CHUNK = 4096


class Failure(NamedTuple):
    """Why a solver stopped, and the index of the state that caused it."""

    reason: str
    culprit: int


class Steps(NamedTuple):
    """The steps of one cell; an edge of the schedule occurs twice.

    Attributes:
        time_ms: (steps,).
        states: (steps, states).
        segment: (steps,) index of the segment of the schedule.
        failure: why the steps end before the requested duration.
    """

    time_ms: np.ndarray
    states: np.ndarray
    segment: np.ndarray
    failure: Failure | None = None


class TraceBuilder:
    """Builder of the traces of one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.channels = channels(problem.cell, problem.record)

    def failure(self, reason: str, scale: np.ndarray, time_ms: float, segment: int, state: np.ndarray) -> Failure:
        """Attribute a failure to a rate that is not finite, here or just ahead, or to the fastest changing state."""
        cell, rates = self.problem.cell, np.zeros_like(state)
        for ahead_ms in (0.0, AHEAD_MS):
            with np.errstate(all="ignore"):
                state_ahead = state + ahead_ms * rates
                rates = cell.derivatives(state_ahead, scale, time_ms + ahead_ms, self.problem.schedule.levels[segment])
            if not np.isfinite(rates).all():
                return Failure(NOT_FINITE, int(np.argmin(np.isfinite(rates))))
        return Failure(reason, int(np.argmax(np.abs(rates) / (self.problem.atol + self.problem.rtol * np.abs(state)))))

    def build(self, scale: np.ndarray, steps: Steps) -> Trace:
        """Build the trace of one cell; it ends before the first step whose V or dV/dt is not finite in float32."""
        problem, final, failure = self.problem, steps.states[-1], steps.failure
        time_ms, states, segment = (column[_keep_spaced(steps)] for column in steps[:3])
        scaled = scale * problem.cell.equations.control_values
        curves = np.empty((len(time_ms), 1 + len(problem.record), 2), dtype=np.float32)
        with np.errstate(all="ignore"):  # overflow is detected below
            for first in range(0, len(time_ms), STEPS_PER_CHUNK):
                chunk = slice(first, first + STEPS_PER_CHUNK)
                levels = problem.schedule.levels[segment[chunk]].T
                columns = self.channels(time_ms[chunk], states[chunk].T, scaled, levels)
                for channel, column in enumerate(columns):
                    curves[chunk, channel // 2, channel % 2] = column
        finite = np.isfinite(states)
        finite[:, problem.cell.potential] &= np.isfinite(curves[:, 0]).all(axis=1)
        valid = np.logical_and.accumulate(finite.all(axis=1))
        if not valid.all():
            failure = Failure(NOT_FINITE, int(np.argmin(finite[valid.argmin()])))
            valid[0] = True  # a trace has at least the initial state
            curves[0, 0] = np.nan_to_num(curves[0, 0])
            time_ms, curves, final = time_ms[valid], curves[valid], states[valid][-1]
        status = "ok"
        if failure is not None:
            status = failure_status(failure.reason, time_ms[-1], problem.cell.states[failure.culprit])
        (voltage_mV, dvdt), *recorded = np.ascontiguousarray(curves.transpose(1, 2, 0))
        recordings = {
            name: Recording(time_ms, value, slope, problem.duration_ms, status)
            for name, (value, slope) in zip(problem.record, recorded, strict=True)
        }
        return Trace(time_ms, voltage_mV, dvdt, problem.duration_ms, status, recordings, final.copy())


def _keep_spaced(steps: Steps) -> np.ndarray:
    """Return which steps a trace keeps: all except those inside a segment that are too close to the previous one."""
    time_ms, segment = steps.time_ms, steps.segment
    kept, last = np.ones(len(time_ms), dtype=bool), 0
    for i in np.flatnonzero(np.diff(time_ms, prepend=-np.inf) < SPACING_MS):
        inside = i + 1 < len(time_ms) and segment[i - 1] == segment[i] == segment[i + 1]
        last = int(i) - 1 if kept[i - 1] else last
        kept[i] = not (inside and time_ms[i] - time_ms[last] < SPACING_MS)
    return kept
