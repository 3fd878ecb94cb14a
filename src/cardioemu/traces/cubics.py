"""Piecewise cubic curves: one Hermite cubic in time per solver step, its turning points, its monotone stretches."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cardioemu.common.arrays import StepSlopes, StepTimes, StepValues

# A turning point closer to a knot than this fraction of the step changes the value by less than its rounding error (the
# change is quadratic in the distance), while its own rounding could turn a touch of a level into a crossing.
EDGE = 1e-8


class Cubics(NamedTuple):
    """value = c0 + c1 s + c2 s^2 + c3 s^3 with s = t - knot_ms in [0, width_ms], one piece per step.

    The piece of the last step, and the first piece of two steps at the same time, has width 0 and is a straight line
    with the slope of the step, so value and slope are defined at every step. A piece with a NaN or infinity at either
    end is NaN inside.
    """

    knot_ms: Float64[np.ndarray, " steps"]
    width_ms: Float64[np.ndarray, " steps"]
    c0: Float64[np.ndarray, " steps"]
    c1: Float64[np.ndarray, " steps"]
    c2: Float64[np.ndarray, " steps"]
    c3: Float64[np.ndarray, " steps"]

    def take(self, piece: Int64[np.ndarray, "*shape"]) -> "Cubics":
        """Return the pieces with these indices, as arrays of the shape of `piece`."""
        return Cubics(*(column[piece] for column in self))

    def value(self, s: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """Return the value `s` ms after the knot of each piece."""
        # 0 times NaN is NaN: a step next to a NaN piece keeps its own value.
        return np.where(s == 0, self.c0, self.c0 + s * (self.c1 + s * (self.c2 + s * self.c3)))

    def slope(self, s: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """Return the time derivative, per ms, `s` ms after the knot of each piece."""
        return np.where(s == 0, self.c1, self.c1 + s * (2.0 * self.c2 + s * (3.0 * self.c3)))


class Points(NamedTuple):
    """Steps and turning points in the order of time; between neighbours the curve is monotone."""

    piece: Int64[np.ndarray, " points"]
    offset_ms: Float64[np.ndarray, " points"]
    time_ms: Float64[np.ndarray, " points"]
    value: Float64[np.ndarray, " points"]

    def around(self, from_ms: float | int, to_ms: float | int) -> "Points":
        """Return the points of [from_ms, to_ms] and one more on either side, so that no piece is cut."""
        first = max(int(np.searchsorted(self.time_ms, from_ms, side="right")) - 1, 0)
        last = np.searchsorted(self.time_ms, to_ms, side="left") + 1
        return Points(*(column[first:last] for column in self))


def hermite(time_ms: StepTimes, value: StepValues, slope: StepSlopes) -> Cubics:
    """Build the cubics with these values and slopes at these times."""
    y, D = value.astype(np.float64), slope.astype(np.float64)
    width = np.diff(time_ms, append=time_ms[-1])
    per_width = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
    D_next = np.append(D[1:], D[-1])
    with np.errstate(invalid="ignore"):  # infinite values
        chord = np.diff(y, append=y[-1]) * per_width
        c2 = (3.0 * chord - 2.0 * D - D_next) * per_width
        c3 = (D + D_next - 2.0 * chord) * per_width**2
    finite = np.isfinite(c3)
    return Cubics(time_ms, width, y, D, np.where(finite, c2, np.nan), np.where(finite, c3, np.nan))


def locate(cubics: Cubics, time_ms: Float64[np.ndarray, " times"]) -> Int64[np.ndarray, " times"]:
    """Return the index of the piece that contains each time; a time at a knot belongs to the piece after it."""
    return np.maximum(np.searchsorted(cubics.knot_ms, time_ms, side="right") - 1, 0)


def turning_points(cubics: Cubics) -> Float64[np.ndarray, "steps 2"]:
    """Return where the slope changes sign inside each piece: offsets from the knot in ms, ascending, NaN if absent."""
    c1, c2, c3 = cubics.c1, cubics.c2, cubics.c3
    with np.errstate(divide="ignore", invalid="ignore"):
        # This form of the quadratic's roots subtracts no nearly equal numbers: for c3 -> 0 the first goes to infinity
        # and the second to the root of the straight line.
        q = -(c2 + np.copysign(np.sqrt(c2 * c2 - 3.0 * c3 * c1), c2))
        roots = np.sort(np.stack([q / (3.0 * c3), c1 / q], axis=1), axis=1)
        width = cubics.width_ms[:, None]
        inside = (roots > EDGE * width) & (roots < (1.0 - EDGE) * width)
    return np.where(inside, roots, np.nan)


def monotone_points(cubics: Cubics) -> Points:
    """Return the steps and turning points of a curve, with one NaN point inside every NaN piece."""
    first, second = turning_points(cubics).T
    first = np.where(np.isnan(cubics.c3), 0.5 * cubics.width_ms, first)
    offsets = np.stack([np.zeros_like(first), first, second], axis=1)
    present = ~np.isnan(offsets)
    piece = np.nonzero(present)[0]
    offset = offsets[present]
    return Points(piece, offset, cubics.knot_ms[piece] + offset, cubics.take(piece).value(offset))
