"""Registered time: the cycles of all cells stretched so that their landmarks coincide.

Cycles of different cells differ mostly in timing. In registered time the AP start, APD50, APD90 and the next AP start
have the same positions in all cells; the remaining differences are small and nearly linear. The formulas serve NumPy
arrays and torch tensors.

Source: landmark registration of functional data (Ramsay and Silverman 2005, chapter 7); monotone rational quadratic
spline of Gregory and Delbourgo, IMA J. Numer. Anal. 1982;2:123.
"""

from typing import Any, TypeVar

import numpy as np

LANDMARKS = ("apd50", "apd90", "cl")
"""Landmarks, in ms after the AP start: V has lost 50 % of the amplitude, 90 % of it; the next AP start."""

PERCENT = (50, 90)
EDGE_MS = 10.0
"""Length of the upstrokes at the beginning and the end of a cycle, which are not stretched."""

NODES = (60, 90, 60, 80, 30)
"""Number of nodes between the knots: AP start, edge, APD50, APD90, edge before the next AP start, next AP start."""

DENSER = 2.0
"""Exponent by which the distance of a node from its upstroke grows within the edges."""

NODE_COUNT = sum(NODES) + 1

_EVEN = [np.arange(n) / n for n in NODES]
_FRACTIONS = [_EVEN[0] ** DENSER, *_EVEN[1:-1], 1 - (1 - _EVEN[-1]) ** DENSER]  # of each piece, before its nodes

Array = TypeVar("Array", np.ndarray, Any)


def node_times_ms(landmarks_ms: Array, library: Any = np) -> Array:
    """Return the times of the nodes of registered time in cycles with these landmarks: smooth and increasing.

    Args:
        landmarks_ms: (*cells, landmarks) in the order of `LANDMARKS`: APD50 above 10 ms, APD90 above it, CL more than
            10 ms above APD90.
        library: `numpy`, or `torch` for tensors.

    Returns:
        (*cells, nodes): ms after the AP start, from 0 to the cycle length.
    """
    apd50_ms, apd90_ms, cl_ms = (landmarks_ms[..., i] for i in range(len(LANDMARKS)))
    zero = 0 * cl_ms
    knots = library.stack([zero, zero + EDGE_MS, apd50_ms, apd90_ms, cl_ms - EDGE_MS, cl_ms], -1)
    rises = knots[..., 1:] - knots[..., :-1]  # each piece has length 1 in registered time
    first, last = rises[..., :1], rises[..., -1:]
    inner = (rises[..., 1:-2] * rises[..., 2:-1]) ** 0.5
    slopes = library.concatenate([first, first, inner, last, last], -1)
    times_ms: list[Any] = []
    for i, fraction in enumerate(_FRACTIONS):
        x = library.asarray(fraction, dtype=cl_ms.dtype, device=cl_ms.device)
        rest, rise, begin, end = 1 - x, rises[..., i, None], slopes[..., i, None], slopes[..., i + 1, None]
        since_knot = rise * x * (rise * x + begin * rest) / (rise + (begin + end - 2 * rise) * x * rest)
        times_ms.append(knots[..., i, None] + since_knot)
    return library.concatenate([*times_ms, cl_ms[..., None]], -1)
