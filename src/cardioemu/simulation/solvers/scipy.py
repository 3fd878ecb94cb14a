"""Solver `scipy`: SciPy's BDF with the analytic Jacobian. Slow, needs no compiler, and is independent of `rodas`."""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from scipy.integrate import BDF

from cardioemu.simulation.cell import Cell
from cardioemu.simulation.solvers.numpy_functions import jacobian_function
from cardioemu.simulation.solvers.one_by_one import Integrate, Piece, solve_one_by_one
from cardioemu.simulation.solvers.problem import STEP_TOO_SMALL, TOO_MANY_STEPS, Problem
from cardioemu.traces import Trace

# SciPy's own choice of the first step can be NaN, which it then repeats forever.
FIRST_STEP_MS, MAX_STEP_MS = 0.01, 5.0
MAX_STEPS, MAX_STEPS_PER_MS = 10_000, 100
VERSION = f"scipy {version('scipy')} BDF, step <= {MAX_STEP_MS} ms"
# Newton's method converges with an inexact Jacobian, but not with one that is not finite.
HUGE = 1e100


def generate(cell: Cell) -> str:
    """Return the source of the right-hand side, which is part of the key of traces, as is `VERSION`."""
    return cell.python_source


def solve(problem: Problem, threads: int, progress: Callable[[int], None]) -> list[Trace]:
    """Integrate one cell after the other on one thread; `threads` is ignored."""
    cell, jacobian = problem.cell, jacobian_function(problem.cell)

    def start_cell(scale: np.ndarray) -> Integrate:
        room = MAX_STEPS + MAX_STEPS_PER_MS * problem.duration_ms
        scaled = scale * cell.equations.control_values

        def integrate(begin_ms: float, end_ms: float, levels: np.ndarray, state: np.ndarray) -> Piece:
            nonlocal room

            def rates(time_ms: float, y: np.ndarray) -> np.ndarray:
                return cell.derivatives(y, scale, float(time_ms), levels)

            def rates_by_state(time_ms: float, y: np.ndarray) -> np.ndarray:
                J = jacobian(time_ms, y, scaled, levels)
                return np.where(np.abs(J) < HUGE, J, 0.0)

            with np.errstate(all="ignore"):  # an overflow makes the step fail
                stepper = BDF(  # type: ignore[call-overload]  # SciPy's stubs accept only one number as atol
                    rates,
                    begin_ms,
                    state,
                    end_ms,
                    max_step=MAX_STEP_MS,
                    rtol=problem.rtol,
                    atol=problem.atol,
                    jac=rates_by_state,
                    first_step=min(FIRST_STEP_MS, end_ms - begin_ms),
                )
                piece = _run(stepper, room)
            room -= len(piece.time_ms)
            return piece

        return integrate

    return solve_one_by_one(problem, start_cell, progress)


def _run(stepper: BDF, room: float) -> Piece:
    """Step to the end of a piece, or until more than `room` steps are taken."""
    times, states, succeeded = [stepper.t], [stepper.y], True
    while succeeded and stepper.status == "running" and len(times) <= room:
        try:
            stepper.step()
            succeeded = stepper.status != "failed"
        except ValueError:  # raised by SciPy's linear algebra for values that are not finite
            succeeded = False
        if succeeded:
            times.append(stepper.t)
            states.append(stepper.y)
    reason = TOO_MANY_STEPS if succeeded else STEP_TOO_SMALL
    return Piece(np.array(times), np.array(states), None if stepper.status == "finished" else reason)
