"""The input of every solver, its tolerances, and the statuses of failed cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from cardioemu.common.arrays import Scales, States
from cardioemu.common.errors import UserError, name_hint
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.loading import NO_UNIT
from cardioemu.simulation.pacing.piecewise import PiecewiseConstant
from cardioemu.traces import Recording, Trace

Tolerances: TypeAlias = ArrayLike | float | int | Mapping[str, float | int] | None


@dataclass(frozen=True, eq=False)
class Problem:
    """Validated cells to integrate.

    Attributes:
        cell: the cell model.
        scales: (cells, scaled).
        initial: (cells, states).
        duration_ms: length of every trace.
        rtol: relative error of one step.
        atol: (states,) absolute error of one step, in the units of the states.
        schedule: levels of the model's inputs over time; a step ends exactly at each of its edges.
        record: states and variables to record in addition to V.
    """

    cell: Cell
    scales: Scales
    initial: States
    duration_ms: float
    rtol: float
    atol: np.ndarray
    schedule: PiecewiseConstant
    record: tuple[str, ...]

    def trace(self, time_ms: np.ndarray, channels: np.ndarray, status: str, final_state: np.ndarray) -> Trace:
        """Return the trace of one cell from its channels (channels, steps): V, dV/dt, recorded value, slope, ..."""
        voltage_mV, dvdt_mV_per_ms, *recorded = np.ascontiguousarray(channels)
        recordings = {
            name: Recording(time_ms, value, slope, self.duration_ms, status)
            for name, value, slope in zip(self.record, recorded[::2], recorded[1::2], strict=True)
        }
        return Trace(time_ms, voltage_mV, dvdt_mV_per_ms, self.duration_ms, status, recordings, final_state.copy())


STEP_TOO_SMALL = "step too small: the error stayed above the tolerance at the smallest step; a looser rtol may pass"
NOT_FINITE = "not finite: a state or derivative became infinite or not a number"
TOO_MANY_STEPS = "too many steps: more than the duration allows; the model may oscillate faster than it should"
NO_MEMORY = "no memory: the steps of this cell did not fit into memory; simulate fewer cells or a shorter time at once"


def failure_status(reason: str, time_ms: float, state: str | None) -> str:
    """Return the status of a cell that failed at a time, because of a state if that is known."""
    return f"{reason} (stopped at {time_ms:.6g} ms{'' if state is None else f', state {state}'})"


# Sizes below which the absolute tolerance dominates, see `absolute_tolerances`.
SMALL_POTENTIAL = 1.0
SMALL_WITHOUT_UNIT, SMALL_WITH_UNIT = (1e-3, 1e-2), (1e-6, 1e-3)


def absolute_tolerances(cell: Cell, rtol: float, atol: Tolerances = None) -> np.ndarray:
    """Return the allowed absolute error of one step for each state.

    `atol` has one value for all states, (states,), or values of some states by name. The default, also for states
    without a name in `atol`, is rtol times a size: 1 mV for V; for other states the initial value, clipped to
    [1e-3, 1e-2] for states without a unit (gates) and [1e-6, 1e-3] for states with one (concentrations).

    Raises:
        UserError: an unknown state, a wrong shape, or a tolerance that is not positive and finite.
    """
    bounds = [SMALL_WITHOUT_UNIT if state.unit() in NO_UNIT else SMALL_WITH_UNIT for state in cell.model.states()]
    small = np.clip(np.abs(cell.initial_state), *np.transpose(bounds))
    small[cell.potential] = SMALL_POTENTIAL
    tolerances = rtol * small
    if isinstance(atol, Mapping):
        for name, value in atol.items():
            if name not in cell.states:
                raise UserError(f"atol.{name}: the model has no state {name!r}; {name_hint(name, cell.states)}")
            tolerances[cell.states.index(name)] = value
    elif atol is not None:
        try:
            given = np.asarray(atol, dtype=float)
        except (TypeError, ValueError) as error:
            raise UserError(f"atol: got a {type(atol).__name__} ({error}); allowed are numbers") from error
        if given.shape not in ((), tolerances.shape):
            raise UserError(f"atol: got shape {given.shape}; allowed is one number or {tolerances.shape}")
        tolerances[:] = given
    wrong = ~(np.isfinite(tolerances) & (tolerances > 0))
    if wrong.any():
        raise UserError(f"atol: got {tolerances[wrong][0]:g}; allowed are finite numbers above 0")
    return tolerances
