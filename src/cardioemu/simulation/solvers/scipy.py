"""SciPy's LSODA behind the same call: slow, without a compiler, and independent of the population solver."""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from scipy.integrate import solve_ivp

from cardioemu.simulation.cell import Cell
from cardioemu.traces import Trace
from cardioemu.types import Scales, States

MAX_STEP_MS = 5.0
ABSOLUTE_PER_RELATIVE = 1e-3
# LSODA's steps are longer than its interpolation by a cubic allows, so its own polynomial is read between them.
POINTS_PER_STEP = 4
VERSION = f"scipy {version('scipy')} LSODA, {POINTS_PER_STEP} points per step"


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
    solution = solve_ivp(
        lambda _, y: cell.derivatives(y, scale),
        (0.0, duration_ms),
        initial,
        method="LSODA",
        rtol=rtol,
        atol=rtol * ABSOLUTE_PER_RELATIVE,
        max_step=MAX_STEP_MS,
        dense_output=True,
    )
    steps = solution.t
    inside = np.linspace(steps[:-1], steps[1:], POINTS_PER_STEP, endpoint=False, axis=-1).ravel()
    time_ms = np.append(inside, steps[-1])
    assert solution.sol is not None  # dense_output was asked for
    states = np.atleast_2d(solution.sol(time_ms).T)
    slope = cell.derivatives(states, np.broadcast_to(scale, (len(time_ms), len(scale))))[:, cell.potential]
    status = "ok" if solution.success else f"scipy: {solution.message} (stopped at {steps[-1]:.6g} ms)"
    voltage_mV = states[:, cell.potential]
    return Trace(time_ms, voltage_mV.astype(np.float32), slope.astype(np.float32), duration_ms, status)
