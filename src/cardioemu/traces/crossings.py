"""Level crossings and extremes of recordings, computed on the continuous curve instead of its steps."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cardioemu.traces.cubics import Cubics, Points, monotone_points, turning_points
from cardioemu.traces.recording import Number, Recording

ROOT_TOLERANCE_MS = 1e-10
MAX_ITERATIONS = 100  # bisection alone needs 45 for a step of 1 s

Offsets = Float64[np.ndarray, " pieces"]
Roots = Float64[np.ndarray, " roots"]


class Extreme(NamedTuple):
    """An extreme value or slope, in the curve's unit or that unit per ms, and the first time at which it occurs."""

    time_ms: float
    value: float


class Crossings(NamedTuple):
    """Times at which a curve crosses a level, and the index of the first point beyond the level after each."""

    time_ms: Float64[np.ndarray, " crossings"]
    after: Int64[np.ndarray, " crossings"]


def upward_crossings(recording: Recording, level: Number) -> Float64[np.ndarray, " crossings"]:
    """Return every time at which a curve goes from below a level to above it, also inside one solver step.

    Touching the level is no crossing; a step exactly at the level on the way up is one crossing, and so is a jump
    across it at a stimulus edge. No crossing is reported where the curve is NaN.

    Args:
        recording: a trace (levels in mV) or another recording; that of a failed cell is searched up to its last step.
        level: the level, in the unit of the recording.

    Returns:
        Times in ms, ascending, solved to 1e-9 ms.

    Source: docs/decisions/0023 (crossings are roots of the curve, not sample indices).
    """
    cubics = recording.cubics()
    return find_crossings(cubics, monotone_points(cubics), level, rising=True).time_ms


def downward_crossings(recording: Recording, level: Number) -> Float64[np.ndarray, " crossings"]:
    """Return every time at which a curve goes from above a level to below it; otherwise as `upward_crossings`."""
    cubics = recording.cubics()
    return find_crossings(cubics, monotone_points(cubics), level, rising=False).time_ms


def maximum(recording: Recording, from_ms: Number, to_ms: Number) -> Extreme:
    """Return the largest value in [from_ms, to_ms] and its time (ms); NaN if the curve is NaN anywhere in it.

    At an end of the interval where the curve jumps, the value inside the interval counts.

    Raises:
        ValueError: the interval is empty or extends beyond the recording.

    Source: reference biomarkers.json (peak: the largest V), on the curve of docs/decisions/0023.
    """
    check_interval(recording, from_ms, to_ms)
    return value_extreme(recording.cubics(), from_ms, to_ms, sign=1)


def minimum(recording: Recording, from_ms: Number, to_ms: Number) -> Extreme:
    """Return the smallest value in [from_ms, to_ms] and its time (ms); otherwise as `maximum`."""
    check_interval(recording, from_ms, to_ms)
    return value_extreme(recording.cubics(), from_ms, to_ms, sign=-1)


def max_slope(recording: Recording, from_ms: Number, to_ms: Number) -> Extreme:
    """Return the largest slope (per ms; of a trace mV/ms, which is V/s) in [from_ms, to_ms] and its time (ms).

    A jump has no slope. The slope is NaN if the curve is NaN anywhere in the interval.

    Raises:
        ValueError: the interval is empty or extends beyond the recording.

    Source: reference biomarkers.json (t_max_upstroke), on the curve of docs/decisions/0023.
    """
    check_interval(recording, from_ms, to_ms)
    return slope_maximum(recording.cubics(), from_ms, to_ms)


def check_interval(recording: Recording, from_ms: Number, to_ms: Number) -> None:
    """Raise ValueError unless 0 <= from_ms <= to_ms <= the end of the curve."""
    if not 0 <= from_ms <= to_ms <= recording.end_ms:
        raise ValueError(f"an interval must lie in [0, {recording.end_ms:.12g}] ms, got [{from_ms:.12g}, {to_ms:.12g}]")


