"""Piecewise constant inputs: levels between edges, from stimuli or from a function of time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cardioemu.common.errors import UserError
from cardioemu.simulation.equations.explicit_time import LevelAt

MAX_EDGES = 10_000_000
# A level that lasts for less than this time can be missed.
GRID_MS = 0.01
GRID_CHUNK = 65_536


class PiecewiseConstant(NamedTuple):
    """Levels over time, constant between edges: of one input, or of all inputs of a cell.

    Attributes:
        edges_ms: (segments,) beginning of each segment, strictly ascending from 0.
        levels: (segments,) of one input, (segments, inputs) of a cell.
    """

    edges_ms: np.ndarray
    levels: np.ndarray


class PulseTrain(NamedTuple):
    """Equal stimuli; `repeats` may be infinite."""

    level: float
    start_ms: float
    duration_ms: float
    period_ms: float
    repeats: float


def from_pulse_trains(trains: Sequence[PulseTrain], duration_ms: float | int, name: str) -> PiecewiseConstant:
    """Return the levels of the input `name`: 0 outside all stimuli; a later stimulus replaces an earlier one.

    Raises:
        UserError: more than `MAX_EDGES` edges, stimuli that begin at the same time, or a stimulus without length.
    """
    counts = [_count(train, duration_ms) for train in trains]
    if 2 * sum(counts) > MAX_EDGES:
        raise UserError(f"protocol: {name!r} changes more than {MAX_EDGES:,} times; use a longer period")
    starts = [t.start_ms + np.arange(n) * t.period_ms for t, n in zip(trains, counts, strict=True)]
    start = np.concatenate([np.empty(0), *starts])
    length, level = (np.repeat(a, counts) for a in ([t.duration_ms for t in trains], [t.level for t in trains]))
    order = np.argsort(start, kind="stable")
    order = order[start[order] < duration_ms]
    start, end, level = start[order], (start + length)[order], level[order]
    following = np.append(start, np.inf)[1:]
    rounding = 4 * np.spacing(end)
    for wrong, message in (
        (end <= start, "the stimulus of {} at {:.12g} ms has no length; set its duration or remove it"),
        (following - start <= rounding, "two stimuli of {} begin at the same time, {:.12g} ms; move one of them"),
    ):
        if wrong.any():
            raise UserError("protocol: " + message.format(repr(name), start[wrong][0]))
    returns_to_0 = end < following - rounding
    edges = np.concatenate([np.zeros(1), start, end[returns_to_0]])
    levels = np.concatenate([np.zeros(1), level, np.zeros(returns_to_0.sum())])
    order = np.argsort(edges, kind="stable")
    edges, levels = edges[order], levels[order]
    last = np.append(np.diff(edges) > 0, True) & (edges < duration_ms)  # a stimulus at time 0 replaces the initial 0
    return PiecewiseConstant(edges[last], levels[last])


def _count(train: PulseTrain, duration_ms: float | int) -> int:
    if train.repeats == 1:
        return 1
    fit = np.clip((duration_ms - train.start_ms) / train.period_ms + 2, 0, MAX_EDGES)
    return int(min(fit, train.repeats))


def from_function(level_at: LevelAt, duration_ms: float | int) -> PiecewiseConstant:
    """Return the levels of an input whose level is a piecewise constant function of time in ms, (n,) -> (n,).

    Returns:
        Edges exact to the last bit: each is the first float at which the function has the new level.

    Raises:
        UserError: a level that is not finite, or more than `MAX_EDGES` edges.
    """

    def finite_level_at(time_ms: np.ndarray) -> np.ndarray:
        levels = level_at(time_ms)
        if not np.isfinite(levels).all():
            failed_ms = time_ms[~np.isfinite(levels)][0]
            raise UserError(f"simulator.model: an input is not finite at {failed_ms:.6g} ms; correct the model file")
        return levels

    edges: list[np.ndarray] = [np.zeros(1)]
    levels = [finite_level_at(edges[0])]
    points = int(np.ceil(duration_ms / GRID_MS)) + 1
    for first in range(0, points - 1, GRID_CHUNK):
        grid = np.arange(first, min(first + GRID_CHUNK + 1, points)) * GRID_MS
        on_grid = finite_level_at(grid)
        low, high, at_low, at_high = grid[:-1], grid[1:], on_grid[:-1], on_grid[1:]
        while (changed := at_low != at_high).any():
            low, high, at_low, at_high = low[changed], high[changed], at_low[changed], at_high[changed]
            low = _first_change(finite_level_at, low, high, at_low)
            at_low = finite_level_at(low)
            edges.append(low)
            levels.append(at_low)
            if sum(map(len, edges)) > MAX_EDGES:
                raise UserError(f"simulator.model: an input jumps more than {MAX_EDGES:,} times; simulate less time")
    edge, level = np.concatenate(edges), np.concatenate(levels)
    order = np.argsort(edge)
    order = order[edge[order] < duration_ms]
    return PiecewiseConstant(edge[order], level[order])


def _first_change(level_at: LevelAt, low: np.ndarray, high: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Bisect each (low, high] for the first float at which a function has another level than `level`."""
    while True:
        middle = low + 0.5 * (high - low)
        if not ((middle > low) & (middle < high)).any():
            return high
        same = level_at(middle) == level
        low, high = np.where(same, middle, low), np.where(same, high, middle)
