"""Designs of chosen levels: rays, one at a time, factorial."""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from math import prod

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.simulation.designs.arguments import (
    SEED_CURRENTS,
    SEED_LEVELS,
    Levels,
    Names,
    check_names,
    check_size,
    validated_design,
)


@validated_design
def rays(scaled: Names = SEED_CURRENTS, levels: Levels = SEED_LEVELS) -> Scales:
    """Scales every non-empty subset of the conductances together, the others at control.

    The 341 simulations of the seed: 31 subsets of five currents, by size and then in the order of the currents, times
    11 levels from 0 to 2; 311 are distinct, the control stands 31 times (source: DESIGN.md, section 1).

    Returns:
        (cells, scaled), one row per subset and level.

    Raises:
        UserError: a setting out of range, or too many rows.
    """
    width = len(scaled)
    check_size((2**width - 1) * len(levels), scaled)
    subsets = chain.from_iterable(combinations(range(width), size) for size in range(1, width + 1))
    member = np.zeros((2**width - 1, 1, width), dtype=bool)
    for row, subset in enumerate(subsets):
        member[row, 0, list(subset)] = True
    return np.where(member, np.array(levels, dtype=float)[:, None], 1.0).reshape(-1, width)


@validated_design
def one_at_a_time(
    scaled: Names = SEED_CURRENTS, levels: Levels = SEED_LEVELS, levels_of: Mapping[str, Levels] | None = None
) -> Scales:
    """Scales one conductance after the other to each of its levels, the others at control.

    Args:
        scaled: names of the conductances.
        levels: of all conductances.
        levels_of: of single conductances, in place of `levels`.

    Returns:
        (cells, scaled): the control once, then a row per conductance and level other than 1; 51 for the seed's.

    Raises:
        UserError: a setting out of range, an unknown name, or too many rows.
    """
    steps = [
        (column, level)
        for column, own in enumerate(_levels_of_each(scaled, levels, levels_of))
        for level in own
        if level != 1
    ]
    check_size(1 + len(steps), scaled)
    rows = np.ones((1 + len(steps), len(scaled)))
    for row, (column, level) in enumerate(steps, start=1):
        rows[row, column] = level
    return rows


@validated_design
def factorial(
    scaled: Names = SEED_CURRENTS, levels: Levels = SEED_LEVELS, levels_of: Mapping[str, Levels] | None = None
) -> Scales:
    """Scales every conductance to every one of its levels, in all combinations; the last conductance varies fastest.

    Args:
        scaled: names of the conductances.
        levels: of all conductances.
        levels_of: of single conductances, in place of `levels`.

    Returns:
        (cells, scaled); 11 levels of five conductances are 161 051 rows.

    Raises:
        UserError: a setting out of range, an unknown name, or too many rows.
    """
    each = _levels_of_each(scaled, levels, levels_of)
    count = prod(len(own) for own in each)
    check_size(count, scaled)
    rows = np.empty((count, len(scaled)))
    repeats = 1
    for column, own in reversed(list(enumerate(each))):
        rows[:, column] = np.tile(np.repeat(own, repeats), count // (repeats * len(own)))
        repeats *= len(own)
    return rows


def _levels_of_each(
    scaled: Sequence[str], levels: Sequence[float], levels_of: Mapping[str, Sequence[float]] | None
) -> list[Sequence[float]]:
    own = levels_of or {}
    check_names("levels_of", own, scaled)
    return [own.get(name, levels) for name in scaled]
