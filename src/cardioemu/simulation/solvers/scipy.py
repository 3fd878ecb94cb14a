"""Solver `scipy`: SciPy's BDF with the analytic Jacobian. Slow, needs no compiler, and is independent of `rodas`."""

from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise

import numpy as np
from scipy.integrate import BDF

from cardioemu.simulation.cell import Cell
from cardioemu.simulation.solvers.numpy_functions import Jacobian, jacobian_function
from cardioemu.simulation.solvers.problem import STEP_TOO_SMALL, TOO_MANY_STEPS, Problem
from cardioemu.simulation.solvers.trace_builder import Steps, TraceBuilder
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
    builder, jacobian, traces = TraceBuilder(problem), jacobian_function(problem.cell), []
    for scale, state in zip(problem.scales, problem.initial, strict=True):
        with np.errstate(all="ignore"):  # an overflow makes the step fail
            steps = _steps(problem, builder, jacobian, scale, state)
        traces.append(builder.build(scale, steps))
        progress(len(traces))
    return traces


def _steps(problem: Problem, builder: TraceBuilder, jacobian: Jacobian, scale: np.ndarray, state: np.ndarray) -> Steps:
    """Integrate one cell from edge to edge of the schedule, to the end or until BDF fails."""
    steps: list[tuple[float, np.ndarray, int]] = []
    max_steps = MAX_STEPS + MAX_STEPS_PER_MS * problem.duration_ms
    failure = None
    for segment, (begin, end) in enumerate(pairwise([*problem.schedule.edges_ms, problem.duration_ms])):
        steps.append((begin, state, segment))
        stepper = _stepper(problem, jacobian, scale, problem.schedule.levels[segment], begin, state, end)
        succeeded = True
        while stepper.status == "running" and len(steps) <= max_steps and (succeeded := _step(stepper)):
            steps.append((stepper.t, stepper.y, segment))
        state = stepper.y
        if stepper.status != "finished":
            reason = TOO_MANY_STEPS if succeeded else STEP_TOO_SMALL
            failure = builder.failure(reason, scale, stepper.t, segment, state)
            break
    time_ms, states, segments = (np.array(column) for column in zip(*steps, strict=True))
    return Steps(time_ms, states, segments, failure)


def _step(stepper: BDF) -> bool:
    """Take one step and return whether it succeeded."""
    try:
        stepper.step()
    except ValueError:  # raised by SciPy's linear algebra for values that are not finite
        return False
    return stepper.status != "failed"


def _stepper(
    problem: Problem,
    jacobian: Jacobian,
    scale: np.ndarray,
    levels: np.ndarray,
    begin: float,
    state: np.ndarray,
    end: float,
) -> BDF:
    """Return SciPy's integrator between two edges of the schedule, where the levels of the inputs are constant."""
    cell = problem.cell
    scaled = scale * cell.equations.control_values

    def rates(time_ms: float, y: np.ndarray) -> np.ndarray:
        return cell.derivatives(y, scale, float(time_ms), levels)

    def rates_by_state(time_ms: float, y: np.ndarray) -> np.ndarray:
        J = jacobian(time_ms, y, scaled, levels)
        return np.where(np.abs(J) < HUGE, J, 0.0)

    return BDF(  # type: ignore[call-overload]  # SciPy's stubs accept only one number as atol
        rates,
        begin,
        state,
        end,
        max_step=MAX_STEP_MS,
        rtol=problem.rtol,
        atol=problem.atol,
        jac=rates_by_state,
        first_step=min(FIRST_STEP_MS, end - begin),
    )
