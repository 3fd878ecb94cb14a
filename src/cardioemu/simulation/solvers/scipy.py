"""SciPy's BDF with the analytic Jacobian behind the same call: slow, without a compiler, and independent of `rodas`."""

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

# Without a given first step SciPy works one out that can be NaN, which it then tries for ever.
FIRST_STEP_MS, MAX_STEP_MS = 0.01, 5.0
MAX_STEPS, MAX_STEPS_PER_MS = 10_000, 100
VERSION = f"scipy {version('scipy')} BDF, step <= {MAX_STEP_MS} ms"
# Newton's method converges with an inexact Jacobian too, but not with one that is not finite.
HUGE = 1e100


def generate(cell: Cell) -> str:
    """Returns the source of the right-hand side; traces hang on it, on `VERSION`, and on the problem."""
    return cell.python_source


def solve(problem: Problem, threads: int, progress: Callable[[int], None]) -> list[Trace]:
    """Integrates one cell after the other; Python holds it to one thread, so `threads` changes nothing."""
    tracer, jacobian, traces = TraceBuilder(problem), jacobian_function(problem.cell), []
    for scale, state in zip(problem.scales, problem.initial, strict=True):
        with np.errstate(all="ignore"):  # what overflows makes the step fail
            steps = _steps(problem, tracer, jacobian, scale, state)
        traces.append(tracer.trace(scale, steps))
        progress(len(traces))
    return traces


def _steps(problem: Problem, tracer: TraceBuilder, jacobian: Jacobian, scale: np.ndarray, state: np.ndarray) -> Steps:
    """Steps from edge to edge of the schedule until the end, or until BDF gives up."""
    steps: list[tuple[float, np.ndarray, int]] = []
    room = MAX_STEPS + MAX_STEPS_PER_MS * problem.duration_ms
    failure = None
    for segment, (begin, end) in enumerate(pairwise([*problem.schedule.edges_ms, problem.duration_ms])):
        steps.append((begin, state, segment))
        stepper = _stepper(problem, jacobian, scale, problem.schedule.levels[segment], begin, state, end)
        sound = True
        while stepper.status == "running" and len(steps) <= room and (sound := _step(stepper)):
            steps.append((stepper.t, stepper.y, segment))
        state = stepper.y
        if stepper.status != "finished":
            failure = tracer.failure(TOO_MANY_STEPS if sound else STEP_TOO_SMALL, scale, stepper.t, segment, state)
            break
    time_ms, states, segments = (np.array(column) for column in zip(*steps, strict=True))
    return Steps(time_ms, states, segments, failure)


def _step(stepper: BDF) -> bool:
    """Takes one step; tells whether that was possible."""
    try:
        stepper.step()
    except ValueError:  # SciPy's linear algebra, of numbers that are not finite
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
    """SciPy's integrator between two edges of the schedule, where the levels of the inputs are constant."""
    cell = problem.cell
    scaled = scale * cell.equations.control_values

    def rates(time_ms: float, y: np.ndarray) -> np.ndarray:
        return cell.derivatives(y, scale, float(time_ms), levels)

    def rates_by_state(time_ms: float, y: np.ndarray) -> np.ndarray:
        J = jacobian(time_ms, y, scaled, levels)
        return np.where(np.abs(J) < HUGE, J, 0.0)

    return BDF(  # type: ignore[call-overload]  # of atol SciPy's stubs know one number only
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
