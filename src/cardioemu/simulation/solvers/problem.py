"""What a solver is asked, and in which words it gives up on a cell: one page that all solvers read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import myokit
import numpy as np
from numpy.typing import ArrayLike

from cardioemu.common.arrays import Scales, States
from cardioemu.common.errors import UserError
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.pacing.schedule import Schedule

Tolerances: TypeAlias = ArrayLike | float | int | Mapping[str, float | int] | None


@dataclass(frozen=True, eq=False)
class Problem:
    """Cells to integrate, all checked.

    Attributes:
        cell: the cell model.
        scales: (cells, scaled).
        initial: (cells, states).
        duration_ms: length of every trace.
        rtol: relative error of one step.
        atol: (states,) absolute error of one step, in the states' units.
        schedule: levels of the model's inputs over time; a step ends exactly at each of its edges.
        record: states and variables to record beside V.
    """

    cell: Cell
    scales: Scales
    initial: States
    duration_ms: float
    rtol: float
    atol: np.ndarray
    schedule: Schedule
    record: tuple[str, ...]


STEP_TOO_SMALL = "step too small: the error stayed above the tolerance at the smallest step; a looser rtol may pass"
NOT_FINITE = "not finite: a state or derivative became infinite or not a number"
TOO_MANY_STEPS = "too many steps: more than the duration allows; the model may oscillate faster than it should"
NO_MEMORY = "no memory: the steps of this cell did not fit into memory; simulate fewer cells or a shorter time at once"


def failure_status(reason: str, time_ms: float, state: str | None) -> str:
    """Returns the status of a cell that its solver gave up on at a time, because of one state where that is known."""
    return f"{reason} (stopped at {time_ms:.6g} ms{'' if state is None else f', state {state}'})"


# Below these sizes a state counts as small: V in mV; others their initial value, if that is within the two bounds, for
# those without a unit (gates) and those with one (concentrations).
SMALL_POTENTIAL = 1.0
SMALL_WITHOUT_UNIT, SMALL_WITH_UNIT = (1e-3, 1e-2), (1e-6, 1e-3)


def absolute_tolerances(cell: Cell, rtol: float, atol: Tolerances = None) -> np.ndarray:
    """Returns the absolute error of one step that each state is allowed.

    Args:
        cell: the cell model.
        rtol: the relative error.
        atol: one for all states, (states,), or those of some states by name. None takes rtol times the size below which
            a state counts as small: 1 mV for V; for others the initial value, but at least 1e-3 and at most 1e-2 for
            states without a unit (gates), at least 1e-6 and at most 1e-3 for those with one (concentrations).

    Raises:
        UserError: names of no state, a wrong shape, or tolerances that are not above 0 and finite.
    """
    bounds = [
        SMALL_WITHOUT_UNIT if state.unit() in (None, myokit.units.dimensionless) else SMALL_WITH_UNIT
        for state in cell.model.states()
    ]
    small = np.clip(np.abs(cell.initial_state), *np.transpose(bounds))
    small[cell.potential] = SMALL_POTENTIAL
    tolerances = rtol * small
    if isinstance(atol, Mapping):
        for name, value in atol.items():
            if name not in cell.states:
                raise UserError(f"atol.{name}: there is no such state; allowed are {', '.join(cell.states)}")
            tolerances[cell.states.index(name)] = value
    elif atol is not None:
        try:
            given = np.asarray(atol, dtype=float)
        except (TypeError, ValueError) as error:
            raise UserError(f"atol: got something that is no number and no table of numbers ({error})") from error
        if given.shape not in ((), tolerances.shape):
            raise UserError(f"atol: got shape {given.shape}, allowed is one number or {tolerances.shape}")
        tolerances[:] = given
    if not (np.isfinite(tolerances).all() and (tolerances > 0).all()):
        raise UserError("atol: got values that are not finite or not above 0, allowed are finite numbers above 0")
    return tolerances