def find_crossings(cubics: Cubics, points: Points, level: Number, rising: bool) -> Crossings:
    """Find where a curve goes from strictly below a level to strictly above it (`rising`), or the other way."""
    with np.errstate(invalid="ignore"):
        side = np.sign(points.value - level) * (1 if rising else -1)
    off_level = np.flatnonzero(side)
    signs = side[off_level]
    turn = np.flatnonzero((signs[:-1] < 0) & (signs[1:] > 0))
    before, after = off_level[turn], off_level[turn + 1]

    following = before + 1
    piece = points.piece[before]
    same_piece = points.piece[following] == piece
    end = np.where(same_piece, points.offset_ms[following], cubics.width_ms[piece])
    root = _solve(cubics.take(piece), points.offset_ms[before], end, level)
    time = np.where(after == following, cubics.knot_ms[piece] + root, points.time_ms[following])
    return Crossings(time, after)


def _solve(cubics: Cubics, low: Roots, high: Roots, level: Number) -> Roots:
    """Solve value = level on one cubic per root, between offsets where it is monotone and on either side of the level.

    Newton's method; a step that leaves the bracket, or is more than half as long as the one before, is replaced by a
    bisection.
    """
    sign = np.where(cubics.value(high) > cubics.value(low), 1.0, -1.0)
    root = 0.5 * (low + high)
    step = high - low
    for _ in range(MAX_ITERATIONS):
        residual = cubics.value(root) - level
        short = sign * residual < 0
        low, high = np.where(short, root, low), np.where(short, high, root)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = root - residual / cubics.slope(root)
        good = (newton >= low) & (newton <= high) & (np.abs(newton - root) <= 0.5 * np.abs(step))
        converged = np.abs(step) <= ROOT_TOLERANCE_MS
        step = np.where(converged, 0.0, np.where(good, newton, 0.5 * (low + high)) - root)
        root = root + step
        if (np.abs(step) <= ROOT_TOLERANCE_MS).all():
            break
    return root


def value_extreme(cubics: Cubics, from_ms: Number, to_ms: Number, sign: int) -> Extreme:
    """Find the largest (`sign` 1) or smallest (-1) value in [from_ms, to_ms]: at an end or a turning point."""
    pieces, low, high = _cut(cubics, from_ms, to_ms)
    turns = turning_points(pieces).T
    offsets = np.stack([low, *np.where((turns > low) & (turns < high), turns, low), high])
    extreme = _largest(pieces, offsets, sign * pieces.value(offsets), from_ms, to_ms)
    return Extreme(extreme.time_ms, sign * extreme.value)


def slope_maximum(cubics: Cubics, from_ms: Number, to_ms: Number) -> Extreme:
    """Find the largest slope in [from_ms, to_ms]: at an end of a piece or at the vertex of its slope's parabola."""
    pieces, low, high = _cut(cubics, from_ms, to_ms)
    vertex = np.divide(-pieces.c2, 3.0 * pieces.c3, out=low.copy(), where=pieces.c3 != 0)
    offsets = np.stack([low, np.clip(vertex, low, high), high])
    return _largest(pieces, offsets, pieces.slope(offsets), from_ms, to_ms)


def _cut(cubics: Cubics, from_ms: Number, to_ms: Number) -> tuple[Cubics, Offsets, Offsets]:
    # Where the curve jumps at an end, only the inside counts: the right of `from_ms`, the left of `to_ms`.
    first = max(int(np.searchsorted(cubics.knot_ms, from_ms, side="right")) - 1, 0)
    last = max(int(np.searchsorted(cubics.knot_ms, to_ms, side="left")) - 1, first)
    pieces = Cubics(*(column[first : last + 1] for column in cubics))
    return pieces, np.maximum(from_ms - pieces.knot_ms, 0.0), np.minimum(to_ms - pieces.knot_ms, pieces.width_ms)


def _largest(pieces: Cubics, offsets: np.ndarray, values: np.ndarray, from_ms: Number, to_ms: Number) -> Extreme:
    # argmax returns the first of equal values, and treats NaN as the largest; knot + offset may round out of bounds.
    piece, point = divmod(int(np.argmax(values.T)), len(values))
    time = np.clip(pieces.knot_ms[piece] + offsets[point, piece], from_ms, to_ms)
    return Extreme(float(time), float(values[point, piece]))
