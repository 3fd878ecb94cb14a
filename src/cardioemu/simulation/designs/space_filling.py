"""Space-filling designs: Sobol sequence and Latin hypercube."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from pydantic import NonNegativeInt, PositiveInt
from scipy.stats import qmc

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.designs.arguments import (
    CURRENTS,
    Level,
    Names,
    Range,
    check_size,
    of_each,
    validated_design,
)

Ends = Float64[np.ndarray, " scaled"]


@validated_design
def sobol(
    n: PositiveInt,
    seed: NonNegativeInt = 0,
    scaled: Names = CURRENTS,
    low: Level = 0.0,
    high: Level = 2.0,
    ranges: Mapping[str, Range] | None = None,
) -> Scales:
    """Return n points of a scrambled Sobol sequence.

    The first rows stay the same when n grows. Source: A. B. Owen, Scrambled net variance for integrals of smooth
    functions (1997), as in scipy.stats.qmc.

    Args:
        n: number of scale vectors; powers of two are the most uniform.
        seed: seed of the scrambling.
        scaled: names of the conductances.
        low: smallest scale of all conductances.
        high: largest scale of all conductances.
        ranges: both ends for single conductances, in place of `low` and `high`.

    Returns:
        Scales (n, scaled).

    Raises:
        UserError: an argument is out of range, a name is unknown, or there are too many rows.
    """
    lows, highs = _range_ends(scaled, low, high, ranges)
    check_size(n, scaled)
    # A Sobol sequence is balanced at powers of two only.
    points = qmc.Sobol(len(scaled), scramble=True, rng=np.random.default_rng(seed)).random_base2((n - 1).bit_length())
    return _stretch(points[:n], lows, highs)


@validated_design
def latin_hypercube(
    n: PositiveInt,
    seed: NonNegativeInt = 0,
    scaled: Names = CURRENTS,
    low: Level = 0.0,
    high: Level = 2.0,
    ranges: Mapping[str, Range] | None = None,
) -> Scales:
    """Return n points of a Latin hypercube: each of n equal intervals of each axis holds one point.

    Another n gives other points; use `sobol` for a design that grows. The arguments are those of `sobol`.

    Returns:
        Scales (n, scaled).

    Raises:
        UserError: an argument is out of range, a name is unknown, or there are too many rows.
    """
    lows, highs = _range_ends(scaled, low, high, ranges)
    check_size(n, scaled)
    return _stretch(qmc.LatinHypercube(len(scaled), rng=np.random.default_rng(seed)).random(n), lows, highs)


def _range_ends(
    scaled: Sequence[str], low: float, high: float, ranges: Mapping[str, Sequence[float]] | None
) -> tuple[Ends, Ends]:
    """Return the lower and the upper end of each conductance's range."""
    if low >= high:
        raise UserError(f"design.low: got {low:g}; allowed is less than design.high, which is {high:g}")
    lows, highs = np.array(of_each(scaled, "ranges", ranges or {}, (low, high)), dtype=float).T
    return lows, highs


def _stretch(points: Scales, lows: Ends, highs: Ends) -> Scales:
    """Map the unit cube to the ranges."""
    # Rounding may exceed a range in the last digit.
    return np.clip(lows + (highs - lows) * points, lows, highs)
