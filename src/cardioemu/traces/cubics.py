"""The cubic Hermite pieces of a trace: one cubic in time per step, with its values, slopes and turning points."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cardioemu.types import StepSlopes, StepTimes, StepVoltages

# A turning point closer to a knot than this part of the step changes V by less than its rounding error (the change is
# quadratic in the distance), while its own rounding could turn a V that only touches a level into a crossing.
EDGE = 1e-8


class Cubics(NamedTuple):
    """V = c0 + c1 s + c2 s^2 + c3 s^3 with s = t - knot_ms in [0, width_ms], one piece per step.

    The piece of the last step, and of the first of two steps at the same time, has width 0 and is a straight line with
    the step's own slope, so V and dV/dt are defined at every step.
    """

    knot_ms: Float64[np.ndarray, " steps"]
    width_ms: Float64[np.ndarray, " steps"]
    c0: Float64[np.ndarray, " steps"]
    c1: Float64[np.ndarray, " steps"]
    c2: Float64[np.ndarray, " steps"]
    c3: Float64[np.ndarray, " steps"]

    def take(self, piece: Int64[np.ndarray, "*shape"]) -> "Cubics":
        """Give the pieces with these indices, as arrays of the shape of `piece`."""
        return Cubics(*(column[piece] for column in self))

    def value(self, s: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """V in mV, `s` ms after each piece's knot."""
        return self.c0 + s * (self.c1 + s * (self.c2 + s * self.c3))

    def slope(self, s: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        """dV/dt in mV per ms, `s` ms after each piece's knot."""
        return self.c1 + s * (2.0 * self.c2 + s * (3.0 * self.c3))


def hermite(time_ms: StepTimes, voltage_mV: StepVoltages, dvdt_mV_per_ms: StepSlopes) -> Cubics:
    """Build the cubics that have these voltages and slopes at these times."""
    V = voltage_mV.astype(np.float64)
    D = dvdt_mV_per_ms.astype(np.float64)
    width = np.diff(time_ms, append=time_ms[-1])
    per_width = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
    chord = np.diff(V, append=V[-1]) * per_width
    D_next = np.append(D[1:], D[-1])
    c2 = (3.0 * chord - 2.0 * D - D_next) * per_width
    c3 = (D + D_next - 2.0 * chord) * per_width**2
    return Cubics(time_ms, width, V, D, c2, c3)


def locate(cubics: Cubics, time_ms: Float64[np.ndarray, " times"]) -> Int64[np.ndarray, " times"]:
    """Find the piece that holds each time; a time at a knot belongs to the piece after it."""
    return np.maximum(np.searchsorted(cubics.knot_ms, time_ms, side="right") - 1, 0)


def turning_points(cubics: Cubics) -> Float64[np.ndarray, "steps 2"]:
    """Find where dV/dt changes sign inside each piece: ascending offsets from the knot in ms, NaN where it does not."""
    c1, c2, c3 = cubics.c1, cubics.c2, cubics.c3
    with np.errstate(divide="ignore", invalid="ignore"):
        # The form of the quadratic's roots that subtracts no nearly equal numbers: with c3 -> 0 the first goes to
        # infinity and the second to the root of the straight line.
        q = -(c2 + np.copysign(np.sqrt(c2 * c2 - 3.0 * c3 * c1), c2))
        roots = np.sort(np.stack([q / (3.0 * c3), c1 / q], axis=1), axis=1)
        width = cubics.width_ms[:, None]
        inside = (roots > EDGE * width) & (roots < (1.0 - EDGE) * width)
    return np.where(inside, roots, np.nan)
