"""A continuous curve: the points between which it is monotone, its level crossings and its extremes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cardioemu.traces.cubics import Cubics, turning_points

ROOT_TOLERANCE_MS = 1e-10
MAX_ITERATIONS = 100  # bisection alone needs 45 for a step of 1 s

Offsets = Float64[np.ndarray, " pieces"]


class Points(NamedTuple):
    """Steps and turning points in the order of time; between one and the next the curve is monotone."""

    piece: Int64[np.ndarray, " points"]
    offset_ms: Float64[np.ndarray, " points"]
    time_ms: Float64[np.ndarray, " points"]
    value: Float64[np.ndarray, " points"]

    def around(self, from_ms: float | int, to_ms: float | int) -> "Points":
        """Give the points of [from_ms, to_ms], one more on either side, so that pieces cut by the ends are whole."""
        first = max(int(np.searchsorted(self.time_ms, from_ms, side="right")) - 1, 0)
        last = np.searchsorted(self.time_ms, to_ms, side="left") + 1
        return Points(*(column[first:last] for column in self))


class Extreme(NamedTuple):
    """An extreme value or slope, in the curve's unit or that per ms, and the first time it is taken."""

    time_ms: float
    value: float


class Crossings(NamedTuple):
    """Times of the crossings of a level, and the index of the first point beyond the level after each."""

    time_ms: Float64[np.ndarray, " crossings"]
    after: Int64[np.ndarray, " crossings"]


def monotone_points(cubics: Cubics) -> Points:
    """Add the turning points of every cubic to the steps, and to a piece that is NaN one point that is."""
    first, second = turning_points(cubics).T
    first = np.where(np.isnan(cubics.c3), 0.5 * cubics.width_ms, first)
    offsets = np.stack([np.zeros_like(first), first, second], axis=1)
    present = ~np.isnan(offsets)
    piece = np.nonzero(present)[0]
    offset = offsets[present]
    return Points(piece, offset, cubics.knot_ms[piece] + offset, cubics.take(piece).value(offset))


def crossings(cubics: Cubics, points: Points, level: float | int, rising: bool) -> Crossings:
    """Find where a curve goes from strictly below a level to strictly above it (`rising`), or the other way."""
    with np.errstate(invalid="ignore"):
        side = np.sign(points.value - level) * (1 if rising else -1)
    off_level = np.flatnonzero(side)
    signs = side[off_level]
    turn = np.flatnonzero((signs[:-1] < 0) & (signs[1:] > 0))
    before, after = off_level[turn], off_level[turn + 1]

    following = before + 1
    piece = points.piece[before]
    same = points.piece[following] == piece
    end = np.where(same, points.offset_ms[following], cubics.width_ms[piece])
    root = solve(cubics.take(piece), points.offset_ms[before], end, level)
    time = np.where(after == following, cubics.knot_ms[piece] + root, points.time_ms[following])
    return Crossings(time, after)


def solve(
    cubics: Cubics,
    low: Float64[np.ndarray, " roots"],
    high: Float64[np.ndarray, " roots"],
    level: float | int,
) -> Float64[np.ndarray, " roots"]:
    """Solve value = level on one cubic per root, between offsets where it is monotone and on either side of the level.

    Newton's method; a step that leaves the bracket, or is not half as long as the one before, is a bisection instead.
    """
    sign = np.where(cubics.value(high) > cubics.value(low), 1.0, -1.0)
    root = 0.5 * (low + high)
    step = high - low
    for _ in range(MAX_ITERATIONS):
        miss = cubics.value(root) - level
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


def value_extreme(cubics: Cubics, from_ms: float | int, to_ms: float | int, sign: int) -> Extreme:
    """Find the largest (`sign` 1) or smallest (-1) value inside [from_ms, to_ms]: at an end or a turning point."""
    pieces, low, high = _cut(cubics, from_ms, to_ms)
    turns = turning_points(pieces).T
    offsets = np.stack([low, *np.where((turns > low) & (turns < high), turns, low), high])
    best = _largest(pieces, offsets, sign * pieces.value(offsets), from_ms, to_ms)
    return Extreme(best.time_ms, sign * best.value)


def slope_maximum(cubics: Cubics, from_ms: float | int, to_ms: float | int) -> Extreme:
    """Find the largest slope inside [from_ms, to_ms]: on a cubic it is at an end or at the vertex of its parabola."""
    pieces, low, high = _cut(cubics, from_ms, to_ms)
    vertex = np.divide(-pieces.c2, 3.0 * pieces.c3, out=low.copy(), where=pieces.c3 != 0)
    offsets = np.stack([low, np.clip(vertex, low, high), high])
    return _largest(pieces, offsets, pieces.slope(offsets), from_ms, to_ms)


def _cut(cubics: Cubics, from_ms: float | int, to_ms: float | int) -> tuple[Cubics, Offsets, Offsets]:
    # Where the curve jumps at an end, only what lies inside counts: the right of `from_ms`, the left of `to_ms`.
    first = max(int(np.searchsorted(cubics.knot_ms, from_ms, side="right")) - 1, 0)
    last = max(int(np.searchsorted(cubics.knot_ms, to_ms, side="left")) - 1, first)
    pieces = Cubics(*(column[first : last + 1] for column in cubics))
    return pieces, np.maximum(from_ms - pieces.knot_ms, 0.0), np.minimum(to_ms - pieces.knot_ms, pieces.width_ms)


def _largest(
    pieces: Cubics, offsets: np.ndarray, values: np.ndarray, from_ms: float | int, to_ms: float | int
) -> Extreme:
    # argmax takes the first of equals, and NaN for the largest; the sum of knot and offset is rounded.
    piece, point = divmod(int(np.argmax(values.T)), len(values))
    time = np.clip(pieces.knot_ms[piece] + offsets[point, piece], from_ms, to_ms)
    return Extreme(float(time), float(values[point, piece]))
