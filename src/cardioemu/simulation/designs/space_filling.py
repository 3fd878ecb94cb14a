"""Designs that spread points over a box: Sobol, Latin hypercube."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import NonNegativeInt, PositiveInt
from scipy.stats import qmc

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.designs.arguments import (
    SEED_CURRENTS,
    Level,
    Names,
    Range,
    check_names,
    check_size,
    validated_design,
)

BITS = 52  # of a coordinate: whole numbers, so that no rounding moves a point over the edge of its slice

Coordinates = Int64[np.ndarray, "cells scaled"]


@validated_design
def sobol(
    n: PositiveInt = 1024,
    seed: NonNegativeInt = 0,
    scaled: Names = SEED_CURRENTS,
    low: Level = 0.0,
    high: Level = 2.0,
    ranges: Mapping[str, Range] | None = None,
) -> Scales:
    """Spreads n scale vectors evenly over a box: a scrambled Sobol sequence.

    The first rows stay the same when n grows. Source: A. B. Owen, Scrambled net variance for integrals of smooth
    functions (1997), as in scipy.stats.qmc.

    Args:
        n: number of scale vectors; a power of two is the most even.
        seed: of the scrambling.
        scaled: names of the conductances.
        low: lower end of all conductances.
        high: upper end of all conductances.
        ranges: both ends of single conductances, in place of `low` and `high`.

    Returns:
        (n, scaled).

    Raises:
        UserError: a setting out of range, an unknown name, or too many rows.
    """
    lows, highs = _ends(scaled, low, high, ranges)
    check_size(n, scaled)
    # Whole powers of two are drawn, as Sobol's balance asks; the surplus is left out.
    sequence = qmc.Sobol(len(scaled), scramble=True, rng=np.random.default_rng(seed))
    return _stretched(sequence.random_base2((n - 1).bit_length())[:n], lows, highs)


@validated_design
def latin_hypercube(
    n: PositiveInt = 1024,
    seed: NonNegativeInt = 0,
    scaled: Names = SEED_CURRENTS,
    low: Level = 0.0,
    high: Level = 2.0,
    ranges: Mapping[str, Range] | None = None,
) -> Scales:
    """Spreads n scale vectors at random over a box so that each axis is covered evenly: a nested Latin hypercube.

    The first rows stay the same when n grows. At every power of two, n = 1, 2, 4, 8, ..., the first n rows are a Latin
    hypercube: each of n equal slices of each axis holds exactly one. At n between 2^k and 2^(k+1), each of 2^k slices
    holds one or two.

    A single random point is doubled until there are n: 2m slices of an axis, m of them taken by the m points so far,
    leave m free, and the next m points get one of these each, paired at random over the axes. Sources: C. Tong,
    Refinement strategies for stratified sampling methods, Reliab. Eng. Syst. Saf. 91 (2006) 1257; C. J. Sallaberry,
    J. C. Helton, S. C. Hora, Extension of Latin hypercube samples with correlated variables, the same 93 (2008) 1047.

    Args:
        n: number of scale vectors.
        seed: of the random numbers.
        scaled: names of the conductances.
        low: lower end of all conductances.
        high: upper end of all conductances.
        ranges: both ends of single conductances, in place of `low` and `high`.

    Returns:
        (n, scaled).

    Raises:
        UserError: a setting out of range, an unknown name, or too many rows.
    """
    lows, highs = _ends(scaled, low, high, ranges)
    check_size(n, scaled)
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 1 << BITS, (1, len(scaled)))
    while len(points) < n:
        points = np.concatenate([points, _in_free_slices(points, rng)])
    return _stretched(points[:n] / (1 << BITS), lows, highs)


def _in_free_slices(points: Coordinates, rng: np.random.Generator) -> Coordinates:
    """Returns as many points again, one in each of the slices, now half as wide, that a Latin hypercube leaves free."""
    shift = BITS - len(points).bit_length()
    # Two narrow slices, a pair that differs in the last bit, make one wide slice, and one of the two is taken.
    free = (np.sort(points, axis=0) >> shift) ^ 1
    return (rng.permuted(free, axis=0) << shift) + rng.integers(0, 1 << shift, points.shape)


def _ends(
    scaled: Sequence[str], low: float, high: float, ranges: Mapping[str, Sequence[float]] | None
) -> tuple[Float64[np.ndarray, " scaled"], Float64[np.ndarray, " scaled"]]:
    """Returns the lower and the upper end of each conductance."""
    if low >= high:
        raise UserError(f"design.low: got {low:g}, which is not below design.high = {high:g}")
    own = ranges or {}
    check_names("ranges", own, scaled)
    lows, highs = np.array([own.get(name, (low, high)) for name in scaled], dtype=float).T
    return lows, highs


def _stretched(points: Scales, lows: Float64[np.ndarray, " scaled"], highs: Float64[np.ndarray, " scaled"]) -> Scales:
    """Maps the unit cube to the box."""
    # Rounding may lead out of the box by the last digit.
    return np.clip(lows + (highs - lows) * points, lows, highs)
