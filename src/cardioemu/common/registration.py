"""Registered time: the cycles of all cells stretched so that their landmarks coincide.

Cycles of different cells differ mostly in timing. In registered time the AP start, APD50, APD90 and the next AP start
of all lie at the same places, and what is left of the differences is small and nearly linear. The formulas are written
for NumPy arrays and torch tensors alike.

Source: landmark registration is that of functional data (Ramsay and Silverman 2005, chapter 7); the warp is the
monotone rational quadratic spline of Gregory and Delbourgo, IMA J. Numer. Anal. 1982;2:123.
"""

from typing import Any, TypeVar

import numpy as np

LANDMARKS = ("apd50", "apd90", "cl")
"""Times after the AP start, in ms: V has lost 50 % and 90 % of the amplitude; the next AP start."""

PERCENT = (50, 90)
EDGE_MS = 10.0
"""The first and the last 10 ms, the upstrokes, are not stretched."""

NODES = (60, 90, 60, 80, 30)
"""Nodes between the knots: AP start, edge, APD50, APD90, edge before the next AP start, next AP start."""

DENSER = 2.0
"""In the edges the distance of an upstroke grows as this power from node to node."""

NODE_COUNT = sum(NODES) + 1

_EVEN = [np.arange(n) / n for n in NODES]
_PARTS = [_EVEN[0] ** DENSER, *_EVEN[1:-1], 1 - (1 - _EVEN[-1]) ** DENSER]  # of each piece, before its nodes

Numbers = TypeVar("Numbers", np.ndarray, Any)


def node_times_ms(landmarks_ms: Numbers, library: Any = np) -> Numbers:
    """Returns when the nodes of registered time come in cycles with these landmarks: smooth and increasing.

    Args:
        landmarks_ms: (*cells, landmarks), those of `LANDMARKS`: APD50 above 10 ms, the others ascending, CL more than
            10 ms above APD90.
        library: `numpy`, or `torch` for tensors.

    Returns:
        (*cells, nodes): ms after the AP start, from 0 to the cycle length.
    """
    apd50_ms, apd90_ms, cl_ms = (landmarks_ms[..., i] for i in range(len(LANDMARKS)))
    zero = 0 * cl_ms
    knots = library.stack([zero, zero + EDGE_MS, apd50_ms, apd90_ms, cl_ms - EDGE_MS, cl_ms], -1)
    rises = knots[..., 1:] - knots[..., :-1]  # each piece counts as 1 in registered time
    first, last = rises[..., :1], rises[..., -1:]
    inner = (rises[..., 1:-2] * rises[..., 2:-1]) ** 0.5
    slopes = library.concatenate([first, first, inner, last, last], -1)
    times_ms: list[Any] = []
    for i, before in enumerate(_PARTS):
        part = library.asarray(before, dtype=cl_ms.dtype, device=cl_ms.device)
        rest, rise, begin, end = 1 - part, rises[..., i, None], slopes[..., i, None], slopes[..., i + 1, None]
        way = rise * part * (rise * part + begin * rest) / (rise + (begin + end - 2 * rise) * part * rest)
        times_ms.append(knots[..., i, None] + way)
    return library.concatenate([*times_ms, cl_ms[..., None]], -1)
