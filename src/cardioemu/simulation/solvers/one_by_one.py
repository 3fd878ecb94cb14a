"""The loop of the solvers written in Python: one cell after the other, from edge to edge of the schedule."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from cardioemu.simulation.solvers.numpy_functions import channels
from cardioemu.simulation.solvers.problem import NOT_FINITE, Problem, failure_status
from cardioemu.traces import SPACING_MS, Trace

# Distance beyond the last step at which rates are evaluated to determine why the solver stopped there.
AHEAD_MS = 1e-6
# Bounds the memory of intermediate variables: one array of this many steps each.
STEPS_PER_CHUNK = 4096


class Piece(NamedTuple):
    """The steps of one cell from one edge of the schedule to the next, both included.

    Attributes:
        time_ms: (steps,).
        states: (steps, states).
        reason: why the steps end before the next edge; None if they reach it.
    """

    time_ms: np.ndarray
    states: np.ndarray
    reason: str | None


Integrate: TypeAlias = Callable[[float, float, np.ndarray, np.ndarray], Piece]
"""Integrates one cell between two edges, in ms, with constant levels of the inputs, from a state."""


def solve_one_by_one(
    problem: Problem, start_cell: Callable[[np.ndarray], Integrate], progress: Callable[[int], None]
) -> list[Trace]:
    """Integrate each cell, which `start_cell` prepares from its scale vector, to the end or until it fails."""
    edges_ms, levels = problem.schedule
    traces: list[Trace] = []
    for scale, state in zip(problem.scales, problem.initial, strict=True):
        integrate, pieces, status = start_cell(scale), [], "ok"
        for segment, (begin, end) in enumerate(pairwise([*edges_ms, problem.duration_ms])):
            time_ms, states, reason = integrate(begin, end, levels[segment], state)
            pieces.append((time_ms, states, np.full(len(time_ms), segment)))
            state = states[-1]
            if reason is not None:
                status = _status(problem, reason, scale, time_ms[-1], levels[segment], state)
                break
            time_ms[-1] = end  # begin + (end - begin) may differ in the last bit
        time_ms, states, segments = (np.concatenate(column) for column in zip(*pieces, strict=True))
        traces.append(_trace(problem, scale, time_ms, states, segments, status))
        progress(len(traces))
    return traces


def _status(
    problem: Problem, reason: str, scale: np.ndarray, time_ms: float, levels: np.ndarray, state: np.ndarray
) -> str:
    """Attribute a failure to a rate that is not finite, here or just ahead, or to the fastest changing state."""
    cell, rates = problem.cell, np.zeros_like(state)
    with np.errstate(all="ignore"):
        for ahead_ms in (0.0, AHEAD_MS):
            rates = cell.derivatives(state + ahead_ms * rates, scale, time_ms + ahead_ms, levels)
            if not np.isfinite(rates).all():
                return failure_status(NOT_FINITE, time_ms, cell.states[np.argmin(np.isfinite(rates))])
        speed = np.abs(rates) / (problem.atol + problem.rtol * np.abs(state))
    return failure_status(reason, time_ms, cell.states[np.argmax(speed)])


def _trace(
    problem: Problem, scale: np.ndarray, time_ms: np.ndarray, states: np.ndarray, segment: np.ndarray, status: str
) -> Trace:
    """Build the trace of one cell; it ends before the first step whose V or dV/dt is not finite in float32."""
    kept = _keep_spaced(time_ms, segment)
    time_ms, states, segment = time_ms[kept], states[kept], segment[kept]
    cell, function = problem.cell, channels(problem.cell, problem.record)
    scaled = scale * cell.equations.control_values
    curves = np.empty((2 * (1 + len(problem.record)), len(time_ms)), dtype=np.float32)
    with np.errstate(all="ignore"):  # overflow is detected below
        for first in range(0, len(time_ms), STEPS_PER_CHUNK):
            chunk = slice(first, first + STEPS_PER_CHUNK)
            levels = problem.schedule.levels[segment[chunk]].T
            for channel, column in enumerate(function(time_ms[chunk], states[chunk].T, scaled, levels)):
                curves[channel, chunk] = column
    finite = np.isfinite(states)
    finite[:, cell.potential] &= np.isfinite(curves[:2]).all(axis=0)
    valid = np.logical_and.accumulate(finite.all(axis=1))
    if not valid.all():
        culprit = cell.states[np.argmin(finite[valid.argmin()])]
        valid[0] = True  # a trace has at least the initial state
        curves[:2, 0] = np.nan_to_num(curves[:2, 0])
        time_ms, curves, states = time_ms[valid], curves[:, valid], states[valid]
        status = failure_status(NOT_FINITE, time_ms[-1], culprit)
    return problem.trace(time_ms, curves, status, states[-1])


def _keep_spaced(time_ms: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Return which steps a trace keeps: all except those inside a segment that are too close to the previous one."""
    kept, last = np.ones(len(time_ms), dtype=bool), 0
    for i in np.flatnonzero(np.diff(time_ms, prepend=-np.inf) < SPACING_MS):
        inside = i + 1 < len(time_ms) and segment[i - 1] == segment[i] == segment[i + 1]
        last = int(i) - 1 if kept[i - 1] else last
        kept[i] = not (inside and time_ms[i] - time_ms[last] < SPACING_MS)
    return kept
