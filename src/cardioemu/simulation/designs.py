"""Designs: the tables of scale vectors to simulate."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import Field, NonNegativeInt, PositiveInt, validate_call
from scipy.stats import qmc

from cardioemu.errors import UserError
from cardioemu.types import Scales

Width = Annotated[int, Field(ge=1, le=64)]
Level = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Levels = Annotated[Sequence[Level], Field(min_length=1)]
LARGEST_SCALE = 1e6  # beyond, a rate is so fast that no step resolves what a current does
SEED_LEVELS = tuple(round(0.2 * i, 1) for i in range(11))


@validate_call
def rays(scaled: Width = 5, levels: Levels = SEED_LEVELS) -> Scales:
    """Scales every non-empty subset of the conductances together, the others at control.

    The 341 simulations of the seed: 31 subsets of five currents, by size and then in the order of the currents, times
    11 levels from 0 to 2; 311 are distinct, the control stands 31 times (source: DESIGN.md, section 1).

    Returns:
        (cells, scaled), one row per subset and level.
    """
    rows = []
    for size in range(1, scaled + 1):
        for subset in combinations(range(scaled), size):
            for level in levels:
                row = np.ones(scaled)
                row[list(subset)] = level
                rows.append(row)
    return np.array(rows)


@validate_call
def factorial(scaled: Width = 5, levels: Levels = SEED_LEVELS) -> Scales:
    """Scales every conductance to every level, in all combinations; the last conductance varies fastest.

    Returns:
        (cells, scaled); 11 levels of five conductances are 161 051 rows.
    """
    return np.array(list(product(levels, repeat=scaled)), dtype=float)


@validate_call
def sobol(
    n: PositiveInt = 1024, seed: NonNegativeInt = 0, scaled: Width = 5, low: Level = 0.0, high: Level = 2.0
) -> Scales:
    """Spreads n scale vectors evenly over the cube [low, high]^scaled: a scrambled Sobol sequence.

    The first rows stay the same when n grows. Source: A. B. Owen, Scrambled net variance for integrals of smooth
    functions (1997), as in scipy.stats.qmc.

    Returns:
        (n, scaled).
    """
    if low >= high:
        raise ValueError(f"design: low is {low} and high is {high}; low must be smaller")
    # Whole powers of two are drawn, as Sobol's balance asks; the surplus is left out.
    points = qmc.Sobol(scaled, scramble=True, rng=np.random.default_rng(seed)).random_base2((n - 1).bit_length())
    return low + (high - low) * points[:n]


DESIGNS = {"rays": rays, "factorial": factorial, "sobol": sobol}


def design(name: str, **settings: object) -> Scales:
    """Returns the design of a name, `design("sobol", n=4096, seed=1)`: (cells, scaled), 1.0 being the control.

    Raises:
        ValueError: an unknown name, or a setting out of range.
    """
    if name not in DESIGNS:
        raise ValueError(f"design: got {name!r}, allowed is one of {', '.join(DESIGNS)}")
    return DESIGNS[name](**settings)  # type: ignore[operator]


def checked_scales(scales: ArrayLike | pd.DataFrame, names: Sequence[str]) -> Scales:
    """Returns scale vectors as (cells, scaled) float64; a single vector counts as one cell.

    The columns of a DataFrame are taken by their names, in whatever order they stand.

    Raises:
        UserError: a wrong width or column, or a value that is negative, not a number or above 1e6.
    """
    if isinstance(scales, pd.DataFrame):
        missing = [name for name in names if name not in scales.columns]
        if missing:
            raise UserError(f"scales: the table has no column {', '.join(missing)}; it needs {', '.join(names)}")
        scales = scales[list(names)]
    try:
        array = np.atleast_2d(np.asarray(scales, dtype=float))
    except (TypeError, ValueError) as error:
        raise UserError(f"scales: got something that is no table of numbers ({error})") from error
    if array.ndim != 2 or array.shape[1] != len(names):
        raise UserError(
            f"scales: got shape {np.shape(scales)}, allowed is (cells, {len(names)}), "
            f"one column each for {', '.join(names)}"
        )
    bad = np.argwhere(~((array >= 0) & (array <= LARGEST_SCALE)))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"scales: cell {row} has {names[column]} = {array[row, column]}, "
            f"allowed are values from 0 to {LARGEST_SCALE:g}; 1 is the control"
        )
    return array
