"""Designs on a grid of levels: rays, one at a time, factorial."""

from collections.abc import Mapping
from itertools import chain, combinations, product
from math import prod

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.simulation.designs.arguments import (
    CURRENTS,
    LEVELS,
    Levels,
    Names,
    check_size,
    of_each,
    validated_design,
)


@validated_design
def rays(scaled: Names = CURRENTS, levels: Levels = LEVELS) -> Scales:
    """Scale every non-empty subset of the conductances together, with the others at control.

    The default is the design of the published LSTM: 31 subsets of five currents, by size and then in the order of the
    currents, times 11 levels from 0 to 2. Of the 341 rows, 311 are distinct; 31 are the control.

    Returns:
        Scales (cells, scaled), one row per subset and level.

    Raises:
        UserError: an argument is out of range, or there are too many rows.
    """
    width = len(scaled)
    check_size((2**width - 1) * len(levels), scaled)
    subsets = chain.from_iterable(combinations(range(width), size) for size in range(1, width + 1))
    member = np.array([[column in subset for column in range(width)] for subset in subsets])
    return np.where(member[:, None], np.array(levels, dtype=float)[:, None], 1.0).reshape(-1, width)


@validated_design
def one_at_a_time(
    scaled: Names = CURRENTS, levels: Levels = LEVELS, levels_of: Mapping[str, Levels] | None = None
) -> Scales:
    """Scale one conductance after the other to each of its levels, with the others at control.

    Args:
        scaled: names of the conductances.
        levels: levels of all conductances.
        levels_of: levels of single conductances, in place of `levels`.

    Returns:
        Scales (cells, scaled): the control, then one row per conductance and level other than 1; 51 by default.

    Raises:
        UserError: an argument is out of range, a name is unknown, or there are too many rows.
    """
    changes = [
        (column, level)
        for column, own_levels in enumerate(of_each(scaled, "levels_of", levels_of or {}, levels))
        for level in own_levels
        if level != 1
    ]
    check_size(1 + len(changes), scaled)
    scales = np.ones((1 + len(changes), len(scaled)))
    for row, (column, level) in enumerate(changes, start=1):
        scales[row, column] = level
    return scales


@validated_design
def factorial(
    scaled: Names = CURRENTS, levels: Levels = LEVELS, levels_of: Mapping[str, Levels] | None = None
) -> Scales:
    """Combine all levels of all conductances; the last conductance varies fastest.

    The arguments are those of `one_at_a_time`.

    Returns:
        Scales (cells, scaled); 11 levels of five conductances are 161 051 rows.

    Raises:
        UserError: an argument is out of range, a name is unknown, or there are too many rows.
    """
    levels_by_column = of_each(scaled, "levels_of", levels_of or {}, levels)
    check_size(prod(map(len, levels_by_column)), scaled)
    return np.fromiter(product(*levels_by_column), dtype=np.dtype((float, len(scaled))))
