"""SciPy's LSODA behind the same call: slow, without a compiler, and independent of the population solver."""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from scipy.integrate import LSODA

from cardioemu.simulation.cell import Cell
from cardioemu.traces import Trace
from cardioemu.types import Scales, States

MAX_STEP_MS = 5.0
ABSOLUTE_PER_RELATIVE = 1e-3
# LSODA's steps are longer than its interpolation by a cubic allows, so its own polynomial is read between them.
POINTS_PER_STEP = 4
VERSION = (
    f"scipy {version('scipy')} LSODA, step <= {MAX_STEP_MS} ms, atol = {ABSOLUTE_PER_RELATIVE} rtol, "
    f"{POINTS_PER_STEP} points per step"
)
STUCK, NOT_FINITE = "step too small", "not finite: a state or derivative became infinite or not a number"


def generate(cell: Cell) -> str:
    """Returns the source of the right-hand side; with `VERSION` it determines every trace."""
    return cell.python_source


def solve(
    cell: Cell,
    scales: Scales,
    initial: States,
    duration_ms: float,
    rtol: float,
    threads: int,
    progress: Callable[[int], None],
) -> list[Trace]:
    """Integrates one cell after the other; Python holds it to one thread, so `threads` changes nothing."""
    traces = []
    for scale, state in zip(scales, initial, strict=True):
        traces.append(_solve_one(cell, scale, state, duration_ms, rtol))
        progress(len(traces))
    return traces


def _solve_one(cell: Cell, scale: np.ndarray, initial: np.ndarray, duration_ms: float, rtol: float) -> Trace:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
        time_ms, states, status = _steps(cell, scale, initial, duration_ms, rtol)
        voltage_mV = states[:, cell.potential].astype(np.float32)
        slope = cell.derivatives(states, scale)[:, cell.potential].astype(np.float32)
    sound = np.logical_and.accumulate(np.isfinite(voltage_mV) & np.isfinite(slope))
    if not sound.all():  # the broken end of a trace is cut off, but for the initial state
        status = NOT_FINITE
        sound[0] = True
        time_ms, voltage_mV, slope = time_ms[sound], np.nan_to_num(voltage_mV[sound]), np.nan_to_num(slope[sound])
    if status != "ok":
        status += f" (stopped at {time_ms[-1]:.6g} ms)"
    return Trace(time_ms, voltage_mV, slope, duration_ms, status)


def _steps(
    cell: Cell, scale: np.ndarray, initial: np.ndarray, duration_ms: float, rtol: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """Steps until the end, or until LSODA gives up: times, states, status."""
    stepper = LSODA(
        lambda _, y: cell.derivatives(y, scale),
        0.0,
        initial,
        duration_ms,
        rtol=rtol,
        atol=rtol * ABSOLUTE_PER_RELATIVE,
        max_step=MAX_STEP_MS,
    )
    times, states, status = [np.zeros(1)], [initial[None]], "ok"
    while stepper.status == "running":
        message = stepper.step()
        if stepper.status == "failed":
            status = f"scipy: {message}"
        elif not np.isfinite(stepper.y).all():
            status = NOT_FINITE
        elif stepper.t <= stepper.t_old:  # LSODA itself would try for ever
            status = STUCK
        if status != "ok":
            break
        inside = np.linspace(stepper.t_old, stepper.t, POINTS_PER_STEP + 1)[1:]
        times.append(inside)
        states.append(stepper.dense_output()(inside).T)
    return np.concatenate(times), np.concatenate(states), status
