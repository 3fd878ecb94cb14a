"""V(t) as a continuous curve: the points between which it is monotone, its level crossings and its extremes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cardioemu.traces.cubics import Cubics, locate, turning_points

ROOT_TOLERANCE_MS = 1e-10
MAX_ITERATIONS = 100  # bisection alone needs 45 for a step of 1 s


class Points(NamedTuple):
    """Steps and turning points in the order of time; between one and the next V is monotone."""

    piece: Int64[np.ndarray, " points"]
    offset_ms: Float64[np.ndarray, " points"]
    time_ms: Float64[np.ndarray, " points"]
    voltage_mV: Float64[np.ndarray, " points"]

    def between(self, from_ms: float | int, to_ms: float | int) -> "Points":
        """Give the points of [from_ms, to_ms]."""
        first = np.searchsorted(self.time_ms, from_ms, side="left")
        last = np.searchsorted(self.time_ms, to_ms, side="right")
        return Points(*(column[first:last] for column in self))

    def around(self, from_ms: float | int, to_ms: float | int) -> "Points":
        """Give the points of [from_ms, to_ms], one more on either side, so that pieces cut by the ends are whole."""
        first = max(int(np.searchsorted(self.time_ms, from_ms, side="right")) - 1, 0)
        last = np.searchsorted(self.time_ms, to_ms, side="left") + 1
        return Points(*(column[first:last] for column in self))


class Extreme(NamedTuple):
    """An extreme value (mV, or mV per ms for a slope) and the first time it is taken."""

    time_ms: float
    value: float


class Crossings(NamedTuple):
    """Times of the crossings of a level, and the index of the first point beyond the level after each."""

    time_ms: Float64[np.ndarray, " crossings"]
    after: Int64[np.ndarray, " crossings"]


def refine(cubics: Cubics) -> Points:
    """Add the turning points of every cubic to the steps."""
    offsets = np.column_stack([np.zeros_like(cubics.knot_ms), turning_points(cubics)])
    present = ~np.isnan(offsets)
    piece = np.nonzero(present)[0]
    offset = offsets[present]
    return Points(piece, offset, cubics.knot_ms[piece] + offset, cubics.take(piece).value(offset))


def crossings(cubics: Cubics, points: Points, level_mV: float | int, rising: bool) -> Crossings:
    """Find where V goes from strictly below a level to strictly above it (`rising`), or the other way."""
    side = np.sign(points.voltage_mV - level_mV) * (1 if rising else -1)
    off_level = np.flatnonzero(side)
    signs = side[off_level]
    turn = np.flatnonzero((signs[:-1] < 0) & (signs[1:] > 0))
    before, after = off_level[turn], off_level[turn + 1]

    following = before + 1
    piece = points.piece[before]
    same = points.piece[following] == piece
    end = np.where(same, points.offset_ms[following], cubics.width_ms[piece])
    root = solve(cubics.take(piece), points.offset_ms[before], end, level_mV)
    time = np.where(after == following, cubics.knot_ms[piece] + root, points.time_ms[following])
    return Crossings(time, after)


def solve(
    cubics: Cubics,
    low: Float64[np.ndarray, " roots"],
    high: Float64[np.ndarray, " roots"],
    level_mV: float | int,
) -> Float64[np.ndarray, " roots"]:
    """Solve V = level on one cubic per root, between offsets where V is monotone and on either side of the level.

    Newton's method; a step that leaves the bracket, or is not half as long as the one before, is a bisection instead.
    """
    sign = np.where(cubics.value(high) > cubics.value(low), 1.0, -1.0)
    root = 0.5 * (low + high)
    step = high - low
    for _ in range(MAX_ITERATIONS):
        miss = cubics.value(root) - level_mV
        short = sign * miss < 0
        low, high = np.where(short, root, low), np.where(short, high, root)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = root - miss / cubics.slope(root)
        good = (newton >= low) & (newton <= high) & (np.abs(newton - root) <= 0.5 * np.abs(step))
        settled = np.abs(step) <= ROOT_TOLERANCE_MS
        step = np.where(settled, 0.0, np.where(good, newton, 0.5 * (low + high)) - root)
        root = root + step
        if (np.abs(step) <= ROOT_TOLERANCE_MS).all():
            break
    return root


def voltage_extreme(cubics: Cubics, points: Points, from_ms: float | int, to_ms: float | int, sign: int) -> Extreme:
    """Find the largest (`sign` 1) or smallest (-1) V of [from_ms, to_ms]."""
    inner = points.between(from_ms, to_ms)
    ends = np.array([from_ms, to_ms], dtype=np.float64)
    piece = locate(cubics, ends)
    V_ends = cubics.take(piece).value(ends - cubics.knot_ms[piece])
    times = np.concatenate([ends[:1], inner.time_ms, ends[1:]])
    V = np.concatenate([V_ends[:1], inner.voltage_mV, V_ends[1:]])
    best = int(np.argmax(sign * V))
    return Extreme(float(times[best]), float(V[best]))


def slope_maximum(cubics: Cubics, from_ms: float | int, to_ms: float | int) -> Extreme:
    """Find the largest dV/dt of [from_ms, to_ms]: on a cubic it is taken at an end or at the vertex of its parabola."""
    first = int(locate(cubics, np.array([from_ms], dtype=np.float64))[0])
    last = max(int(np.searchsorted(cubics.knot_ms, to_ms, side="left")) - 1, first)
    pieces = Cubics(*(column[first : last + 1] for column in cubics))
    low = np.maximum(from_ms - pieces.knot_ms, 0.0)
    high = np.minimum(to_ms - pieces.knot_ms, pieces.width_ms)
    vertex = np.divide(-pieces.c2, 3.0 * pieces.c3, out=low.copy(), where=pieces.c3 != 0)
    offsets = np.stack([low, np.clip(vertex, low, high), high])
    slopes = pieces.slope(offsets)
    end, piece = np.unravel_index(np.argmax(slopes), slopes.shape)
    return Extreme(float(pieces.knot_ms[piece] + offsets[end, piece]), float(slopes[end, piece]))
