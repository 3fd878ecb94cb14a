"""Designs: tables of the scale vectors to simulate."""

from collections.abc import Callable

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.designs.grids import factorial, one_at_a_time, rays
from cardioemu.simulation.designs.space_filling import latin_hypercube, sobol
from cardioemu.simulation.designs.table import from_file

DESIGNS: dict[str, Callable[..., Scales]] = {
    "rays": rays,
    "one_at_a_time": one_at_a_time,
    "factorial": factorial,
    "sobol": sobol,
    "latin_hypercube": latin_hypercube,
    "file": from_file,
}


def design(name: str, **settings: object) -> Scales:
    """Make a design, as in `design("sobol", n=4096, seed=1)`.

    Returns:
        Scales (cells, scaled); 1.0 is the control.

    Raises:
        UserError: the name is unknown, or settings are unknown or out of range; one sentence each.
    """
    if name not in DESIGNS:
        raise UserError(f"design: got {name!r}; allowed is one of {', '.join(DESIGNS)}")
    return DESIGNS[name](**settings)
