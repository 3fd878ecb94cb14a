"""The course of one input over time: constant levels between edges, from stimuli or from a function of time."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from cardioemu.common.errors import UserError

MAX_EDGES = 10_000_000
# A level that is taken and left again within this time can be missed.
GRID_MS = 0.01
GRID_CHUNK = 65_536

LevelAt: TypeAlias = Callable[[np.ndarray], np.ndarray]


class PiecewiseConstant(NamedTuple):
    """One input over time.

    Attributes:
        edges_ms: (segments,) where each segment begins, strictly ascending from 0.
        levels: (segments,).
    """

    edges_ms: np.ndarray
    levels: np.ndarray


class PulseTrain(NamedTuple):
    """Equal stimuli; `repeats` is infinite for a train without end."""

    level: float
    start_ms: float
    duration_ms: float
    period_ms: float
    repeats: float


def from_pulse_trains(trains: Sequence[PulseTrain], duration_ms: float | int, name: str) -> PiecewiseConstant:
    """Finds the course of the input `name`, which is 0 outside all stimuli; a later stimulus takes an earlier's place.

    Raises:
        UserError: more edges than anyone wants, stimuli that begin together, or one without length.
    """
    counts = [_count(train, duration_ms) for train in trains]
    if 2 * sum(counts) > MAX_EDGES:
        raise UserError(f"protocol: {name!r} would change more than {MAX_EDGES:,} times; give it a longer period")
    starts = [t.start_ms + np.arange(n) * t.period_ms for t, n in zip(trains, counts, strict=True)]
    start = np.concatenate([np.empty(0), *starts])
    length, level = (np.repeat(a, counts) for a in ([t.duration_ms for t in trains], [t.level for t in trains]))
    order = np.argsort(start, kind="stable")
    order = order[start[order] < duration_ms]
    start, end, level = start[order], (start + length)[order], level[order]
    following = np.append(start, np.inf)[1:]
    rounding = 4 * np.spacing(end)
    for wrong, what in (
        (end <= start, "a stimulus of {} has no length at {:.12g} ms; give it a duration, or leave it out"),
        (following - start <= rounding, "two stimuli of {} begin at the same time, {:.12g} ms; move one of them"),
    ):
        if wrong.any():
            raise UserError("protocol: " + what.format(repr(name), start[wrong][0]))
    over = end < following - rounding
    edges = np.concatenate([np.zeros(1), start, end[over]])
    after = np.concatenate([np.zeros(1), level, np.zeros(over.sum())])
    order = np.argsort(edges, kind="stable")
    edges, after = edges[order], after[order]
    kept = np.append(np.diff(edges) > 0, True) & (edges < duration_ms)  # of two at time 0 the stimulus
    return PiecewiseConstant(edges[kept], after[kept])


def _count(train: PulseTrain, duration_ms: float | int) -> int:
    if train.repeats == 1:
        return 1
    fit = np.clip((duration_ms - train.start_ms) / train.period_ms + 2, 0, MAX_EDGES)
    return int(min(fit, train.repeats))


def from_function(level_at: LevelAt, duration_ms: float | int) -> PiecewiseConstant:
    """Finds the course of an input whose level is a piecewise constant function of time in ms, (n,) -> (n,).

    Returns:
        Edges to the last bit: each is the first float at which the new level holds.

    Raises:
        UserError: a level that is not finite, or more edges than anyone wants.
    """

    def checked(time_ms: np.ndarray) -> np.ndarray:
        levels = level_at(time_ms)
        if not np.isfinite(levels).all():
            raise UserError(
                f"cell model: what follows time in it is not finite at {time_ms[~np.isfinite(levels)][0]:.6g} ms"
            )
        return levels

    edges: list[np.ndarray] = [np.zeros(1)]
    levels = [checked(edges[0])]
    points = int(np.ceil(duration_ms / GRID_MS)) + 1
    for first in range(0, points - 1, GRID_CHUNK):
        grid = np.arange(first, min(first + GRID_CHUNK + 1, points)) * GRID_MS
        on_grid = checked(grid)
        low, high, at_low, at_high = grid[:-1], grid[1:], on_grid[:-1], on_grid[1:]
        while (changed := at_low != at_high).any():
            low, high, at_low, at_high = low[changed], high[changed], at_low[changed], at_high[changed]
            low = _first_change(checked, low, high, at_low)
            at_low = checked(low)
            edges.append(low)
            levels.append(at_low)
            if sum(map(len, edges)) > MAX_EDGES:
                raise UserError(f"cell model: it jumps in time more than {MAX_EDGES:,} times; simulate a shorter time")
    edge, level = np.concatenate(edges), np.concatenate(levels)
    order = np.argsort(edge)
    order = order[edge[order] < duration_ms]
    return PiecewiseConstant(edge[order], level[order])


def _first_change(level_at: LevelAt, low: np.ndarray, high: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Bisects each of (low, high], at whose end a function has left `level`, for the first float of another level."""
    while True:
        middle = low + 0.5 * (high - low)
        if not ((middle > low) & (middle < high)).any():
            return high
        same = level_at(middle) == level
        low, high = np.where(same, middle, low), np.where(same, high, middle)
